"""Qwen3-VL's vision attention for frame pairs of equal size, in one call instead of one per pair.

Stock Qwen3-VL attends within each frame pair in a Python loop over pairs and layers. All pairs of one clip have
the same number of patches, so they can be a batch: the same numbers, an order of magnitude fewer calls.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionAttention, apply_rotary_pos_emb_vision


def batch_equal_pairs(vision_tower: nn.Module) -> None:
    """Let every attention of a Qwen3-VL vision tower attend to equally long segments in one call."""
    for module in vision_tower.modules():
        if isinstance(module, Qwen3VLVisionAttention):
            module.forward = types.MethodType(_attend_in_segments, module)


def _attend_in_segments(
    self: Qwen3VLVisionAttention,
    hidden_states: Tensor,
    cu_seqlens: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    max_seqlen: int | None = None,
    **kwargs: Any,
) -> Tensor:
    """The stock forward's contract: hidden states (N, C) of all segments in a row, their bounds, (cos, sin)."""
    count = len(cu_seqlens) - 1
    total = len(hidden_states)
    lengths = cu_seqlens.diff()
    if total % count or not bool((lengths == total // count).all()):
        # Clips of different sizes in one batch: the stock loop.
        return Qwen3VLVisionAttention.forward(
            self,
            hidden_states,
            cu_seqlens,
            position_embeddings=position_embeddings,
            max_seqlen=max_seqlen,
            **kwargs,
        )
    qkv = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1).permute(1, 0, 2, 3)
    query, key = apply_rotary_pos_emb_vision(qkv[0], qkv[1], *position_embeddings)
    # (N, heads, c) -> (segments, heads, tokens, c)
    query, key, value = (part.unflatten(0, (count, -1)).transpose(1, 2) for part in (query, key, qkv[2]))
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=self.scaling)
    return self.proj(attended.transpose(1, 2).reshape(total, -1))
