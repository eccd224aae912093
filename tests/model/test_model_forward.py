"""The whole model in one forward: every setting runs, every loss stays finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from support.tiny_models import make_video, tiny_spatial_config
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.configuration import ETA_MODES, BridgeSTGConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, BridgeSTGOutput
from bridge_stg.model.processing import BridgeSTGProcessor

MakeModel = Callable[..., BridgeSTGForVideoGrounding]
MakeConfig = Callable[..., BridgeSTGConfig]


def run(
    model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor, has_target: Tensor, frames: int = 3
) -> BridgeSTGOutput:
    inputs = dict(processor(make_video(frames), ["the red circle", "left"], answers=["red", "moves"]))
    rows = len(inputs["row_frame"])
    assert rows == len(has_target)
    # Rows without a target may hold anything.
    targets = torch.full((rows, 4), float("nan"))
    targets[has_target] = torch.tensor([0.4, 0.5, 0.3, 0.5])
    return model(**inputs, targets=targets, has_target=has_target)


def check(output: BridgeSTGOutput, model: BridgeSTGForVideoGrounding) -> None:
    assert output.loss is not None
    assert output.loss.isfinite()
    output.loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name
    model.zero_grad()


@pytest.mark.parametrize("eta_mode", ETA_MODES)
def test_the_four_modes_end_to_end(
    make_model: MakeModel, make_config: MakeConfig, tokenizer: PreTrainedTokenizerFast, eta_mode: str
) -> None:
    model = make_model(eta_mode=eta_mode).train()
    processor = BridgeSTGProcessor(tokenizer, make_config(eta_mode=eta_mode))
    output = run(model, processor, torch.tensor([True, False, True] * 2))
    check(output, model)
    assert output.bridge.shape == (2, 4, 32)
    boxes, scores = output.spatial.best()
    assert boxes.shape == (6, 4)
    assert (boxes[:, :2] <= boxes[:, 2:]).all()
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize("queries", [0, 8, 16])
def test_numbers_of_bridging_queries(
    make_model: MakeModel, make_config: MakeConfig, tokenizer: PreTrainedTokenizerFast, queries: int
) -> None:
    model = make_model(num_bridge_queries=queries).train()
    processor = BridgeSTGProcessor(tokenizer, make_config(num_bridge_queries=queries))
    output = run(model, processor, torch.tensor([True, False, True] * 2))
    # M = 0: the hidden state of <det> alone.
    assert output.bridge.shape == (2, max(queries, 1), 32)
    check(output, model)
    assert (model.bridge.queries is None) == (queries == 0)


@pytest.mark.parametrize(
    "has_target",
    [torch.zeros(6, dtype=torch.bool), torch.ones(6, dtype=torch.bool), torch.tensor([False] * 3 + [True] * 3)],
    ids=["no target", "no negative frame", "one sentence without target"],
)
def test_losses_are_finite_whatever_the_frames(
    make_model: MakeModel, processor: BridgeSTGProcessor, has_target: Tensor
) -> None:
    model = make_model().train()
    output = run(model, processor, has_target)
    check(output, model)
    losses = output.spatial_losses
    terms = [losses.box, losses.giou, losses.denoising_box, losses.denoising_giou, losses.alignment]
    assert all((float(term) != 0) == bool(has_target.any()) for term in terms)
    assert float(losses.objectness) > 0


@pytest.mark.parametrize(("has_target", "divisor"), [([False] * 6, 6), ([True, False, True] * 2, 4)])
def test_objectness_is_divided_by_targets_or_without_any_by_rows(
    make_model: MakeModel, processor: BridgeSTGProcessor, has_target: list[bool], divisor: int
) -> None:
    model = make_model()
    inputs = dict(processor(make_video(3), ["the red circle", "left"], answers=["red", "moves"]))
    truth = {"targets": torch.full((6, 4), 0.5), "has_target": torch.tensor(has_target)}
    with torch.no_grad():
        default = model(**inputs, **truth).spatial_losses
        summed = model(**inputs, **truth, num_targets=1.0).spatial_losses
    torch.testing.assert_close(default.objectness * divisor, summed.objectness)


def test_alignment_weighted_zero_pulls_at_nothing(make_model: MakeModel, processor: BridgeSTGProcessor) -> None:
    """Table 13: the whole gradient is that without alignment plus that of alignment alone."""
    model = make_model().train()
    inputs = dict(processor(make_video(3), ["the red circle"], answers=["red"]))
    truth = {"targets": torch.full((3, 4), 0.5), "has_target": torch.tensor([True, False, True])}
    only = LossWeights(token=0.0, objectness=0.0, box=0.0, giou=0.0, denoising=0.0)

    def gradient(weights: LossWeights) -> Tensor:
        model.zero_grad()
        torch.manual_seed(3)  # the same noised boxes and the same sampled negatives
        model(**inputs, **truth, weights=weights).loss.backward()
        parts = [p.grad.flatten() if p.grad is not None else p.new_zeros(p.numel()) for p in model.parameters()]
        return torch.cat(parts)

    alone = gradient(only)
    assert alone.abs().max() > 0
    assert gradient(replace(only, alignment=0.0)).abs().max() == 0
    torch.testing.assert_close(gradient(LossWeights()), gradient(LossWeights(alignment=0.0)) + alone)


@pytest.mark.parametrize("select_layers", ["all", "last"])
def test_more_queries_than_a_frame_has_tokens(
    make_model: MakeModel, processor: BridgeSTGProcessor, select_layers: str
) -> None:
    spatial = tiny_spatial_config(topk=5000, select_layers=select_layers)
    model = make_model(spatial=spatial).train()
    check(run(model, processor, torch.tensor([True, False, True] * 2)), model)


def test_a_batch_in_which_nothing_is_asked_where(make_model: MakeModel, processor: BridgeSTGProcessor) -> None:
    model = make_model().train()
    inputs = processor(make_video(2), ["when"], answers=["left"], task="vtg")
    output = model(**inputs)
    assert output.spatial is None
    assert output.bridge is None
    check(output, model)
    # The masks of a batch of several tasks are there, and empty.
    nothing = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    again = model(**inputs, slot_mask=nothing, bridge_mask=nothing)
    assert again.bridge.shape == (0, 4, 32)
    torch.testing.assert_close(again.loss, output.loss)


def test_losses_are_those_of_a_whole_batch_when_counts_are_given(
    make_model: MakeModel, processor: BridgeSTGProcessor
) -> None:
    """Token loss: mean over labelled tokens by default, sum over the caller's count otherwise."""
    model = make_model()
    inputs = dict(processor(make_video(2), ["red", "left"], answers=["red", "moves left"]))
    with torch.no_grad():
        output = model(**inputs)
        counted = model(**inputs, num_tokens=10.0)
    labels = inputs["labels"][inputs["labels"] != -100]
    losses = -output.logits.log_softmax(-1)[torch.arange(len(labels)), labels]
    torch.testing.assert_close(output.token_loss, losses.mean())
    torch.testing.assert_close(counted.token_loss, losses.sum() / 10)


def test_bfloat16_runs_end_to_end(make_model: MakeModel, processor: BridgeSTGProcessor) -> None:
    model = make_model().to(torch.bfloat16)
    inputs = processor(make_video(3), ["the red circle"], answers=["red"])
    with torch.no_grad():
        output = model(**inputs)
    assert output.bridge.dtype == torch.bfloat16
    assert output.spatial.boxes.dtype == torch.float32
    assert output.spatial.boxes.isfinite().all()


def test_wrong_inputs_are_refused(model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor) -> None:
    inputs = dict(processor(make_video(2), ["red"], answers=["left"]))
    with pytest.raises(ValueError, match="position_ids"):
        model(**inputs | {"position_ids": inputs["position_ids"][1:]})
    patches, grid = inputs["pixel_values_videos"].repeat(2, 1), inputs["video_grid_thw"].repeat(2, 1)
    with pytest.raises(ValueError, match=r"6 .*12 "):
        model(**inputs | {"pixel_values_videos": patches, "video_grid_thw": grid})
    slots = inputs["slot_mask"].clone()
    slots[0, -1] = False
    with pytest.raises(ValueError, match="4 bridging"):
        model(**inputs | {"slot_mask": slots})
