"""Referring expressions: exactly one box, IoU of exactly one half is a hit, a failure is a miss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.errors import DataError
from bridge_stg.metrics.referring import query_iou, score_queries
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord

A = (0.0, 0.0, 10.0, 10.0)


def truth(*boxes: Any) -> TruthRecord:
    return TruthRecord(
        "q", "rec", "v.mp4", 10.0, 50, (3, 4), 40, 30, "?", boxes=dict(enumerate(boxes, start=3))
    )


def answer(*boxes: Any, **more: Any) -> PredictionRecord:
    times = np.arange(len(boxes), dtype=np.float64)
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return PredictionRecord("q", times=times, boxes=corners, scores=np.ones(len(boxes)), **more)


@pytest.mark.parametrize(
    ("box", "iou", "hit"),
    [
        (A, 1, True),
        ((0, 0, 10, 5), 0.5, True),  # exactly half
        ((0, 0, 10, 4.99), 0.499, False),
        ((5, 0, 15, 10), 1 / 3, False),  # shifted by half
        ((10, 0, 20, 10), 0, False),  # touching
        ((20, 20, 30, 30), 0, False),
        ((5, 5, 5, 5), 0, False),
        # With a pixel more on each side it would be 5.9 x 11 of 11 x 11, a hit.
        ((0, 0, 4.9, 10), 0.49, False),
    ],
)
def test_one_box_by_hand(box: Any, iou: float, hit: bool) -> None:
    assert query_iou(truth(A), answer(box)) == pytest.approx(iou, abs=1e-12)
    assert score_queries([truth(A)], [answer(box)]).means() == {"Acc@0.5": 100.0 * hit}


def test_failures_are_misses_that_count() -> None:
    answers = [answer(A), answer(A, status="failed"), answer(), answer(A, A), None]
    found = score_queries([truth(A)] * 5, answers, (0.0, 0.5))
    assert found.failed.tolist() == [False, True, True, True, True]
    assert found.means() == pytest.approx({"Acc@0": 20, "Acc@0.5": 20})


@pytest.mark.parametrize("boxes", [(), (A, A)])
def test_the_truth_holds_exactly_one_box(boxes: tuple[Any, ...]) -> None:
    with pytest.raises(DataError, match=f"'q': .* box, .* {len(boxes)}"):
        query_iou(truth(*boxes), answer(A))


whole_box = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)).map(
    lambda c: (c[0], c[1], c[0] + c[2], c[1] + c[3])
)


@given(st.lists(st.tuples(whole_box, whole_box), min_size=1, max_size=8))
def test_equals_counting_pixels(pairs: list[tuple[Any, Any]]) -> None:
    hits = 0
    for pair in pairs:
        first, second = ({(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])} for box in pair)
        hits += 2 * len(first & second) >= len(first | second)
    found = score_queries([truth(true) for true, _ in pairs], [answer(box) for _, box in pairs])
    assert found.means()["Acc@0.5"] == pytest.approx(100 * hits / len(pairs))
