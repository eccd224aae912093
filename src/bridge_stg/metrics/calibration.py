"""Calibration: does an answer that calls itself 80% sure turn out right 80% of the time?

The expected calibration error puts answers into bins of equal width by their confidence. It averages, weighted
by the number of answers, how far the mean confidence of a bin is from the share of right answers in it (Guo et
al. 2017, Eq. 3). A bin holds its upper end.

A line in log odds, fitted by maximum likelihood, makes such confidences out of probabilities (Platt scaling).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
# A probability this near to 0 or 1 has log odds that still are numbers.
EDGE = 1e-6
# Keeps the line finite where all answers are right, or the surest ones are exactly those.
RIDGE = 1e-4


@dataclass(frozen=True)
class ReliabilityBin:
    """The answers with a confidence in ``(low, high]``; means are None without any."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


def reliability(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS
) -> list[ReliabilityBin]:
    """The bins of a reliability diagram.

    Args:
        confidence: (N,) in [0, 1].
        right: (N,) which answers are right.
        bins: how many of equal width.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    # A confidence of exactly 0 belongs to the first bin, which has no bin below it.
    member = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)

    found = []
    for number in range(bins):
        inside = member == number
        n = int(inside.sum())
        means = (float(confidence[inside].mean()), float(right[inside].mean())) if n else (None, None)
        found.append(ReliabilityBin(float(edges[number]), float(edges[number + 1]), n, *means))
    return found


def expected_calibration_error(bins: list[ReliabilityBin]) -> float:
    """In [0, 1]; 0 is perfect.

    Raises:
        ValueError: all bins are empty.
    """
    total = sum(one.n for one in bins)
    if not total:
        raise ValueError("no answer has a confidence, so there is no calibration error")
    gaps = [
        one.n * abs(one.accuracy - one.confidence)
        for one in bins
        if one.accuracy is not None and one.confidence is not None
    ]
    return sum(gaps) / total


def fit_line(probability: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of the log odds of being right over those of ``probability``, both (N,).

    The slope is not negative: an answer that is more probable never gets a lower confidence.

    Raises:
        ValueError: there is no answer.
    """
    # Here only: a score, which needs the bins alone, would wait for it.
    from scipy.optimize import minimize

    if not len(probability):
        raise ValueError("no answer to fit a line to")
    odds, target = log_odds(probability), right.astype(np.float64)

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value = line[0] * odds + line[1]
        missed = 1 / (1 + np.exp(-value)) - target
        gradient = np.array([(missed * odds).mean(), missed.mean()]) + 2 * RIDGE * line
        likelihood = np.logaddexp(0.0, value) - target * value
        return float(likelihood.mean() + RIDGE * (line**2).sum()), gradient

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)])
    return float(found.x[0]), float(found.x[1])


def apply_line(line: tuple[float, float], probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """The confidences (N,) that a line makes of probabilities (N,)."""
    found: NDArray[np.float64] = 1 / (1 + np.exp(-(line[0] * log_odds(probability) + line[1])))
    return found


def log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Finite for every probability in [0, 1]."""
    inside = np.clip(probability, EDGE, 1 - EDGE)
    found: NDArray[np.float64] = np.log(inside / (1 - inside))
    return found


def area_under_roc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """In what share of the pairs a positive has the higher score than a negative; half for equals.

    Args:
        score, positive: (N,).

    Returns:
        In [0, 1]; None where all are positive or none is.
    """
    from scipy.stats import rankdata

    count = int(positive.sum())
    pairs = count * (len(positive) - count)
    if not pairs:
        return None
    # Of the ranks of the positives those are left that come from negatives below them.
    return float((rankdata(score)[positive].sum() - count * (count + 1) / 2) / pairs)
