"""oneDNN's product against torch's own linear layer."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from bridge_stg.model.cpu_linear import MIN_ROWS, use_onednn_products

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(MIN_ROWS, 24), (2, 50, 24), (3, 24), (24,), (0, 24)])
def test_outputs_and_gradients_equal_those_of_torch(shape: tuple[int, ...], bias: bool) -> None:
    plain = nn.Linear(24, 40, bias)
    fast = copy.deepcopy(plain)
    use_onednn_products(fast)
    inputs = torch.randn(shape)
    found, expected = [], []
    for layer, results in ((fast, found), (plain, expected)):
        x = inputs.clone().requires_grad_()
        out = layer(x)
        (out * torch.arange(out.numel()).reshape(out.shape).sin()).sum().backward()
        results += [out.detach(), x.grad, layer.weight.grad, layer.bias.grad if bias else None]
    for left, right in zip(found, expected, strict=True):
        if right is not None:
            torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)


def test_frozen_weights_get_no_gradient_and_other_types_stay_with_torch() -> None:
    layer = nn.Linear(8, 8)
    use_onednn_products(layer)
    layer.requires_grad_(False)
    x = torch.randn(64, 8, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(64, -1), atol=1e-5, rtol=1e-5)

    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert copy.deepcopy(layer).double()(x.double()).dtype == torch.float64
