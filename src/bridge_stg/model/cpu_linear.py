"""Linear layers on a CPU by oneDNN's matrix product instead of MKL's.

Both are in torch, which takes MKL's for float32. On processors that are not Intel's that one is about half as
fast (measured on an AMD EPYC: 100 against 230 GFLOP/s on one core). The numbers differ by rounding only.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# With fewer rows what it costs to set up the product outweighs it.
MIN_ROWS = 32
# A weight of this size is read from memory in every step, and oneDNN reads it faster with any number of rows.
LARGE_BYTES = 2**20
# Copies of weights, laid out for the product, pay where the weights do not stay in the processor's caches, and
# up to a size that fits beside them in any memory.
PACKED_BYTES = range(16 * 2**20, 2**30)


def use_onednn_products(model: nn.Module) -> None:
    """Let every linear layer of ``model`` use oneDNN for large float32 inputs on a CPU."""
    if not torch.backends.mkldnn.is_available():
        return
    for module in model.modules():
        if type(module) is nn.Linear:
            module.forward = types.MethodType(_linear, module)  # type: ignore[method-assign]


def _linear(self: nn.Linear, input: Tensor) -> Tensor:
    weight, bias = self.weight, self.bias
    fits = input.device.type == "cpu" and input.dtype == weight.dtype == torch.float32
    if not fits or input[..., 0].numel() < MIN_ROWS or torch.is_autocast_enabled("cpu"):
        return F.linear(input, weight, bias)
    out: Tensor = _OneDNNLinear.apply(input, weight, bias)
    return out


class _OneDNNLinear(torch.autograd.Function):
    """``F.linear`` of inputs (..., I), a weight (O, I) and a bias (O,) or None."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return onednn_product(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (grad,) = gradients
        input, weight = ctx.saved_tensors
        needs_input, needs_weight, needs_bias = ctx.needs_input_grad
        rows = grad.flatten(0, -2)
        return (
            onednn_product(grad, weight.t()) if needs_input else None,
            onednn_product(rows.t(), input.flatten(0, -2).t()) if needs_weight else None,
            rows.sum(0) if needs_bias else None,
        )


def packing_pays(weights: Iterable[Tensor]) -> bool:
    """Whether few rows should be multiplied with packed copies of these weights: 1.3 to 1.6 times as fast."""
    total = 0
    for weight in weights:
        if not has_onednn_product(weight):
            return False
        total += weight.nbytes
    return total in PACKED_BYTES


def has_onednn_product(values: Tensor) -> bool:
    """Whether ``onednn_product`` takes inputs or weights like these."""
    return (
        values.device.type == "cpu" and values.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    )


def row_product(input: Tensor, weight: Tensor) -> Tensor:
    """``F.linear`` without gradients, by whichever product is faster for so many rows."""
    fits = has_onednn_product(input) and weight.dtype == input.dtype
    if fits and (len(input) >= MIN_ROWS or weight.nbytes >= LARGE_BYTES):
        return onednn_product(input, weight)
    return F.linear(input, weight)


def pack_weight(weight: Tensor, rows: int = 16) -> Tensor:
    """A copy of a weight (O, I) for ``onednn_product``, laid out for few rows; it serves any number."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)
    return packed


def onednn_product(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear`` without gradients: inputs (..., I), a weight (O, I), packed or not, of any strides."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return out
