"""Calibration: does an answer that calls itself 80% sure turn out right 80% of the time?

The expected calibration error puts answers into bins of equal width by their confidence. It averages, weighted
by the number of answers, how far the mean confidence of a bin is from the share of right answers in it (Guo et
al. 2017, Eq. 3). A bin holds its upper end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15


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
