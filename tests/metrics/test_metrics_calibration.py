"""Calibration: a table by hand, and the properties of the error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.evaluation.confidence_line import apply_line, area_under_roc, fit_line, log_odds
from bridge_stg.metrics.calibration import expected_calibration_error, reliability


def test_two_bins_by_hand() -> None:
    confidence = np.array([0.2, 0.4, 0.9, 0.9, 1.0, 0.5])
    right = np.array([False, True, True, True, False, False])
    low, high = reliability(confidence, right, bins=2)
    # A bin holds its upper end: 0.5 is in the lower one.
    assert (low.n, high.n) == (3, 3)
    assert (low.confidence, low.accuracy) == (pytest.approx(1.1 / 3), pytest.approx(1 / 3))
    assert (high.confidence, high.accuracy) == (pytest.approx(2.8 / 3), pytest.approx(2 / 3))
    # (3 * |1/3 - 1.1/3| + 3 * |2/3 - 2.8/3|) / 6
    assert expected_calibration_error([low, high]) == pytest.approx((0.1 + 0.8) / 6)


def test_the_ends_belong_to_the_outermost_bins() -> None:
    bins = reliability(np.array([0.0, 1.0]), np.array([False, True]))
    assert (len(bins), bins[0].n, bins[-1].n) == (15, 1, 1)
    assert expected_calibration_error(bins) == 0.0


def test_nothing_to_calibrate_is_an_error() -> None:
    with pytest.raises(ValueError, match="confidence"):
        expected_calibration_error(reliability(np.zeros(0), np.zeros(0, dtype=bool)))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.integers(1, 20))
def test_equals_a_loop_over_answers(answers: list[tuple[float, bool]], count: int) -> None:
    confidence = np.array([one for one, _ in answers])
    right = np.array([one for _, one in answers])
    bins = reliability(confidence, right, bins=count)
    assert sum(one.n for one in bins) == len(answers)

    error = 0.0
    for one in bins:
        first = one.low == 0
        inside = [a for a in answers if one.low < a[0] <= one.high or (first and a[0] == 0)]
        assert len(inside) == one.n
        if inside:
            error += abs(sum(c for c, _ in inside) - sum(r for _, r in inside))
    assert expected_calibration_error(bins) == pytest.approx(error / len(answers), abs=1e-9)


def test_a_line_is_found_again() -> None:
    """Where answers are right as often as a line says, at each of 9 probabilities, it is the likeliest line."""
    probability = np.repeat(np.linspace(0.1, 0.9, 9), 10_000)
    often = apply_line((0.5, 1.0), probability)
    right = np.tile(np.arange(10_000) / 10_000, 9) < often
    assert fit_line(probability, right) == pytest.approx((0.5, 1.0), abs=0.01)
    line = fit_line(probability, right)
    assert line is not None
    confidence = apply_line(line, probability)
    assert expected_calibration_error(reliability(confidence, right)) < 0.002
    # As they are, the same probabilities are far off.
    assert expected_calibration_error(reliability(probability, right)) > 0.15


def test_a_line_is_finite_and_never_falls() -> None:
    line = fit_line(np.array([0.2, 0.9]), np.array([False, True]))
    assert line is not None
    slope, offset = line
    assert 0 < slope < 100
    assert abs(offset) < 100
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
    with pytest.raises(ValueError, match="answer"):
        fit_line(np.zeros(0), np.zeros(0, dtype=bool))


@pytest.mark.parametrize(
    ("probability", "right"),
    [
        ([0.2, 0.9], [True, True]),
        ([0.2, 0.9], [False, False]),
        ([0.2, 0.9], [True, False]),
        ([0.7, 0.7], [True, False]),
        ([0.7], [True]),
        ([0.2, 0.2, 0.9, 0.9], [True, False, True, False]),
    ],
)
def test_no_line_fits_where_nothing_tells_right_from_wrong(probability: list[float], right: list[bool]) -> None:
    assert fit_line(np.array(probability), np.array(right)) is None


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.booleans()), min_size=1, max_size=12))
def test_the_area_counts_pairs(answers: list[tuple[float, bool]]) -> None:
    right = [score for score, good in answers if good]
    wrong = [score for score, good in answers if not good]
    pairs = [(one > other) + 0.5 * (one == other) for one in right for other in wrong]
    found = area_under_roc(np.array([one for one, _ in answers]), np.array([good for _, good in answers]))
    assert found == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)
