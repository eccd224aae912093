"""Query selection and the whole localizer: gradients, sharing of frames, padding, denoising, shapes."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from bridge_stg.losses.objective import spatial_loss
from bridge_stg.losses.outputs import SpatialOutput
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.configuration import SpatialConfig
from bridge_stg.model.spatial.decoder import SelfAttentionMasks
from bridge_stg.model.spatial.localizer import NO_TOKEN, SpatialLocalizer
from bridge_stg.model.spatial.topk_selection import MAX_NEGATIVES, QuerySelector

WIDTH = 12


def tiny(**changes: Any) -> SpatialConfig:
    settings: dict[str, Any] = {
        "backbone_embed_dim": 8,
        "backbone_depths": (2, 2, 1),
        "backbone_num_heads": (1, 2, 2),
        "backbone_window_size": 4,
        "backbone_image_size": 64,
        "backbone_drop_path": 0.0,
        "backbone_out_stages": (1, 2),
        "num_levels": 3,
        "d_model": 16,
        "num_heads": 2,
        "num_points": 2,
        "ffn_dim": 24,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "topk": 7,
        "num_denoising": 3,
    }
    return SpatialConfig(**{**settings, **changes})


def shaken(config: SpatialConfig) -> SpatialLocalizer:
    """A localizer away from its zero initialisations, so that every path carries something."""
    torch.manual_seed(0)
    model = SpatialLocalizer(config, WIDTH)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def frames(count: int = 2, height: int = 40, width: int = 56) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def bridges(rows: int, queries: int = 4) -> Tensor:
    return torch.randn(rows, queries, WIDTH, generator=torch.Generator().manual_seed(2))


def loss_of(output: SpatialOutput, targets: Tensor, has: Tensor) -> Tensor:
    return spatial_loss(output, targets, has, LossWeights(), has.sum(), len(has)).total


def same(first: SpatialOutput, second: SpatialOutput) -> None:
    for name in ("boxes", "logits", "encoder_boxes", "encoder_logits"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("select_layers", ["all", "last"])
def test_gradient_reaches_every_parameter_and_the_bridge(select_layers: str) -> None:
    model = shaken(tiny(select_layers=select_layers)).train()
    bridge = bridges(3).requires_grad_()
    targets = torch.rand(3, 4) * 0.4 + 0.3
    has = torch.tensor([True, False, True])
    loss_of(model(frames(), None, torch.tensor([0, 1, 1]), bridge, targets, has), targets, has).backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert "swin.layernorm" in name
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A bias added to all keys alike cancels in the softmax.
        if not name.endswith(("k_proj.bias", "key.bias")):
            assert parameter.grad.abs().sum() > 0, name
    assert bridge.grad is not None
    assert (bridge.grad.abs().sum((1, 2)) > 0).all()


@pytest.mark.parametrize("layers", [2, 4, 6, 8])
@pytest.mark.parametrize("select_layers", ["all", "last"])
def test_number_of_queries(layers: int, select_layers: str) -> None:
    model = shaken(tiny(num_encoder_layers=layers, select_layers=select_layers)).eval()
    selecting = layers if select_layers == "all" else 1
    with torch.inference_mode():
        output = model(frames(), None, torch.tensor([0, 1, 1]), bridges(3))
    assert output.boxes.shape == (2, 3, 7 * selecting, 4)
    assert output.encoder_logits.shape == (selecting, 3, 7)
    assert output.denoising is None
    boxes, scores = output.best()
    assert boxes.shape == (3, 4)
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("queries", [1, 8, 16])
def test_any_number_of_bridging_queries(queries: int) -> None:
    model = shaken(tiny()).train()
    targets, has = torch.full((2, 4), 0.5), torch.tensor([True, True])
    bridge = bridges(2, queries).requires_grad_()
    loss = loss_of(model(frames(), None, torch.tensor([0, 1]), bridge, targets, has), targets, has)
    loss.backward()
    assert loss.isfinite()
    assert bridge.grad is not None
    assert (bridge.grad.abs().sum(-1) > 0).all()


def test_selection_takes_the_most_similar_tokens_of_all_levels() -> None:
    model = shaken(tiny(topk=11)).eval()
    frame_index, bridge = torch.tensor([1, 0, 1]), bridges(3)
    with torch.inference_mode():
        features = model.encode(frames())
        mean_bridge = model.bridge_norm(model.bridge_proj(bridge)).mean(1)
        chosen = model.selector(features, frame_index, mean_bridge, sample_negatives=True)
        assert len({tuple(row) for row in chosen.index[:, :, :1].flatten(1).tolist()}) > 1
        for layer, memory in enumerate(features.layers):
            tokens = model.selector.norms[layer](model.selector.projections[layer](memory))
            for row, frame in enumerate(frame_index.tolist()):
                scores = [
                    float(F.cosine_similarity(token, mean_bridge[row], dim=0)) if ok else float("-inf")
                    for token, ok in zip(tokens[frame], features.grid.selectable[0], strict=True)
                ]
                order = sorted(range(len(scores)), key=lambda i: scores[i], reverse=True)
                index = chosen.index[layer, row].tolist()
                assert sorted(index) == sorted(order[:11])
                torch.testing.assert_close(chosen.content[layer, row], tokens[frame][index])
                torch.testing.assert_close(
                    chosen.similarity.positives[layer, row],
                    torch.tensor([scores[i] for i in index]),
                    atol=1e-5,
                    rtol=1e-4,
                )
                # With so few tokens the negatives are all the others, each once.
                others = [scores[i] for i in order[11:] if scores[i] > float("-inf")]
                drawn = sorted(chosen.similarity.negatives[layer, row].tolist(), reverse=True)
                assert drawn == pytest.approx(others, abs=1e-5)


def test_negatives_are_distinct_unselected_and_uniform() -> None:
    tokens, draws = 400, 300
    cosine = torch.linspace(-1, 1, tokens).repeat(2, 1, 1)
    index = torch.arange(40, 60).expand(2, 1, 20)
    selectable = torch.ones(1, tokens, dtype=torch.bool)
    selectable[:, :10] = False
    selector = QuerySelector(tiny())
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(tokens)
    for _ in range(draws):
        found = selector.sampled_similarity(cosine, index, selectable, tokens - 30, None, generator)
        assert found.negatives.shape == (2, 1, MAX_NEGATIVES)
        position = ((found.negatives + 1) / 2 * (tokens - 1)).round().long()
        assert len(position[0, 0].unique()) == MAX_NEGATIVES
        counts += torch.bincount(position.flatten(), minlength=tokens)
    assert counts[:10].sum() == counts[40:60].sum() == 0
    # 600 draws of 256 out of 370 tokens: 415 each, with a standard deviation of 11.
    rest = torch.cat([counts[10:40], counts[60:]])
    assert ((rest - 600 * MAX_NEGATIVES / 370).abs() < 60).all()


def test_rows_that_share_a_frame_equal_separate_runs() -> None:
    model = shaken(tiny()).eval()
    pixels, bridge, frame_index = frames(3), bridges(5), [2, 0, 0, 1, 2]
    with torch.inference_mode():
        together = model(pixels, None, torch.tensor(frame_index), bridge)
        for row, frame in enumerate(frame_index):
            alone = model(pixels[frame : frame + 1], None, torch.tensor([0]), bridge[row : row + 1])
            torch.testing.assert_close(together.boxes[:, row], alone.boxes[:, 0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(together.logits[:, row], alone.logits[:, 0], atol=1e-5, rtol=1e-4)


def test_denoising_does_not_touch_the_matching_queries() -> None:
    model = shaken(tiny()).train()
    bridge, frame_index = bridges(2), torch.tensor([0, 1])
    with torch.no_grad():
        features = model.encode(frames())
        plain = model.locate(features, frame_index, bridge)
        trained = model.locate(features, frame_index, bridge, torch.full((2, 4), 0.4), torch.ones(2).bool())
    assert plain.denoising is None
    assert trained.denoising is not None
    assert trained.denoising.boxes.shape == (2, 2, 6, 4)
    same(plain, trained)


def test_denoising_queries_see_their_own_group_only() -> None:
    model = shaken(tiny()).train()
    content, bridge = torch.randn(1, 4 + 6, 16), torch.randn(1, 3, 16)
    masks = SelfAttentionMasks.of(4, None, torch.block_diag(*[torch.ones(2, 2)] * 3).bool())
    with torch.no_grad():
        features = model.encode(frames(1))
        start = torch.zeros(1, 10, 4)

        def decode(x: Tensor) -> Tensor:
            boxes, _ = model.decoder(x, start, bridge, bridge.mean(1), features, torch.tensor([0]), masks)
            return boxes[-1, 0]

        before = decode(content)
        changed = content.clone()
        changed[0, 6] += 1.0
        moved = (decode(changed) - before).abs().sum(-1) > 1e-6
    assert moved.tolist() == [False] * 4 + [False, False, True, True, False, False]


@pytest.mark.parametrize("padded", [False, True])
def test_a_query_budget_refines_the_best_candidates(padded: bool) -> None:
    model = shaken(tiny()).eval()
    mask = torch.ones(2, 40, 56, dtype=torch.bool)
    mask[1, :, 24:] = not padded
    features, rows, bridge = (
        model.encode(frames(), mask if padded else None),
        torch.tensor([0, 1, 1]),
        bridges(3),
    )
    decoded: list[Tensor] = []
    model.decoder.register_forward_pre_hook(lambda _, arguments: decoded.append(arguments[0]))
    everything = model.locate(features, rows, bridge)
    count = everything.logits.shape[-1]

    # As many as there are, and more: nothing changes.
    for budget in (count, count + 5):
        model.config.query_budget = budget
        same(everything, model.locate(features, rows, bridge))

    # Half of them: those with the highest objectness before the decoder, in their order.
    model.config.query_budget = count // 2
    fewer = model.locate(features, rows, bridge)
    assert fewer.boxes.shape[2] == fewer.logits.shape[2] == count // 2
    score = everything.encoder_logits.detach().transpose(0, 1).flatten(1)
    for row in range(len(rows)):
        best = sorted(sorted(range(count), key=lambda query: -float(score[row, query]))[: count // 2])
        torch.testing.assert_close(decoded[-1][row], decoded[0][row, best])

    # Training refines all of them.
    model.train()
    assert model.locate(features, rows, bridge).logits.shape[-1] == count


@pytest.mark.parametrize("topk", [5, 10_000])
def test_padding_changes_no_answer(topk: int) -> None:
    model = shaken(tiny(topk=topk)).eval()
    generator = torch.Generator().manual_seed(4)
    strides, bridge, rows = model.backbone.strides, bridges(2), torch.tensor([0, 0])
    maps = [torch.randn(1, 16, 64 // s, 96 // s, generator=generator) for s in strides]
    height, width = 32, 48
    mask = torch.zeros(1, 64, 96, dtype=torch.bool)
    mask[:, :height, :width] = True
    with torch.inference_mode():
        padded = model.locate(model.encoder(maps, strides, (64, 96), mask), rows, bridge)
        cropped_maps = [item[:, :, : height // s, : width // s] for item, s in zip(maps, strides, strict=True)]
        alone = model.locate(model.encoder(cropped_maps, strides, (height, width), None), rows, bridge)
    assert padded.valid is not None
    assert alone.valid is None
    assert padded.valid.all() == (topk == 5)
    for row in range(2):
        keep = padded.valid[row]
        assert (padded.logits[:, row][:, ~keep] == NO_TOKEN).all()
        torch.testing.assert_close(padded.logits[:, row][:, keep], alone.logits[:, row], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(padded.boxes[:, row][:, keep], alone.boxes[:, row], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(padded.best()[0], alone.best()[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(4, 4), (33, 50), (9, 120)])
@pytest.mark.parametrize("padding", ["none", "some", "one frame entirely"])
@pytest.mark.parametrize("present", [(True, True, False), (False, False, False)])
def test_losses_stay_finite(size: tuple[int, int], padding: str, present: tuple[bool, ...]) -> None:
    model = shaken(tiny(topk=10_000)).train()
    mask = None
    if padding != "none":
        mask = torch.zeros(2, *size, dtype=torch.bool)
        mask[0, : size[0] // 2 + 1, : size[1] // 2 + 1] = True
        if padding == "some":
            mask[1] = True
    has = torch.tensor(present)
    targets = torch.full((3, 4), 0.4).masked_fill(~has[:, None], float("nan"))
    bridge = bridges(3).requires_grad_()
    output = model(frames(2, *size), mask, torch.tensor([0, 1, 1]), bridge, targets, has)
    loss = loss_of(output, targets, has)
    loss.backward()
    assert loss.isfinite()
    assert bridge.grad is not None
    assert bridge.grad.isfinite().all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    assert output.best()[0].isfinite().all()


def test_no_rows() -> None:
    model = shaken(tiny()).eval()
    with torch.inference_mode():
        output = model(frames(), None, torch.zeros(0, dtype=torch.long), bridges(1)[:0])
    assert output.best()[0].shape == (0, 4)


def test_mixed_precision_stays_close_and_returns_float32() -> None:
    model = shaken(tiny()).eval()
    with torch.inference_mode():
        features = model.encode(frames())
        exact = model.locate(features, torch.tensor([0, 1]), bridges(2))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(frames(), None, torch.tensor([0, 1]), bridges(2))
    assert rough.boxes.dtype == rough.logits.dtype == rough.similarity.positives.dtype == torch.float32
    assert float((rough.best()[1] - exact.best()[1]).abs().max()) < 0.1


def test_same_generator_same_loss() -> None:
    model = shaken(tiny()).train()
    targets, has = torch.full((2, 4), 0.5), torch.tensor([True, True])
    with torch.no_grad():
        features = model.encode(frames())
        losses = [
            loss_of(
                model.locate(
                    features,
                    torch.tensor([0, 1]),
                    bridges(2),
                    targets,
                    has,
                    torch.Generator().manual_seed(seed),
                ),
                targets,
                has,
            ).item()
            for seed in (7, 7, 8)
        ]
    assert losses[0] == losses[1] != losses[2]


def test_checkpointed_layers_give_the_same_gradient() -> None:
    targets, has = torch.full((2, 4), 0.5), torch.tensor([True, True])
    gradients = []
    for enabled in (False, True):
        model = shaken(tiny()).train()
        layers = [
            module
            for part in (model.encoder, model.decoder)
            for module in part.modules()
            if isinstance(module, GradientCheckpointingLayer)
        ]
        assert len(layers) == 4
        for layer in layers:
            layer.gradient_checkpointing = enabled
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        generator = torch.Generator().manual_seed(0)
        features = model.encode(frames())
        output = model.locate(features, torch.tensor([0, 1]), bridges(2), targets, has, generator)
        loss_of(output, targets, has).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for plain, saved in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, saved, atol=1e-5, rtol=1e-4)


def test_reset_parameters_starts_at_the_anchors_and_the_prior() -> None:
    model = shaken(tiny())
    model.reset_parameters()
    model.eval()
    with torch.inference_mode():
        output = model(frames(), None, torch.tensor([0, 1]), bridges(2))
        fresh = SpatialLocalizer(tiny(), WIDTH).eval()(frames(), None, torch.tensor([0, 1]), bridges(2))
    for item in (output, fresh):
        # All boxes of all layers are still anchors: widths 0.05, 0.1 and 0.2.
        sides = item.boxes[..., 2:].unique().tolist()
        assert all(min(abs(side - base) for base in (0.05, 0.1, 0.2)) < 1e-5 for side in sides)
        assert 0.001 < float(item.logits.sigmoid().mean()) < 0.05


def test_look_forward_twice() -> None:
    # The box of a layer trains its own head and the one before it, and none earlier.
    model = shaken(tiny(num_decoder_layers=4)).train()
    output = model(frames(), None, torch.tensor([0, 1]), bridges(2))
    output.boxes[3].sum().backward()
    reached = [bool(head.layers[-1].bias.grad.abs().sum() > 0) for head in model.decoder.box_heads]
    assert reached == [False, False, True, True]
    assert model.candidate_box.layers[-1].bias.grad is None
