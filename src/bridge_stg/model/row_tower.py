"""The language tower of Qwen3-VL over one row of new tokens, in few operations: what a decoding step runs.

A step moves few tokens through many small operations, so that their number is what it costs on a GPU, and how
the weights are read is what it costs on a CPU. Queries, keys and values come from one product, gate and up from
another; queries and keys are normed and rotated together; angles are computed once for all layers.

Shape letters: N tokens, D language width, H query heads, K key-value heads, C channels of a head, I width of
the MLP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bridge_stg.model.cpu_linear import onednn_product, pack_weight, packing_pays, row_product
from bridge_stg.model.tree_attention import Pattern

# (N, in) rows and a weight (out, in) to (N, out).
Product = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class _Layer:
    """Weights of one decoder layer. ``head_norm`` (H + K, C) has those of the norms of queries and keys."""

    input_norm: Tensor
    qkv: Tensor
    head_norm: Tensor
    out: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True)
class _Shape:
    """What all layers share. ``product`` multiplies rows with a weight."""

    heads: int
    kv_heads: int
    channels: int
    eps: float
    product: Product


class RowTower:
    """The decoder layers of a Qwen3-VL language model; the same numbers as theirs up to rounding."""

    def __init__(self, language_model: Any, layers: Sequence[_Layer], product: Product) -> None:
        config = language_model.config
        self.layers = layers
        self.rotary = language_model.rotary_emb
        self.norm = language_model.norm.weight
        self.shape = _Shape(
            heads=int(config.num_attention_heads),
            kv_heads=int(config.num_key_value_heads),
            channels=int(config.head_dim),
            eps=float(config.rms_norm_eps),
            product=product,
        )
        self.scale = self.shape.channels**-0.5
        self.before, self.after = _before_attention, _after_attention
        self.buckets = False

    @classmethod
    def of(cls, language_model: Any, compiler: str | None = None) -> Self | None:
        """The tower as its weights are now; None where its linear layers are more than a product.

        Weights are copied where they pay for it (``packing_pays``) or do not lie side by side
        (``join_projections``), and used where they are otherwise.

        Args:
            compiler: a backend of ``torch.compile`` for all but the attention. Rows are then padded to powers
                of two, so that few lengths are compiled.
        """
        linear = [module for layer in language_model.layers for module in _linear_layers(layer)]
        if any(type(module) is not nn.Linear or module.bias is not None for module in linear):
            return None
        if language_model.config.hidden_act != "silu":
            return None
        if compiler is None and packing_pays([module.weight for module in linear]):
            layers = [_layer(layer, pack_weight) for layer in language_model.layers]
            return cls(language_model, layers, onednn_product)
        layers = [_layer(layer, Tensor.detach) for layer in language_model.layers]
        tower = cls(language_model, layers, row_product if compiler is None else F.linear)
        if compiler is not None:
            tower.before, tower.after = _compiled(compiler)
            tower.buckets = True
        return tower

    def __call__(self, embeds_ND: Tensor, position_ids: Tensor, pattern: Pattern) -> Tensor:
        """Last-layer hidden states (N, D).

        Args:
            position_ids: (4, 1, N), row 0 the text index, rows 1-3 t, h, w.
            pattern: who sees whom; it keeps the keys and values.
        """
        # Rotating is a product with cos, and one of the two halves changed over with sin.
        cos_1NC, sin_1NC = self.rotary(embeds_ND[None], position_ids[1:])
        cos_N1C, sin_N1C = cos_1NC[0, :, None], sin_1NC[0, :, None].clone()
        sin_N1C[..., : self.shape.channels // 2].neg_()

        # Padding is computed and never attended to.
        rows = len(embeds_ND)
        padding = (1 << (rows - 1).bit_length()) - rows if self.buckets else 0
        hidden_ND = embeds_ND
        if padding:
            hidden_ND = F.pad(embeds_ND, (0, 0, 0, padding))
            cos_N1C, sin_N1C = (F.pad(part, (0, 0, 0, 0, 0, padding)) for part in (cos_N1C, sin_N1C))

        for index, layer in enumerate(self.layers):
            parts = self.before(layer, self.shape, hidden_ND, cos_N1C, sin_N1C)
            query, key, value = (part[:rows].transpose(0, 1)[None] for part in parts)
            attended_1HNC = pattern.attend(index, query, key, value, self.scale)
            attended_ND = attended_1HNC[0].transpose(0, 1).flatten(1)
            if padding:
                attended_ND = F.pad(attended_ND, (0, 0, 0, padding))
            hidden_ND = self.after(layer, self.shape, hidden_ND, attended_ND)
        return F.rms_norm(hidden_ND[:rows], hidden_ND.shape[-1:], self.norm, self.shape.eps)


def _before_attention(
    layer: _Layer, shape: _Shape, hidden_ND: Tensor, cos_N1C: Tensor, sin_N1C: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (N, H, C), keys and values (N, K, C) of one layer."""
    normed_ND = F.rms_norm(hidden_ND, hidden_ND.shape[-1:], layer.input_norm, shape.eps)
    heads_NHC = shape.product(normed_ND, layer.qkv).unflatten(-1, (-1, shape.channels))
    turning_NHC = heads_NHC[:, : shape.heads + shape.kv_heads]
    turning_NHC = F.rms_norm(turning_NHC, (shape.channels,), None, shape.eps) * layer.head_norm
    changed_NHC = turning_NHC.roll(shape.channels // 2, -1)
    turned_NHC = torch.addcmul(turning_NHC * cos_N1C, changed_NHC, sin_N1C)
    query_NHC, key_NKC = turned_NHC.split((shape.heads, shape.kv_heads), dim=1)
    return query_NHC, key_NKC, heads_NHC[:, shape.heads + shape.kv_heads :]


def _after_attention(layer: _Layer, shape: _Shape, hidden_ND: Tensor, attended_ND: Tensor) -> Tensor:
    """The rest of one layer: its output projection and its MLP."""
    hidden_ND = hidden_ND + shape.product(attended_ND, layer.out)
    normed_ND = F.rms_norm(hidden_ND, hidden_ND.shape[-1:], layer.mlp_norm, shape.eps)
    gate_NI, up_NI = shape.product(normed_ND, layer.gate_up).chunk(2, dim=-1)
    return hidden_ND + shape.product(F.silu(gate_NI) * up_NI, layer.down)


@cache
def _compiled(compiler: str) -> tuple[Any, Any]:
    """Both halves of a layer, compiled once for all towers; each length of rows anew."""
    halves = (_before_attention, _after_attention)
    before, after = (torch.compile(half, backend=compiler, dynamic=False) for half in halves)
    return before, after


def join_projections(language_model: Any) -> None:
    """Lay the weights that one product can serve beside each other in memory; their values stay as they are.

    Each remains a parameter of its own, a view of the joined one. It is for models that only answer.
    """
    for layer in language_model.layers:
        for group in _groups(layer):
            weights = [module.weight for module in group if type(module) is nn.Linear]
            if len(weights) == len(group) and _beside(weights) is None:
                joined = torch.cat([weight.data for weight in weights])
                for weight, part in zip(weights, joined.split([len(w) for w in weights]), strict=True):
                    weight.data = part


def _groups(layer: Any) -> tuple[tuple[Any, ...], ...]:
    """Linear layers of one input each."""
    attention, mlp = layer.self_attn, layer.mlp
    return (attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)


def _linear_layers(layer: Any) -> list[Any]:
    qkv, gate_up = _groups(layer)
    return [*qkv, *gate_up, layer.self_attn.o_proj, layer.mlp.down_proj]


def _layer(layer: Any, keep: Callable[[Tensor], Tensor]) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv, gate_up = ([module.weight for module in group] for group in _groups(layer))
    norms = [
        norm.weight.expand(len(own.weight) // attention.head_dim, -1)
        for norm, own in ((attention.q_norm, attention.q_proj), (attention.k_norm, attention.k_proj))
    ]
    return _Layer(
        input_norm=layer.input_layernorm.weight,
        qkv=keep(_joined(qkv)),
        head_norm=torch.cat(norms),
        out=keep(attention.o_proj.weight),
        mlp_norm=layer.post_attention_layernorm.weight,
        gate_up=keep(_joined(gate_up)),
        down=keep(mlp.down_proj.weight),
    )


def _joined(weights: Sequence[Tensor]) -> Tensor:
    """The weights (O, I) as one (sum of O, I): a view where they lie side by side, else a copy."""
    beside = _beside(weights)
    return torch.cat([weight.detach() for weight in weights]) if beside is None else beside


def _beside(weights: Sequence[Tensor]) -> Tensor | None:
    """The weights (O, I) as one (sum of O, I) without a copy; None where they do not lie so."""
    first = weights[0].detach()
    place = first.storage_offset()
    for weight in weights:
        shares = weight.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if not (shares and weight.is_contiguous() and weight.storage_offset() == place):
            return None
        place += weight.numel()
    return first.as_strided((sum(map(len, weights)), first.shape[1]), first.stride())
