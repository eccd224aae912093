"""Matching with one target is the Hungarian assignment; focal values by hand."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from bridge_stg.losses.matching import focal_negative, focal_positive, match, matching_cost


def test_argmin_is_the_hungarian_assignment() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(3, 20, 17, 4, generator=generator)
    logits = torch.randn(3, 20, 17, generator=generator) * 3
    targets = torch.rand(20, 4, generator=generator)
    cost = matching_cost(boxes, logits, targets)
    index = match(boxes, logits, targets)
    for layer in range(3):
        for row in range(20):
            rows, _ = linear_sum_assignment(cost[layer, row][:, None].numpy())
            assert int(index[layer, row]) == int(rows[0])


def test_cost_of_one_pair_by_hand() -> None:
    # The boxes [0, 0.5]^2 and [0.25, 0.75]^2: L1 is 0.25 + 0.25, IoU (1/16) / (7/16), hull 9/16.
    boxes = torch.tensor([[[[0.25, 0.25, 0.5, 0.5]]]])
    targets = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    # At probability 1/2: 0.25 * 0.25 * ln 2 - 0.75 * 0.25 * ln 2.
    class_cost = -0.125 * math.log(2)
    giou = 1 / 7 - (9 - 7) / 9
    cost = matching_cost(boxes, torch.zeros(1, 1, 1), targets)
    assert cost.item() == pytest.approx(2 * class_cost + 5 * 0.5 - 2 * giou, abs=1e-6)


def test_barred_queries_are_never_matched() -> None:
    generator = torch.Generator().manual_seed(1)
    boxes = torch.rand(2, 30, 6, 4, generator=generator)
    logits = torch.randn(2, 30, 6, generator=generator)
    targets = torch.rand(30, 4, generator=generator)
    valid = torch.rand(30, 6, generator=generator) > 0.5
    valid[:, 3] = True
    index = match(boxes, logits, targets, valid)
    assert valid.expand(2, -1, -1).gather(-1, index[..., None]).all()
    assert not torch.equal(index, match(boxes, logits, targets))


@pytest.mark.parametrize("probability", [0.01, 0.3, 0.5, 0.99])
def test_focal_loss_by_hand(probability: float) -> None:
    logit = torch.tensor(math.log(probability / (1 - probability)), dtype=torch.float64)
    positive = -0.25 * (1 - probability) ** 2 * math.log(probability)
    negative = -0.75 * probability**2 * math.log(1 - probability)
    assert focal_positive(logit).item() == pytest.approx(positive, rel=1e-9)
    assert focal_negative(logit).item() == pytest.approx(negative, rel=1e-9)


@pytest.mark.parametrize("logit", [-300.0, 300.0])
def test_focal_loss_is_finite_far_out(logit: float) -> None:
    value = torch.tensor(logit, requires_grad=True)
    loss = focal_positive(value) + focal_negative(value)
    loss.backward()
    assert value.grad is not None
    assert math.isfinite(loss.item())
    assert math.isfinite(value.grad.item())
