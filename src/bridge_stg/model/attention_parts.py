"""Softmax attention over keys that lie in several places, computed place by place and joined exactly.

The attention of a query over the keys of two places is the mean of its attentions over each, weighted by the
softmax of their log-sum-exps. So the keys of a clip that many sentences share need no copy beside each
sentence's own keys, and no mask over both.

Shape letters: B batch, H heads, Q queries, K keys, C channels of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attend_part(
    query_BHQC: Tensor,
    key_BHKC: Tensor,
    value_BHKC: Tensor,
    scale: float,
    causal: bool = False,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention over the keys of one place: (B, H, Q, C), and the log-sum-exps (B, H, Q) of its scores.

    Without gradients; see ``attend_part_backward``.

    Args:
        scale: what the scores are multiplied by.
        causal: query i sees the keys up to i.
        bias: broadcast to (B, H, Q, K) and added to the scores; -inf hides a key.
    """
    if key_BHKC.shape[2] == 0:
        # Nothing is seen: the kernel divides by the number of keys.
        accurate = torch.promote_types(query_BHQC.dtype, torch.float32)
        nothing = query_BHQC.new_full(query_BHQC.shape[:-1], -torch.inf, dtype=accurate)
        return torch.zeros_like(query_BHQC), nothing
    if query_BHQC.device.type == "cpu":
        out_BHQC, lse_BHQ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query_BHQC, key_BHKC, value_BHKC, 0.0, causal, attn_mask=bias, scale=scale
        )
        return out_BHQC, lse_BHQ
    return attend_part_plainly(query_BHQC, key_BHKC, value_BHKC, scale, causal, bias)


def attend_part_plainly(
    query_BHQC: Tensor,
    key_BHKC: Tensor,
    value_BHKC: Tensor,
    scale: float,
    causal: bool = False,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``attend_part`` by its definition, in float32, for devices without a kernel that gives log-sum-exps."""
    scores_BHQK = query_BHQC.float() @ key_BHKC.float().transpose(-1, -2) * scale
    if causal:
        later_QK = torch.ones(scores_BHQK.shape[-2:], dtype=torch.bool, device=scores_BHQK.device).triu(1)
        scores_BHQK = scores_BHQK.masked_fill(later_QK, -torch.inf)
    if bias is not None:
        scores_BHQK = scores_BHQK + bias
    lse_BHQ = scores_BHQK.logsumexp(-1)
    weights_BHQK = torch.exp(scores_BHQK - lse_BHQ[..., None])
    return (weights_BHQK @ value_BHKC.float()).to(query_BHQC.dtype), lse_BHQ


def attend_part_backward(
    grad_BHQC: Tensor,
    query_key_value: tuple[Tensor, Tensor, Tensor],
    out_BHQC: Tensor,
    lse_BHQ: Tensor,
    scale: float,
    causal: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values through the keys of one place, on a CPU.

    ``out_BHQC`` and ``lse_BHQ`` are those of the attention over all places, of which this is one.
    """
    query, key, value = query_key_value
    grads: tuple[Tensor, Tensor, Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad_BHQC, query, key, value, out_BHQC, lse_BHQ, 0.0, causal, scale=scale
    )
    return grads


def join_parts(out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over the keys of two places: outputs (..., C) and log-sum-exps (...).

    A place without keys (a log-sum-exp of -inf) adds nothing.
    """
    lse = torch.logaddexp(lse_a, lse_b)
    # Over no keys at all every weight is 0.
    known = lse.masked_fill(lse == -torch.inf, 0.0)
    weight_a, weight_b = torch.exp(lse_a - known)[..., None], torch.exp(lse_b - known)[..., None]
    return (out_a * weight_a + out_b * weight_b).to(out_a.dtype), lse


def join_outputs(out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor) -> Tensor:
    """``join_parts`` without its log-sum-exp, where one of the two places has keys, in three operations."""
    weight_a = torch.sigmoid(lse_a - lse_b)[..., None].to(out_a.dtype)
    return torch.lerp(out_b, out_a, weight_a)
