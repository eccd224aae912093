"""R1 and mAP of several windows: tables by hand, and a slow second opinion that walks the curve."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.metrics.moment_retrieval import METRICS, PRECISION_THRESHOLDS, score_queries
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import TimeSpan

Windows = list[tuple[float, float, float]]


def truth(*windows: tuple[int, int]) -> TruthRecord:
    """A 1 fps video: frames are seconds."""
    return TruthRecord("q", "vtg", "v.mp4", 1.0, 1000, (0, 1000), 64, 64, "?", windows=windows)


def answer(*windows: tuple[float, float, float]) -> PredictionRecord:
    return PredictionRecord("q", windows=tuple((TimeSpan(start, end), score) for start, end, score in windows))


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [
        # R1@0.5, R1@0.7, mAP@0.5, mAP@0.75, mAP@[.5:.95]
        ([(10, 20)], [(10, 20, 1.0)], [1, 1, 1, 1, 1]),
        # tIoU 0.7: passes 0.5, 0.55, 0.6, 0.65, 0.7.
        ([(10, 20)], [(10, 17, 1.0)], [1, 1, 1, 0, 0.5]),
        # Two windows, both found.
        ([(10, 20), (30, 40)], [(30, 40, 0.9), (10, 20, 0.2)], [1, 1, 1, 1, 1]),
        # One of two found: half the recall, at precision 1.
        ([(10, 20), (30, 40)], [(30, 40, 0.9)], [1, 1, 0.5, 0.5, 0.5]),
        # Wrong, right, right: precisions 1/2 and 2/3, of which the later is reached from both.
        ([(10, 20), (30, 40)], [(60, 70, 0.9), (10, 20, 0.8), (30, 40, 0.7)], [0, 0, 2 / 3, 2 / 3, 2 / 3]),
        # Right, wrong, right: precision 1 for the first, 2/3 for the second.
        ([(10, 20), (30, 40)], [(10, 20, 0.9), (60, 70, 0.8), (30, 40, 0.7)], [1, 1, 5 / 6, 5 / 6, 5 / 6]),
        # A second answer about the same true window is wrong.
        ([(10, 20), (30, 40)], [(10, 20, 0.9), (10, 20, 0.8)], [1, 1, 0.5, 0.5, 0.5]),
        # Of equal scores the first of the file comes first.
        ([(10, 20)], [(10, 20, 1.0), (60, 70, 1.0)], [1, 1, 1, 1, 1]),
        ([(10, 20)], [(60, 70, 1.0), (10, 20, 1.0)], [0, 0, 0.5, 0.5, 0.5]),
        # Only the ten best windows are looked at.
        ([(10, 20)], [*((60, 70, 0.9),) * 10, (10, 20, 0.1)], [0, 0, 0, 0, 0]),
        ([(10, 20)], [], [0, 0, 0, 0, 0]),
    ],
)
def test_by_hand(true: list[tuple[int, int]], predicted: Windows, expected: list[float]) -> None:
    found = score_queries([truth(*true)], [answer(*predicted)])
    assert found.names == METRICS
    assert found.values[0].tolist() == pytest.approx(expected, abs=1e-12)
    assert bool(found.failed[0]) is (not predicted)


def test_a_missing_or_refused_answer_is_zero_and_counted() -> None:
    refused = PredictionRecord("q", status="absent")
    found = score_queries([truth((1, 2))] * 3, [None, refused, answer((1.0, 2.0, 0.5))])
    assert found.failed.tolist() == [True, True, False]
    assert found.means() == pytest.approx(dict.fromkeys(METRICS, 100 / 3))


def slow_average_precision(true: list[tuple[int, int]], predicted: Windows, threshold: float) -> float:
    """The area under the monotone precision-recall curve, walked step by step in whole ticks."""
    ranked = sorted(enumerate(predicted), key=lambda item: (-item[1][2], item[0]))[:10]
    matched: set[int] = set()
    points = [(0.0, 0.0)]
    right = 0
    for rank, (_, (start, end, _)) in enumerate(ranked, start=1):
        best, best_overlap = None, -1.0
        for number, (low, high) in enumerate(true):
            shared = max(min(end, high) - max(start, low), 0)
            overlap = shared / ((end - start) + (high - low) - shared)
            if number not in matched and overlap >= threshold and overlap > best_overlap:
                best, best_overlap = number, overlap
        if best is not None:
            matched.add(best)
            right += 1
        points.append((right / len(true), right / rank))
    area = 0.0
    for place, (before, after) in enumerate(pairwise(points), start=1):
        highest = max(precision for _, precision in points[place:])
        area += (after[0] - before[0]) * highest
    return area


# Lengths of 16 keep every tIoU exact enough for both readings to be on the same side of a threshold.
cuts = st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True).map(sorted)
true_sets = cuts.map(lambda ticks: list(zip(ticks[::2], ticks[1::2], strict=False)))
predictions = st.lists(
    st.tuples(st.integers(0, 59), st.integers(1, 20), st.sampled_from([0.1, 0.5, 0.9])), max_size=14
).map(lambda items: [(float(start), float(start + length), score) for start, length, score in items])


@given(true=true_sets, predicted=predictions)
def test_equals_walking_the_curve(true: list[tuple[int, int]], predicted: Windows) -> None:
    found = dict(
        zip(METRICS, score_queries([truth(*true)], [answer(*predicted)]).values[0].tolist(), strict=True)
    )
    slow = [slow_average_precision(true, predicted, threshold) for threshold in PRECISION_THRESHOLDS]
    assert found["mAP@0.5"] == pytest.approx(slow[0], abs=1e-9)
    assert found["mAP@0.75"] == pytest.approx(slow[5], abs=1e-9)
    assert found["mAP@[.5:.95]"] == pytest.approx(sum(slow) / 10, abs=1e-9)
