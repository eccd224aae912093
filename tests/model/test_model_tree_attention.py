"""Attention in parts against one masked attention: outputs, gradients, and a whole training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.tiny_models import make_video
from torch import Tensor
from torch.nn import functional as F
from transformers import Qwen3VLForConditionalGeneration

from bridge_stg.model import tree_attention
from bridge_stg.model.attention_parts import attend_part, attend_part_plainly, join_outputs, join_parts
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.temporal_alignment import text_positions
from bridge_stg.model.token_tree import IGNORE, Branch, build_tree, collate_trees, tree_mask
from bridge_stg.model.tree_attention import TreePattern


def random_tree() -> Tensor:
    """Three trees of other lengths: branches at the end, in the middle and beside the clip; one without."""

    def branch(length: int, attach: int | None = None) -> Branch:
        return Branch((1,) * length, (IGNORE,) * length, attach=attach, position=attach)

    branches = [
        [branch(3), branch(5), branch(2, attach=4), branch(4, attach=4), branch(20, attach=0), branch(6)],
        [branch(2, attach=1)],
        [],
    ]
    clips = [(12, branches[0]), (7, branches[1]), (15, branches[2])]
    trees = [build_tree(torch.zeros(n, dtype=torch.long), text_positions(0, n), n, own) for n, own in clips]
    return collate_trees(trees, pad_id=0).tree


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_outputs_and_gradients_equal_one_masked_attention(kv_heads: int) -> None:
    tree = random_tree()
    length = tree.shape[-1]
    query = torch.randn(3, 4, length, 8, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(3, kv_heads, length, 8, dtype=torch.float64, requires_grad=True) for _ in "kv")
    weight = torch.randn(3, 4, length, 8, dtype=torch.float64)
    real = (tree[0] >= -1)[:, None, :, None]

    out = TreePattern(tree).attend(0, query, key, value, 0.3)
    found = torch.autograd.grad((out * weight * real).sum(), (query, key, value))
    plain = F.scaled_dot_product_attention(
        query, key, value, attn_mask=tree_mask(tree), scale=0.3, enable_gqa=True
    )
    expected = torch.autograd.grad((plain * weight * real).sum(), (query, key, value))

    torch.testing.assert_close(out * real, plain * real)
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("causal", [False, True])
def test_the_kernel_equals_the_definition(causal: bool) -> None:
    query, key, value = torch.randn(3, 2, 4, 9, 16)
    bias = torch.zeros(2, 1, 9, 9).masked_fill(torch.rand(2, 1, 9, 9) < 0.3, -torch.inf)
    bias.diagonal(dim1=-2, dim2=-1).zero_()
    for extra in (None, bias):
        found = attend_part(query, key, value, 0.25, causal, extra)
        expected = attend_part_plainly(query, key, value, 0.25, causal, extra)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_place_without_keys_adds_nothing(dtype: torch.dtype) -> None:
    query, key, value = torch.randn(3, 2, 4, 9, 16, dtype=dtype)
    nothing = attend_part(query, key[:, :, :0], value[:, :, :0], 0.25)
    assert torch.equal(nothing[0], torch.zeros_like(query))
    assert torch.equal(nothing[1], torch.full((2, 4, 9), -torch.inf))

    whole = attend_part(query, key, value, 0.25)
    for joined in (join_parts(*nothing, *whole), join_parts(*whole, *nothing)):
        torch.testing.assert_close(joined, whole)
    assert torch.equal(join_outputs(*nothing, *whole), whole[0])
    assert not torch.isnan(join_parts(*nothing, *nothing)[0]).any()


def test_two_places_joined_are_one() -> None:
    query, key, value = torch.randn(3, 2, 4, 9, 16)
    first = attend_part(query, key[:, :, :4], value[:, :, :4], 0.25)
    second = attend_part(query, key[:, :, 4:], value[:, :, 4:], 0.25)
    whole = attend_part(query, key, value, 0.25)
    torch.testing.assert_close(join_parts(*first, *second), whole, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(join_outputs(*first, *second), whole[0], atol=1e-6, rtol=1e-5)


def test_a_training_step_equals_that_of_a_masked_attention(
    make_model: Callable[..., BridgeSTGForVideoGrounding],
    processor: BridgeSTGProcessor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loss, and the gradient of every parameter, to 1e-5 of its size.

    In float64: selection of tokens and matching turn on the last digits of float32.
    """

    class Masked(TreePattern):
        def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask=tree_mask(self.tree), scale=scale, enable_gqa=True
            )

    model = make_model().train().double()
    inputs: dict[str, Any] = dict(processor(make_video(5), ["red", "left", "that"], answers=["red", "a", "b"]))
    rows = len(inputs["row_frame"])
    truth = {"targets": torch.full((rows, 4), 0.5), "has_target": torch.ones(rows, dtype=torch.bool)}

    def step() -> tuple[Tensor, dict[str, Tensor]]:
        model.zero_grad()
        torch.manual_seed(5)
        loss = model(**inputs, **truth).loss
        loss.backward()
        return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    loss, gradients = step()
    monkeypatch.setattr("bridge_stg.model.modeling.TreePattern", Masked)
    plain_loss, plain = step()
    torch.testing.assert_close(loss, plain_loss, atol=0, rtol=1e-5)
    assert gradients.keys() == plain.keys()
    worst = max(
        float((gradients[n] - plain[n]).abs().max() / plain[n].abs().max().clamp(min=1e-6)) for n in plain
    )
    assert worst < 1e-5


def test_a_training_step_in_bfloat16_is_close_to_that_in_float32(
    make_model: Callable[..., BridgeSTGForVideoGrounding], processor: BridgeSTGProcessor
) -> None:
    """The loss to 2% (a bfloat16 has 8 bits), and a gradient that points the same way."""
    model = make_model().train()
    inputs: dict[str, Any] = dict(processor(make_video(5), ["red", "left", "that"], answers=["red", "a", "b"]))

    def step(bfloat16: bool) -> tuple[Tensor, Tensor]:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = model(**inputs).loss
        loss.backward()
        tower = model.mllm.model.language_model.layers.parameters()
        return loss.detach(), torch.cat([p.grad.flatten() for p in tower])

    loss, gradient = step(bfloat16=False)
    rounded_loss, rounded = step(bfloat16=True)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded_loss, loss, rtol=0.02, atol=0)
    assert not torch.equal(rounded, gradient)
    assert F.cosine_similarity(rounded, gradient, dim=0) > 0.99


def test_a_stock_model_of_the_same_configuration_stays_stock(
    make_model: Callable[..., BridgeSTGForVideoGrounding],
) -> None:
    model = make_model()
    assert model.mllm.model.language_model.config._attn_implementation == tree_attention.IMPLEMENTATION
    stock = Qwen3VLForConditionalGeneration(model.config.mllm)
    assert stock.model.language_model.config._attn_implementation == "sdpa"
