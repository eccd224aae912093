"""L_spatial against a slow implementation, its normalisation, and the frames without a target."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from bridge_stg.losses.denoising import denoising_sums
from bridge_stg.losses.matching import matching_cost
from bridge_stg.losses.objective import SpatialLosses, spatial_loss
from bridge_stg.losses.outputs import DenoisingOutput, SimilarityOutput, SpatialOutput
from bridge_stg.losses.weights import LossWeights

LAYERS, CANDIDATES, DECODERS, GROUPS = 2, 5, 3, 4
QUERIES = LAYERS * CANDIDATES


def prediction(rows: int, seed: int = 0) -> SpatialOutput:
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    return SpatialOutput(
        boxes=rand(DECODERS, rows, QUERIES, 4),
        logits=rand(DECODERS, rows, QUERIES) * 4 - 3,
        encoder_boxes=rand(LAYERS, rows, CANDIDATES, 4),
        encoder_logits=rand(LAYERS, rows, CANDIDATES) * 4 - 3,
        similarity=SimilarityOutput(rand(LAYERS, rows, CANDIDATES), rand(LAYERS, rows, 6)),
        denoising=DenoisingOutput(
            boxes=rand(DECODERS, rows, 2 * GROUPS, 4),
            logits=rand(DECODERS, rows, 2 * GROUPS) * 4 - 2,
            positive=torch.arange(2 * GROUPS) % 2 == 0,
        ),
    )


def rows_of(output: SpatialOutput, part: slice) -> SpatialOutput:
    assert output.denoising is not None
    return SpatialOutput(
        boxes=output.boxes[:, part],
        logits=output.logits[:, part],
        encoder_boxes=output.encoder_boxes[:, part],
        encoder_logits=output.encoder_logits[:, part],
        similarity=SimilarityOutput(output.similarity.positives[:, part], output.similarity.negatives[:, part]),
        denoising=DenoisingOutput(
            output.denoising.boxes[:, part], output.denoising.logits[:, part], output.denoising.positive
        ),
    )


def focal(logit: float, label: int) -> float:
    p = float(torch.tensor(logit, dtype=torch.float64).sigmoid())
    p_true, alpha = (p, 0.25) if label else (1 - p, 0.75)
    return -alpha * (1 - p_true) ** 2 * float(torch.tensor(p_true, dtype=torch.float64).log())


def giou(first: list[float], second: list[float]) -> float:
    def corners(box: list[float]) -> tuple[float, float, float, float]:
        x, y, w, h = box
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2

    ax, ay, bx, by = corners(first)
    cx, cy, dx, dy = corners(second)
    overlap = max(0.0, min(bx, dx) - max(ax, cx)) * max(0.0, min(by, dy) - max(ay, cy))
    union = (bx - ax) * (by - ay) + (dx - cx) * (dy - cy) - overlap
    hull = (max(bx, dx) - min(ax, cx)) * (max(by, dy) - min(ay, cy))
    return overlap / union - (hull - union) / hull


def slow_terms(
    boxes: Tensor, logits: Tensor, targets: Tensor, has_target: Tensor
) -> tuple[float, float, float]:
    """Objectness, box and GIoU sums of one layer, one query at a time, matched by SciPy."""
    cost = matching_cost(boxes[None], logits[None], targets)[0]
    objectness = box = overlap = 0.0
    for row, target in enumerate(targets.tolist()):
        matched = None
        if has_target[row]:
            matched = int(linear_sum_assignment(cost[row][:, None].numpy())[0][0])
            found = boxes[row, matched].tolist()
            box += sum(abs(a - b) for a, b in zip(found, target, strict=True))
            overlap += 1 - giou(found, target)
        for query, logit in enumerate(logits[row].tolist()):
            objectness += focal(logit, int(query == matched))
    return objectness, box, overlap


def test_detection_terms_match_the_slow_sum() -> None:
    output = prediction(4)
    targets = torch.rand(4, 4, generator=torch.Generator().manual_seed(5))
    has_target = torch.tensor([True, False, True, True])
    losses = spatial_loss(output, targets, has_target, LossWeights(), 3, 4)
    decoder = [slow_terms(b, s, targets, has_target) for b, s in zip(output.boxes, output.logits, strict=True)]
    encoder = [
        slow_terms(b, s, targets, has_target)
        for b, s in zip(output.encoder_boxes, output.encoder_logits, strict=True)
    ]
    expected = [
        (sum(terms[i] for terms in decoder) + sum(terms[i] for terms in encoder) / LAYERS) / 3 for i in range(3)
    ]
    assert losses.objectness.item() == pytest.approx(expected[0], rel=1e-4)
    assert losses.box.item() == pytest.approx(expected[1], rel=1e-4)
    assert losses.giou.item() == pytest.approx(expected[2], rel=1e-4)


def test_denoising_terms_match_the_slow_sum() -> None:
    output = prediction(3).denoising
    assert output is not None
    targets = torch.rand(3, 4, generator=torch.Generator().manual_seed(6))
    has_target = torch.tensor([True, True, False])
    sums = denoising_sums(output, targets, has_target)
    for layer in range(DECODERS):
        objectness = box = overlap = 0.0
        for row in range(2):
            for query in range(2 * GROUPS):
                positive = bool(output.positive[query])
                objectness += focal(float(output.logits[layer, row, query]), int(positive))
                if positive:
                    found, target = output.boxes[layer, row, query].tolist(), targets[row].tolist()
                    box += sum(abs(a - b) for a, b in zip(found, target, strict=True))
                    overlap += 1 - giou(found, target)
        assert sums.objectness[layer].item() == pytest.approx(objectness / GROUPS, rel=1e-4)
        assert sums.box[layer].item() == pytest.approx(box / GROUPS, rel=1e-4)
        assert sums.giou[layer].item() == pytest.approx(overlap / GROUPS, rel=1e-4)


def test_total_is_equation_8() -> None:
    weights = LossWeights(
        objectness=2.0,
        box=3.0,
        giou=5.0,
        denoising=7.0,
        alignment=11.0,
        denoising_objectness=13.0,
        denoising_box=17.0,
        denoising_giou=19.0,
    )
    losses = spatial_loss(prediction(3), torch.rand(3, 4), torch.ones(3, dtype=torch.bool), weights, 3, 3)
    denoising = 13 * losses.denoising_objectness + 17 * losses.denoising_box + 19 * losses.denoising_giou
    expected = 2 * losses.objectness + 3 * losses.box + 5 * losses.giou + 7 * denoising + 11 * losses.alignment
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_presets() -> None:
    assert LossWeights.paper() == LossWeights()
    assert (LossWeights.paper().box, LossWeights.paper().spatial) == (0.5, 0.02)
    assert LossWeights.ovdino() == replace(LossWeights.paper(), box=5.0)


def test_a_batch_in_two_parts_sums_to_the_whole() -> None:
    output = prediction(6)
    targets = torch.rand(6, 4)
    has_target = torch.tensor([True, False, True, True, False, False])
    whole = spatial_loss(output, targets, has_target, LossWeights(), 3, 6)
    parts = [
        spatial_loss(rows_of(output, part), targets[part], has_target[part], LossWeights(), 3, 6)
        for part in (slice(0, 2), slice(2, 6))
    ]
    for field in fields(SpatialLosses):
        total = sum(float(getattr(part, field.name)) for part in parts)
        assert total == pytest.approx(float(getattr(whole, field.name)), rel=1e-5)


def test_rows_without_a_target_only_lower_the_objectness() -> None:
    output = prediction(2)
    output.logits.requires_grad_()
    output.boxes.requires_grad_()
    targets = torch.full((2, 4), float("nan"))
    losses = spatial_loss(output, targets, torch.zeros(2, dtype=torch.bool), LossWeights(), 0, 2)
    losses.total.backward()
    for name in ("box", "giou", "alignment", "denoising_objectness", "denoising_box", "denoising_giou"):
        assert getattr(losses, name).item() == 0.0
    assert losses.total.item() == pytest.approx(losses.objectness.item())
    # Every logit is pushed down, by no more than a batch of two rows would be.
    assert output.logits.grad is not None
    assert (output.logits.grad > 0).all()
    decoder = sum(focal(x, 0) for x in output.logits.flatten().tolist())
    encoder = sum(focal(x, 0) for x in output.encoder_logits.flatten().tolist()) / LAYERS
    assert losses.objectness.item() == pytest.approx((decoder + encoder) / 2, rel=1e-4)
    assert output.boxes.grad is None or output.boxes.grad.abs().sum().item() == 0.0


def test_a_row_of_padding_alone_counts_nothing() -> None:
    output = prediction(2)
    valid = torch.ones(2, QUERIES, dtype=torch.bool)
    valid[1] = False
    logits = output.logits.masked_fill(~valid, -30.0)
    candidates = output.encoder_logits.clone()
    candidates[:, 1] = -30.0
    padded = replace(output, valid=valid, logits=logits, encoder_logits=candidates)
    targets = torch.rand(2, 4)
    both = spatial_loss(padded, targets, torch.tensor([True, True]), LossWeights(), 1, 2)
    alone = spatial_loss(rows_of(output, slice(0, 1)), targets[:1], torch.tensor([True]), LossWeights(), 1, 1)
    assert both.total.item() == pytest.approx(alone.total.item(), rel=1e-5)


def test_no_rows_at_all() -> None:
    output = prediction(0)
    losses = spatial_loss(output, torch.zeros(0, 4), torch.zeros(0, dtype=torch.bool), LossWeights(), 0, 0)
    assert losses.total.item() == 0.0


def test_best_is_the_highest_objectness_of_the_last_layer() -> None:
    output = prediction(3)
    boxes, scores = output.best()
    for row in range(3):
        query = int(output.logits[-1, row].argmax())
        x, y, w, h = output.boxes[-1, row, query].tolist()
        expected = [max(0.0, min(1.0, v)) for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)]
        assert boxes[row].tolist() == pytest.approx(expected, abs=1e-6)
        assert scores[row].item() == pytest.approx(float(output.logits[-1, row, query].sigmoid()))
