"""Eq. 6 against the formula written out term by term."""

from __future__ import annotations

import math

import pytest
import torch

from bridge_stg.losses.alignment import TEMPERATURE, alignment_sum
from bridge_stg.losses.outputs import SimilarityOutput


def brute_force(
    positives: torch.Tensor, negatives: torch.Tensor, real: torch.Tensor, valid: torch.Tensor, row: int
) -> float:
    """The double sum of Eq. 6 for one row, in Python floats."""
    terms = []
    for layer in range(len(positives)):
        others = [
            math.exp(float(cosine) / TEMPERATURE)
            for cosine, keep in zip(negatives[layer, row], real[layer, row], strict=True)
            if keep
        ]
        for cosine, keep in zip(positives[layer, row], valid[layer, row], strict=True):
            if keep:
                own = math.exp(float(cosine) / TEMPERATURE)
                terms.append(-math.log(own / (own + sum(others))))
    return sum(terms) / len(terms)


def test_matches_the_double_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    positives = (torch.rand(3, 4, 5, generator=generator) * 2 - 1).double()
    negatives = (torch.rand(3, 4, 7, generator=generator) * 2 - 1).double()
    real = torch.rand(3, 4, 7, generator=generator) > 0.3
    valid = torch.rand(3, 4, 5, generator=generator) > 0.3
    has_target = torch.tensor([True, False, True, True])
    everything = torch.ones_like(real), torch.ones_like(valid)

    plain = alignment_sum(SimilarityOutput(positives, negatives), has_target)
    expected = sum(brute_force(positives, negatives, *everything, row) for row in (0, 2, 3))
    assert plain.item() == pytest.approx(expected, rel=1e-9)

    masked = alignment_sum(SimilarityOutput(positives, negatives, real), has_target, valid)
    expected = sum(brute_force(positives, negatives, real, valid, row) for row in (0, 2, 3))
    assert masked.item() == pytest.approx(expected, rel=1e-9)


def test_no_negative_token_gives_zero_and_finite_gradients() -> None:
    positives = torch.rand(2, 3, 4, requires_grad=True)
    negatives = torch.rand(2, 3, 5, requires_grad=True)
    real = torch.zeros(2, 3, 5, dtype=torch.bool)
    everywhere = torch.ones(3, dtype=torch.bool)
    loss = alignment_sum(SimilarityOutput(positives, negatives, real), everywhere)
    loss.backward()
    assert loss.item() == 0.0
    for tensor in (positives, negatives):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum().item() == 0.0
    assert alignment_sum(SimilarityOutput(positives, negatives[..., :0]), everywhere).item() == 0.0


def test_a_small_temperature_does_not_overflow() -> None:
    similarity = SimilarityOutput(torch.full((1, 1, 1), -1.0), torch.full((1, 1, 1), 1.0))
    loss = alignment_sum(similarity, torch.tensor([True]), temperature=1e-3)
    assert loss.item() == pytest.approx(2000.0)
