"""Where the error is: every kind on a case worked by hand, and no query in two kinds or none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.report_rows import BOX, judged, said, true

from bridge_stg.evaluation.report.error_kinds import (
    BOX_KINDS,
    WINDOW_KINDS,
    box_errors,
    box_kind,
    box_kinds,
    edge_errors,
    window_errors,
    window_kind,
    window_kinds,
)
from bridge_stg.records.prediction import PredictionRecord


@pytest.mark.parametrize(
    ("predicted", "kind"),
    [
        ((20, 40), "good"),
        ((20, 34), "good"),  # 14 of 20 is exactly 0.7
        ((20, 33), "too short"),
        ((25, 30), "too short"),
        ((10, 50), "too long"),
        ((20, 60), "too long"),  # the same start, twice as long
        ((10, 30), "early"),
        ((30, 50), "late"),
        ((0, 20), "disjoint"),  # touches
        ((40, 60), "disjoint"),
        ((50, 60), "disjoint"),
        ((30, 30), "disjoint"),  # empty
    ],
)
def test_kinds_of_windows(predicted: tuple[int, int], kind: str) -> None:
    assert window_kind((20, 40), predicted) == kind


@given(st.tuples(st.integers(0, 30), st.integers(1, 30)), st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_a_window_and_its_mirror_image(true_pair: tuple[int, int], other: tuple[int, int]) -> None:
    """Played backwards, early becomes late and nothing else changes."""
    start, end = true_pair[0], true_pair[0] + true_pair[1]
    low, high = min(other), max(other)
    swapped = {"early": "late", "late": "early"}
    forward = window_kind((start, end), (low, high))
    assert window_kind((-end, -start), (-high, -low)) == swapped.get(forward, forward)


@pytest.mark.parametrize(
    ("overlaps", "kind"),
    [
        ([], "no shared frame"),
        ([0.5], "good"),
        ([0.49], "loose"),
        ([0.1], "loose"),
        ([0.09], "wrong object"),
        ([0.9, 0.9, 0.0], "good"),  # right on most frames
        ([0.9, 0.0, 0.0], "wrong object"),  # jumped to another object
        ([0.6, 0.0], "loose"),  # the median of two lies between them
    ],
)
def test_kinds_of_boxes(overlaps: list[float], kind: str) -> None:
    assert box_kind(np.array(overlaps)) == kind


def test_tables_of_a_small_set() -> None:
    """Truth 2.0-4.0 s with the box 10..30. Half of the box is 0.5, a corner of it (25..45) is 25 / 775."""
    away, half = (40.0, 40.0, 60.0, 60.0), (10.0, 10.0, 20.0, 30.0)
    answers = [
        said("right", 2.0, 4.0),
        said("half", 1.0, 5.0, [half]),
        said("corner", 3.0, 5.0, [(25.0, 25.0, 45.0, 45.0)]),
        said("away", 1.0, 3.0, [away]),
        said("apart", 6.0, 7.0),
        said("windowed", 2.0, 4.0, []),
        PredictionRecord("failed", status="no_window"),
    ]
    found = judged([true(answer.id) for answer in answers] + [true("missing")], answers)
    kinds = window_kinds(found)
    assert kinds == ["good", "too long", "late", "early", "disjoint", "good", "no window", "no window"]
    windows = {part.kind: (part.n, part.start_error, part.end_error) for part in window_errors(found, kinds)}
    assert windows == {
        "good": (2, 0.0, 0.0),
        "too long": (1, -1.0, 1.0),
        "too short": (0, None, None),
        "early": (1, -1.0, -1.0),
        "late": (1, 1.0, 1.0),
        "disjoint": (1, 4.0, 3.0),
        "no window": (2, None, None),
    }
    boxes = {part.kind: (part.n, part.mean_iou) for part in box_errors(box_kinds(found))}
    assert boxes == {
        "good": (2, pytest.approx((20 * 1.0 + 20 * 0.5) / 40)),  # right, and half on all 20 shared frames
        "loose": (0, None),
        "wrong object": (2, pytest.approx((10 * 25 / 775 + 10 * 0.0) / 20)),
        "no box": (1, None),
        "no shared frame": (3, None),
    }
    assert edge_errors(found).shape == (6, 2)


def test_only_frames_that_both_windows_share_are_looked_at() -> None:
    """The box is right in the first second of the truth and wrong in the second, the only one predicted."""
    jumps = true("a", boxes={f: BOX if f < 30 else (40.0, 40.0, 60.0, 60.0) for f in range(20, 40)})
    (kind, overlaps) = box_kinds(judged([jumps], [said("a", 3.0, 5.0)]))[0]
    assert kind == "wrong object"
    assert len(overlaps) == 10


def test_windows_alone_are_judged_in_seconds() -> None:
    """Annotated 2.04-4.0 s: a window that ends at 2.02 is disjoint, though both round to frames 20 to 40."""
    record = true("a", task="vtg", boxes={}, seconds=(2.04, 4.0))
    found = judged([record], [said("a", 1.0, 2.03, [])])
    assert window_kinds(found) == ["disjoint"]
    assert edge_errors(found)[0] == pytest.approx([-1.04, -1.97])


@given(st.lists(st.tuples(st.floats(0, 12), st.floats(0, 12), st.booleans()), min_size=1, max_size=8))
def test_every_query_is_of_one_kind(rows: list[tuple[float, float, bool]]) -> None:
    truth = [true(str(number)) for number in range(len(rows))]
    answers = [
        said(str(number), min(a, b), max(a, b), [BOX] if boxed else [])
        for number, (a, b, boxed) in enumerate(rows)
        if number % 3 != 2
    ]
    found = judged(truth, answers)
    windows, boxes = window_kinds(found), box_kinds(found)
    assert len(windows) == len(boxes) == len(rows)
    assert sum(part.n for part in window_errors(found, windows)) == len(rows)
    assert sum(part.n for part in box_errors(boxes)) == len(rows)
    assert set(windows) <= set(WINDOW_KINDS)
    assert {kind for kind, _ in boxes} <= set(BOX_KINDS)
