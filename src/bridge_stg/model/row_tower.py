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
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bridge_stg.model.cpu_linear import onednn_product, pack_weight, packing_pays, row_product
from bridge_stg.model.tree_attention import Pattern

# (N, in) to (N, out).
Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Layer:
    """One decoder layer. ``head_norm`` (H + K, C) has the weights of the norms of queries and keys."""

    input_norm: Tensor
    qkv: Product
    head_norm: Tensor
    out: Product
    mlp_norm: Tensor
    gate_up: Product
    down: Product


class RowTower:
    """The decoder layers of a Qwen3-VL language model; the same numbers as theirs up to rounding."""

    def __init__(self, language_model: Any, layers: Sequence[_Layer]) -> None:
        config = language_model.config
        self.layers = layers
        self.rotary = language_model.rotary_emb
        self.norm = language_model.norm.weight
        self.eps = float(config.rms_norm_eps)
        self.heads, self.kv_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
        self.channels = int(config.head_dim)
        self.scale = self.channels**-0.5

    @classmethod
    def of(cls, language_model: Any) -> Self | None:
        """The tower as its weights are now; None where its linear layers are more than a product.

        Weights are copied where they pay for it (``packing_pays``), and used where they are otherwise.
        """
        linear = [module for layer in language_model.layers for module in _linear_layers(layer)]
        if any(type(module) is not nn.Linear or module.bias is not None for module in linear):
            return None
        if language_model.config.hidden_act != "silu":
            return None
        product = _packed if packing_pays([module.weight for module in linear]) else _in_place
        return cls(language_model, [_layer(layer, product) for layer in language_model.layers])

    def __call__(self, embeds_ND: Tensor, position_ids: Tensor, pattern: Pattern) -> Tensor:
        """Last-layer hidden states (N, D).

        Args:
            position_ids: (4, 1, N), row 0 the text index, rows 1-3 t, h, w.
            pattern: who sees whom; it keeps the keys and values.
        """
        # Rotating is a product with cos, and one of the two halves changed over with sin.
        cos_1NC, sin_1NC = self.rotary(embeds_ND[None], position_ids[1:])
        cos_N1C, sin_N1C = cos_1NC[0, :, None], sin_1NC[0, :, None].clone()
        half = self.channels // 2
        sin_N1C[..., :half].neg_()

        hidden_ND = embeds_ND
        for index, layer in enumerate(self.layers):
            # Attention.
            normed_ND = F.rms_norm(hidden_ND, hidden_ND.shape[-1:], layer.input_norm, self.eps)
            heads_NHC = layer.qkv(normed_ND).unflatten(-1, (-1, self.channels))
            turning_NHC = heads_NHC[:, : self.heads + self.kv_heads]
            turning_NHC = F.rms_norm(turning_NHC, (self.channels,), None, self.eps) * layer.head_norm
            turned_NHC = torch.addcmul(turning_NHC * cos_N1C, turning_NHC.roll(half, -1), sin_N1C)
            query_NHC, key_NKC = turned_NHC.split((self.heads, self.kv_heads), dim=1)
            value_NKC = heads_NHC[:, self.heads + self.kv_heads :]
            attended_1HNC = pattern.attend(
                index, *(part.transpose(0, 1)[None] for part in (query_NHC, key_NKC, value_NKC)), self.scale
            )
            hidden_ND = hidden_ND + layer.out(attended_1HNC[0].transpose(0, 1).flatten(1))

            # MLP.
            normed_ND = F.rms_norm(hidden_ND, hidden_ND.shape[-1:], layer.mlp_norm, self.eps)
            gate_NI, up_NI = layer.gate_up(normed_ND).chunk(2, dim=-1)
            hidden_ND = hidden_ND + layer.down(F.silu(gate_NI) * up_NI)
        return F.rms_norm(hidden_ND, hidden_ND.shape[-1:], self.norm, self.eps)


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


def _layer(layer: Any, product: Callable[[Sequence[Tensor]], Product]) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv, gate_up = ([module.weight for module in group] for group in _groups(layer))
    norms = [
        norm.weight.expand(len(own.weight) // attention.head_dim, -1)
        for norm, own in ((attention.q_norm, attention.q_proj), (attention.k_norm, attention.k_proj))
    ]
    return _Layer(
        input_norm=layer.input_layernorm.weight,
        qkv=product(qkv),
        head_norm=torch.cat(norms),
        out=product([attention.o_proj.weight]),
        mlp_norm=layer.post_attention_layernorm.weight,
        gate_up=product(gate_up),
        down=product([mlp.down_proj.weight]),
    )


def _packed(weights: Sequence[Tensor]) -> Product:
    """One product with a copy of the weights, laid out for it."""
    packed = pack_weight(torch.cat(list(weights)) if len(weights) > 1 else weights[0])
    return lambda rows: onednn_product(rows, packed)


def _in_place(weights: Sequence[Tensor]) -> Product:
    """One product where the weights lie beside each other (``join_projections``), else one for each."""
    joined = weights[0] if len(weights) == 1 else _beside(weights)
    if joined is not None:
        return lambda rows: row_product(rows, joined)
    return lambda rows: torch.cat([row_product(rows, weight) for weight in weights], dim=-1)


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
