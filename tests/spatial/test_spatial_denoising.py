"""Noise on ground-truth boxes, against the definition and against the transformers library."""

from __future__ import annotations

import torch
from transformers.models.rt_detr.modeling_rt_detr import get_contrastive_denoising_training_group

from bridge_stg.geometry.boxes import cxcywh_to_xyxy
from bridge_stg.model.spatial.decoder import SelfAttentionMasks
from bridge_stg.model.spatial.denoising import denoising_queries


def test_same_draws_as_the_library() -> None:
    targets = torch.tensor([[0.4, 0.5, 0.3, 0.2], [0.9, 0.1, 0.2, 0.3]])
    labelled = [{"class_labels": torch.zeros(1, dtype=torch.long), "boxes": box[None]} for box in targets]
    labels = torch.nn.Embedding(2, 4)
    torch.manual_seed(3)
    _, expected, mask, meta = get_contrastive_denoising_training_group(
        labelled, 1, 10, labels, num_denoising_queries=6, label_noise_ratio=0.0
    )
    torch.manual_seed(3)
    found = denoising_queries(targets, groups=6, scale=1.0)
    torch.testing.assert_close(torch.logit(found.boxes, eps=1e-5), expected, atol=1e-4, rtol=1e-4)
    assert found.positive.nonzero().flatten().tolist() == meta["dn_positive_idx"][0].tolist()
    # The library puts its noised queries first and bars with -inf.
    ours = SelfAttentionMasks.of(10, None, found.own_group).copies
    assert ours is not None
    assert torch.equal(ours[:, 10:], mask[:12, :12] == 0)
    assert torch.equal(ours[:, :10], mask[:12, 12:] == 0)


def test_strength_of_the_noise() -> None:
    # Far from the frame's edge nothing is clamped, and a small scale turns no box inside out.
    targets = torch.tensor([[0.5, 0.5, 0.2, 0.1]]).repeat(50, 1)
    scale = 0.3
    found = denoising_queries(targets, groups=20, scale=scale, generator=torch.Generator().manual_seed(0))
    moved = (cxcywh_to_xyxy(found.boxes) - cxcywh_to_xyxy(targets)[:, None]) / scale
    strength = moved.abs() / torch.tensor([0.1, 0.05, 0.1, 0.05])
    light, heavy = strength[:, found.positive], strength[:, ~found.positive]
    assert (light < 1.0 + 1e-4).all()
    assert ((heavy > 1.0 - 1e-4) & (heavy < 2.0 + 1e-4)).all()
    assert abs(float(light.mean()) - 0.5) < 0.02
    assert abs(float(heavy.mean()) - 1.5) < 0.02
    assert abs(float((moved > 0).float().mean()) - 0.5) < 0.02


def test_boxes_stay_in_the_frame_and_groups_are_pairs() -> None:
    targets = torch.rand(40, 4, generator=torch.Generator().manual_seed(1))
    found = denoising_queries(targets, groups=3, scale=1.0)
    corners = cxcywh_to_xyxy(found.boxes)
    centres = found.boxes[..., :2]
    assert ((centres >= 0) & (centres <= 1)).all()
    assert (found.boxes[..., 2:] >= 0).all()
    assert ((corners > -1e-5) & (corners < 1 + 1e-5)).float().mean() > 0.9
    expected = torch.block_diag(*[torch.ones(2, 2)] * 3).bool()
    assert torch.equal(found.own_group, expected)
    assert found.positive.tolist() == [True, False] * 3
