"""Temporal grounding: windows worked by hand, R itself a hit, and a second opinion that counts ticks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.metrics.temporal import query_tiou, score_queries
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import TimeSpan


def truth(start: int, end: int, **more: Any) -> TruthRecord:
    return TruthRecord("q", "vtg", "v.mp4", 10.0, 200, (0, 200), 64, 64, "?", window=(start, end), **more)


def answer(*windows: tuple[float, float], **more: Any) -> PredictionRecord:
    return PredictionRecord("q", windows=tuple((TimeSpan(*window), 1.0) for window in windows), **more)


@pytest.mark.parametrize(
    ("record", "window", "expected"),
    [
        (truth(20, 40), (2.0, 4.0), 1),
        (truth(20, 40), (2.1, 4.1), 1.9 / 2.1),  # one frame late
        (truth(20, 40), (2.04, 4.0), 1.96 / 2),  # less than a frame: seconds are not rounded
        (truth(20, 40), (2.0, 3.0), 0.5),
        (truth(20, 40), (4.0, 5.0), 0),  # touching
        (truth(20, 40), (6.0, 7.0), 0),
        (truth(20, 40), (3.0, 3.0), 0),  # empty
        (truth(20, 40), (0.0, 20.0), 0.1),
        (truth(20, 21), (2.0, 2.1), 1),  # one frame
        (truth(20, 21), (2.05, 2.15), 1 / 3),
        (truth(20, 40), (2.0, 30.0), 2 / 28),  # past the end of the video: not clipped
        (truth(20, 40, seconds=(2.04, 4.0)), (2.04, 4.0), 1),  # as annotated, not as rounded to frames
        (truth(150, 200, seconds=(15.0, 25.0)), (15.0, 20.0), 0.5),  # annotated past the end
    ],
)
def test_tiou_by_hand(record: TruthRecord, window: tuple[float, float], expected: float) -> None:
    assert query_tiou(record, answer(window)) == pytest.approx(expected, abs=1e-12)


def test_exactly_r_is_a_hit() -> None:
    # tIoU 0.3, 0.5, 0.7 and 0.25 of a window of ten seconds.
    windows = [(0.0, 3.0), (0.0, 5.0), (0.0, 7.0), (0.0, 2.5)]
    found = score_queries([truth(0, 100)] * 4, [answer(window) for window in windows])
    assert found.means() == pytest.approx({"R1@0.3": 75, "R1@0.5": 50, "R1@0.7": 25, "mIoU": 43.75})


@pytest.mark.parametrize(
    ("seconds", "window", "hits"),
    [
        ((1.5, 12.9), (1.5, 7.2), (1, 1, 0)),  # 5.7 of 11.4 seconds
        ((0.0, 24.6), (0.0, 12.3), (1, 1, 0)),
        ((2.0, 12.0), (2.0, 9.0), (1, 1, 1)),
        ((2.0, 12.0), (2.0, 5.0), (1, 0, 0)),
    ],
)
def test_exactly_r_in_tenths_of_seconds_is_a_hit(
    seconds: tuple[float, float], window: tuple[float, float], hits: tuple[int, int, int]
) -> None:
    found = score_queries([truth(0, 100, seconds=seconds)], [answer(window)])
    assert found.values[0, :3].tolist() == list(hits)


@given(
    start=st.integers(0, 300), length=st.integers(1, 300), other=st.integers(0, 300), size=st.integers(1, 300)
)
def test_tenths_of_seconds_divide_as_in_the_evaluators(start: int, length: int, other: int, size: int) -> None:
    """Shared seconds over the hull, in float64, bit for bit."""
    true, predicted = (start / 10, (start + length) / 10), (other / 10, (other + size) / 10)
    shared = max(0.0, min(true[1], predicted[1]) - max(true[0], predicted[0]))
    expected = shared / (max(true[1], predicted[1]) - min(true[0], predicted[0]))
    assert query_tiou(truth(0, 100, seconds=true), answer(predicted)) == expected


def test_of_several_true_windows_the_nearest_counts() -> None:
    twice = TruthRecord("q", "vtg", "v.mp4", 10.0, 200, (0, 200), 64, 64, "?", windows=((20, 40), (100, 120)))
    assert query_tiou(twice, answer((10.0, 12.0))) == 1
    assert query_tiou(twice, answer((2.0, 3.0))) == 0.5


def test_only_the_best_window_counts() -> None:
    best_last = PredictionRecord("q", windows=((TimeSpan(2.0, 4.0), 0.1), (TimeSpan(6.0, 8.0), 0.9)))
    assert query_tiou(truth(20, 40), best_last) == 0
    # Of equals the first.
    assert query_tiou(truth(20, 40), answer((2.0, 4.0), (6.0, 8.0))) == 1


def test_failed_and_missing_are_misses_that_count() -> None:
    answers = [answer((2.0, 4.0)), answer((2.0, 4.0), status="failed"), answer(), None]
    found = score_queries([truth(20, 40)] * 4, answers)
    assert found.failed.tolist() == [False, True, True, True]
    assert found.means() == pytest.approx(dict.fromkeys(("R1@0.3", "R1@0.5", "R1@0.7", "mIoU"), 25))


def test_other_thresholds_have_their_own_names() -> None:
    found = score_queries([truth(0, 100)], [answer((0.0, 2.0))], (0.1, 0.25))
    assert found.means() == pytest.approx({"R1@0.1": 100, "R1@0.25": 0, "mIoU": 20})


ticks = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted)


@given(ticks, ticks)
def test_equals_counting_eighths_of_a_second(true: list[int], predicted: list[int]) -> None:
    if true[0] == true[1]:
        true[1] += 1
    record = TruthRecord("q", "vtg", "v", 8.0, 50, (0, 50), 9, 9, "?", window=(true[0], true[1]))
    first, second = set(range(*true)), set(range(*predicted))
    expected = len(first & second) / len(first | second)
    found = query_tiou(record, answer((predicted[0] / 8, predicted[1] / 8)))
    assert found == pytest.approx(expected, abs=1e-12)
    if second:
        swapped = TruthRecord("q", "vtg", "v", 8.0, 50, (0, 50), 9, 9, "?", window=(predicted[0], predicted[1]))
        assert query_tiou(swapped, answer((true[0] / 8, true[1] / 8))) == pytest.approx(expected, abs=1e-12)
