"""Linear layers on a CPU by oneDNN's matrix product instead of MKL's.

Both are in torch, which takes MKL's for float32. On processors that are not Intel's that one is about half as
fast (measured on an AMD EPYC: 100 against 230 GFLOP/s on one core). The numbers differ by rounding only.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# With fewer rows what it costs to set up the product outweighs it.
MIN_ROWS = 32


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
        return _product(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (grad,) = gradients
        input, weight = ctx.saved_tensors
        needs_input, needs_weight, needs_bias = ctx.needs_input_grad
        rows = grad.flatten(0, -2)
        return (
            _product(grad, weight.t()) if needs_input else None,
            _product(rows.t(), input.flatten(0, -2).t()) if needs_weight else None,
            rows.sum(0) if needs_bias else None,
        )


def _product(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return out
