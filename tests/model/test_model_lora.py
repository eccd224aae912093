"""LoRA: what it touches, what each loss moves (App. B.4), and that merging keeps the outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.tiny_models import make_video
from torch import Tensor

from bridge_stg.errors import CheckpointError
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.lora import add_lora, merge_lora
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, BridgeSTGOutput, adapter_parameters
from bridge_stg.model.parameter_counts import parameter_counts
from bridge_stg.model.processing import BridgeSTGProcessor

MakeModel = Callable[..., BridgeSTGForVideoGrounding]


def inputs_for(processor: BridgeSTGProcessor) -> dict[str, Tensor]:
    """Two sentences about four frames; boxes on some of the eight rows."""
    inputs = dict(processor(make_video(4), ["the red circle", "left"], answers=["red", "moves"]))
    rows = len(inputs["row_frame"])
    inputs["targets"] = torch.tensor([0.4, 0.5, 0.3, 0.5]).expand(rows, 4)
    inputs["has_target"] = torch.arange(rows) % 3 > 0
    return inputs


def adapted(make_model: MakeModel, tied: bool = True, seed: int = 0) -> BridgeSTGForVideoGrounding:
    """Away from the start, where tensors that begin at zero (LoRA's B, box heads, offsets) hide others'
    gradients.
    """
    model = make_model(tied=tied, seed=seed)
    add_lora(model, rank=2)
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.2)
            elif "trainable_tokens_delta" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
            elif name.startswith("localizer.") and parameter.ndim > 1:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def run(model: BridgeSTGForVideoGrounding, inputs: dict[str, Tensor]) -> BridgeSTGOutput:
    torch.manual_seed(1)
    return model(**inputs)


def groups_with_gradient(model: BridgeSTGForVideoGrounding) -> dict[str, set[str]]:
    """Group of parameters -> "all", "some" and/or "none": whether its members received a gradient other than
    zero.
    """
    groups: dict[str, set[str]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(group_of(name), set()).add(
            "moved" if parameter.grad is not None and bool(parameter.grad.ne(0).any()) else "still"
        )
    return groups


def group_of(name: str) -> str:
    if ".lora_" in name:
        return "LoRA"
    if "trainable_tokens_delta" in name:
        return "<det> output row" if "lm_head" in name else "<det> row"
    if name.startswith("mllm.model.visual."):
        return "vision tower"
    if name.startswith("mllm."):
        return "language model"
    if name.startswith("bridge.queries"):
        return "bridging queries"
    if name.startswith("bridge."):
        return "bridging MLP"
    # Swin's final norm is not on the path of a backbone.
    return "unused norm" if name.startswith("localizer.backbone.swin.swin.layernorm.") else "QGSL"


STILL, MOVED = {"still"}, {"moved"}


def test_gradient_of_the_token_loss_alone(make_model: MakeModel, processor: BridgeSTGProcessor) -> None:
    model = adapted(make_model).train()
    output = run(model, inputs_for(processor))
    output.token_loss.backward()
    assert groups_with_gradient(model) == {
        "LoRA": MOVED,
        "<det> row": MOVED,
        "vision tower": STILL,
        "language model": STILL,
        "bridging queries": STILL,
        "bridging MLP": STILL,
        "QGSL": STILL,
        "unused norm": STILL,
    }


def test_gradient_of_the_spatial_loss_alone(make_model: MakeModel, processor: BridgeSTGProcessor) -> None:
    model = adapted(make_model).train()
    inputs = inputs_for(processor)
    del inputs["labels"]
    output = run(model, inputs)
    assert output.token_loss is None
    output.loss.backward()
    assert groups_with_gradient(model) == {
        # Through the hidden states of the bridging queries, which attend to <det> too.
        "LoRA": MOVED,
        "<det> row": MOVED,
        "vision tower": STILL,
        "language model": STILL,
        "bridging queries": MOVED,
        "bridging MLP": MOVED,
        "QGSL": MOVED,
        "unused norm": STILL,
    }


def test_gradient_of_both_losses_is_their_sum(make_model: MakeModel, processor: BridgeSTGProcessor) -> None:
    inputs = inputs_for(processor)
    gradients = []
    for weights in (LossWeights(token=1.0, spatial=0.0), LossWeights(token=0.0, spatial=0.02), LossWeights()):
        model = adapted(make_model).train()
        torch.manual_seed(1)
        model(**inputs, weights=weights).loss.backward()
        names = [name for name, _ in model.named_parameters() if ".lora_" in name]
        gradients.append(torch.cat([model.get_parameter(name).grad.flatten() for name in names]))
    torch.testing.assert_close(gradients[0] + gradients[1], gradients[2], atol=1e-5, rtol=1e-4)


def test_an_untied_model_learns_both_rows(make_model: MakeModel, processor: BridgeSTGProcessor) -> None:
    model = adapted(make_model, tied=False).train()
    run(model, inputs_for(processor)).loss.backward()
    groups = groups_with_gradient(model)
    assert groups["<det> row"] == groups["<det> output row"] == MOVED
    assert groups["language model"] == STILL


def test_only_language_attention_and_one_row_are_trainable(make_model: MakeModel) -> None:
    model = make_model()
    add_lora(model, rank=2)
    trainable = {n for n, p in model.named_parameters() if p.requires_grad and n.startswith("mllm.")}
    layers = {
        f"mllm.model.language_model.layers.{layer}.self_attn.{part}_proj.lora_{side}.default.weight"
        for layer in range(2)
        for part in "qkvo"
        for side in "AB"
    }
    (row,) = trainable - layers
    assert layers < trainable
    assert row == "mllm.model.language_model.embed_tokens.token_adapter.trainable_tokens_delta.default"
    assert model.get_parameter(row).shape == (1, 32)
    matrices = sum(model.get_parameter(name).numel() for name in layers)
    assert matrices == parameter_counts(model.config, rank=2)["LoRA"]
    assert all(p.requires_grad for n, p in model.named_parameters() if n.startswith("bridge."))
    with pytest.raises(ValueError, match="adapters"):
        add_lora(model)


def test_fresh_adapters_change_nothing(make_model: MakeModel, processor: BridgeSTGProcessor) -> None:
    inputs = inputs_for(processor)
    model = make_model()
    with torch.no_grad():
        before = run(model, inputs)
        add_lora(model)
        after = run(model, inputs)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.bridge, after.bridge)


@pytest.mark.parametrize("tied", [True, False])
def test_merged_adapters_keep_the_outputs_and_save_plainly(
    make_model: MakeModel, processor: BridgeSTGProcessor, tmp_path: Path, tied: bool
) -> None:
    inputs = inputs_for(processor)
    plain_keys = set(make_model(tied=tied).state_dict())
    with torch.no_grad():
        plain = run(make_model(tied=tied), inputs)
        model = adapted(make_model, tied=tied)
        before = run(model, inputs)
        # The adapters matter, so keeping their effect means something.
        assert float((plain.logits - before.logits).abs().max()) > 1e-2
        with pytest.raises(CheckpointError, match="merge_lora"):
            model.save_pretrained(tmp_path)
        assert not list(tmp_path.iterdir())
        merge_lora(model)
        after = run(model, inputs)
    assert adapter_parameters(model) == []
    assert set(model.state_dict()) == plain_keys
    torch.testing.assert_close(after.logits, before.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.bridge, before.bridge, atol=1e-4, rtol=1e-4)
    tables = model.mllm.lm_head.weight, model.mllm.get_input_embeddings().weight
    assert (tables[0] is tables[1]) == tied

    model.save_pretrained(tmp_path)
    loaded = BridgeSTGForVideoGrounding.from_pretrained(tmp_path)
    with torch.no_grad():
        again = run(loaded, inputs)
    assert torch.equal(again.logits, after.logits)
    # A second round of tuning can start from here.
    add_lora(model)
    merge_lora(model)
    merge_lora(model)
    with torch.no_grad():
        assert torch.equal(run(model, inputs).logits, after.logits)
