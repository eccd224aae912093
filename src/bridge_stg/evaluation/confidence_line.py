"""A line in log odds that makes confidences out of probabilities (Platt scaling), and how well they sort.

``bridge_stg.inference.confidence.calibrate`` applies such a line to an answer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge_stg.inference.confidence import EDGE, calibrate

# Keeps the line finite where the right answers are exactly the surest ones.
RIDGE = 1e-4
# Lines are written with this many digits behind the point.
DIGITS = 3


def fit_line(probability: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Slope and offset of the log odds of being right over those of ``probability``, both (N,).

    The slope is above 0: an answer that is more probable gets a higher confidence.

    Returns:
        None where no such line fits: all answers are right, all are wrong, or right ones are no surer than
        wrong ones. A slope of 0 would make every answer as sure as any other.

    Raises:
        ValueError: there is no answer.
    """
    # Here only: a score, which needs the bins alone, would wait for it.
    from scipy.optimize import minimize

    if not len(probability):
        raise ValueError("no answer to fit a line to")
    if right.all() or not right.any():
        return None
    odds, target = log_odds(probability), right.astype(np.float64)

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value = line[0] * odds + line[1]
        missed = 1 / (1 + np.exp(-value)) - target
        gradient = np.array([(missed * odds).mean(), missed.mean()]) + 2 * RIDGE * line
        likelihood = np.logaddexp(0.0, value) - target * value
        return float(likelihood.mean() + RIDGE * (line**2).sum()), gradient

    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)])
    slope, offset = float(found.x[0]), float(found.x[1])
    return (slope, offset) if round(slope, DIGITS) > 0 else None


def apply_line(line: tuple[float, float], probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """The confidences (N,) that a line makes of probabilities (N,), by the rule of answers."""
    return np.array([calibrate(float(one), line) for one in probability])


def log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Finite for every probability in [0, 1]."""
    inside = np.clip(probability, EDGE, 1 - EDGE)
    found: NDArray[np.float64] = np.log(inside / (1 - inside))
    return found


def area_under_roc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """The share of (positive, negative) pairs in which the positive scores higher; equal scores count half.

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
    # The ranks of the positives, less what the positives themselves add to them.
    return float((rankdata(score)[positive].sum() - count * (count + 1) / 2) / pairs)
