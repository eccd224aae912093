"""The language model's attention over token trees: a branch sees the clip up to where it hangs, and itself.

Over a whole tree two thirds of the products of a masked attention are thrown away. Here the clip attends to
itself, every branch to the clip and to itself, and the two are joined exactly (``attention_parts``).

Shape letters: B trees, L tokens, H heads, C channels of a head, S branches, N the longest of them, T their
tokens.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from bridge_stg.model.attention_parts import attend_part, attend_part_backward, join_parts
from bridge_stg.model.token_tree import CLIP, PADDING, tree_mask

IMPLEMENTATION = "bridge_stg_tree"


class Pattern(Protocol):
    """Who sees whom, where that is not simply "every earlier token"."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """(B, H, L, C) of queries (B, H, L, C), keys and values (B, Hkv, L, C)."""
        ...


def use_tree_attention(language_model: nn.Module) -> None:
    """Let the layers of a Qwen3-VL language model attend by the ``pattern`` they are given.

    Only the layers' own view of their configuration changes: a stock model made of the same one stays stock.
    """
    config = copy.copy(language_model.config)
    config._attn_implementation = IMPLEMENTATION
    language_model.config = config
    for layer in language_model.layers:
        layer.self_attn.config = config


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    pattern: Pattern | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The contract of transformers' attention functions; without a pattern every earlier token is seen."""
    if pattern is not None:
        return pattern.attend(module.layer_idx, query, key, value, scaling).transpose(1, 2), None
    queries, keys = query.shape[2], key.shape[2]
    # After a cache the last query sees all keys, the one before it one fewer.
    mask = None
    if 1 < queries < keys:
        mask = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)
    out = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=queries == keys,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2), None


# Transformers makes no mask for an implementation it does not know; the pattern replaces it.
ALL_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, _attend)


@dataclass(frozen=True)
class TokenSpan:
    """Neighbouring tokens of one tree, ``first`` up to ``last``, that all see ``seen`` tokens of the clip."""

    row: int
    first: int
    last: int
    seen: int


@dataclass(frozen=True)
class BranchTokens:
    """Where the tokens of several branches are in the flattened batch.

    A short branch repeats its last token to the right, where a causal attention shows it to no other.
    ``place`` (S, N), ``real`` (S, N) False on repeated ones, ``place_real`` (T,) without them.
    """

    place: Tensor
    real: Tensor
    place_real: Tensor

    @classmethod
    def of(cls, starts: list[int], lengths: list[int]) -> BranchTokens:
        steps_N = torch.arange(max(lengths))[None]
        lengths_S, starts_S = torch.tensor(lengths)[:, None], torch.tensor(starts)[:, None]
        real_SN = steps_N < lengths_S
        place_SN = starts_S + steps_N.minimum(lengths_S - 1)
        return cls(place_SN, real_SN, place_SN[real_SN])


class TreePattern:
    """A batch of token trees (``tree``: (2, B, L), see TreeBatch), laid out for attention once per step."""

    def __init__(self, tree: Tensor) -> None:
        self.tree = tree
        self._mask: Tensor | None = None
        branch_BL, seen_BL = tree.cpu()
        self.clip_lengths = [int(length) for length in (branch_BL == CLIP).sum(1)]

        # Each branch is a run of tokens; neighbours that hang at the same place attend to the clip together.
        length = tree.shape[-1]
        self.spans: list[TokenSpan] = []
        starts, lengths = [], []
        for row, clip_length in enumerate(self.clip_lengths):
            owners, counts = torch.unique_consecutive(branch_BL[row, clip_length:], return_counts=True)
            first = clip_length
            for owner, count in zip(owners.tolist(), counts.tolist(), strict=True):
                if owner == PADDING:
                    break
                starts.append(row * length + first)
                lengths.append(count)
                seen, last = int(seen_BL[row, first]), first + count
                if seen == 0:  # text that needs no clip
                    first = last
                    continue
                before = self.spans[-1] if self.spans else None
                if before is not None and (before.row, before.last, before.seen) == (row, first, seen):
                    self.spans[-1] = TokenSpan(row, before.first, last, seen)
                else:
                    self.spans.append(TokenSpan(row, first, last, seen))
                first = last

        # Branches of about one length attend to themselves together, so that little is padded.
        sizes: dict[int, list[int]] = {}
        for index, count in enumerate(lengths):
            sizes.setdefault(max(count - 1, 15).bit_length(), []).append(index)
        self.branches = [
            BranchTokens.of([starts[i] for i in own], [lengths[i] for i in own]) for own in sizes.values()
        ]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        if query.device.type != "cpu":
            # No kernel there gives log-sum-exps and gradients alike: a mask, made where it is used.
            if self._mask is None:
                self._mask = tree_mask(self.tree)
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask=self._mask, scale=scale, enable_gqa=groups > 1
            )
        if torch.is_autocast_enabled(query.device.type):
            # Normed queries and keys come in float32, values in the type of their product.
            dtype = torch.get_autocast_dtype(query.device.type)
            query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
        return _TreeAttention.apply(query, key, value, self, scale)


class _TreeAttention(torch.autograd.Function):
    """Attention over a tree and its gradient, place by place.

    The gradient of a joined attention with respect to the keys of one place is that of the place alone, with
    the joined output and log-sum-exps put in for its own.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, pattern: TreePattern, scale: float
    ) -> Tensor:
        batch, heads, length, channels = query.shape
        out_BLHC = query.new_zeros(batch, length, heads, channels)
        # So far nothing is seen: a log-sum-exp over no keys.
        accurate = torch.promote_types(query.dtype, torch.float32)
        lse_BLH = query.new_full((batch, length, heads), -torch.inf, dtype=accurate)
        out_BHLC, lse_BHL = out_BLHC.transpose(1, 2), lse_BLH.transpose(1, 2)

        # The clip sees itself.
        for row, clip in enumerate(pattern.clip_lengths):
            at, _ = _places(TokenSpan(row, 0, clip, clip))
            out_BHLC[at], lse_BHL[at] = attend_part(query[at], key[at], value[at], scale, causal=True)

        # Branches see the clip up to where they hang ...
        for span in pattern.spans:
            at, clip_at = _places(span)
            out_BHLC[at], lse_BHL[at] = attend_part(query[at], key[clip_at], value[clip_at], scale)

        # ... and themselves.
        flat_out, flat_lse = out_BLHC.flatten(0, 1), lse_BLH.flatten(0, 1)
        for branches in pattern.branches:
            own_query, own_key, own_value = (_gather(part, branches.place) for part in (query, key, value))
            out_SHNC, lse_SHN = attend_part(own_query, own_key, own_value, scale, causal=True)
            flat_out[branches.place_real], flat_lse[branches.place_real] = join_parts(
                flat_out[branches.place_real],
                flat_lse[branches.place_real],
                out_SHNC.transpose(1, 2)[branches.real],
                lse_SHN.transpose(1, 2)[branches.real],
            )

        ctx.save_for_backward(query, key, value, out_BHLC, lse_BHL)
        ctx.pattern, ctx.scale = pattern, scale
        return out_BHLC

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        query, key, value, out, lse = ctx.saved_tensors
        pattern, scale = ctx.pattern, ctx.scale
        # Laid out by token, so that single tokens can be added to; summed over branches in float32 at least.
        accurate = torch.promote_types(query.dtype, torch.float32)
        found_BLHC = [
            torch.zeros_like(part.transpose(1, 2), dtype=accurate).contiguous() for part in (query, key, value)
        ]
        found = [part.transpose(1, 2) for part in found_BLHC]

        for row, clip in enumerate(pattern.clip_lengths):
            at, _ = _places(TokenSpan(row, 0, clip, clip))
            parts = attend_part_backward(
                grad[at], (query[at], key[at], value[at]), out[at], lse[at], scale, causal=True
            )
            for total, part in zip(found, parts, strict=True):
                total[at] += part

        for span in pattern.spans:
            at, clip_at = _places(span)
            parts = attend_part_backward(
                grad[at], (query[at], key[clip_at], value[clip_at]), out[at], lse[at], scale
            )
            for total, part, place in zip(found, parts, (at, clip_at, clip_at), strict=True):
                total[place] += part

        for branches in pattern.branches:
            own = [_gather(part, branches.place) for part in (query, key, value)]
            # Repeated tokens are not part of any sum.
            grad_SHNC = _gather(grad, branches.place) * branches.real[:, None, :, None]
            parts = attend_part_backward(
                grad_SHNC,
                (own[0], own[1], own[2]),
                _gather(out, branches.place),
                _gather(lse[..., None], branches.place)[..., 0],
                scale,
                causal=True,
            )
            for total, part in zip(found_BLHC, parts, strict=True):
                total.flatten(0, 1)[branches.place_real] += part.transpose(1, 2)[branches.real]

        return (*(total.to(query.dtype) for total in found), None, None)


def _places(span: TokenSpan) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where the queries of a span are, and the keys that they see."""
    row, every = slice(span.row, span.row + 1), slice(None)
    return (row, every, slice(span.first, span.last)), (row, every, slice(0, span.seen))


def _gather(values_BHLC: Tensor, place_SN: Tensor) -> Tensor:
    """(S, H, N, C): the tokens at ``place_SN`` of the flattened batch."""
    return values_BHLC.transpose(1, 2).flatten(0, 1)[place_SN].transpose(1, 2)
