"""tIoU, vIoU and gt_vIoU: a table worked by hand, and a second implementation that counts frames and pixels."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_stg.errors import DataError, InputError
from bridge_stg.metrics.overlap import box_iou
from bridge_stg.metrics.stvg import (
    FAILED,
    QueryOverlap,
    parse_protocol,
    query_overlap,
    query_values,
    score_queries,
)
from bridge_stg.metrics.tube_overlaps import TubeQuestion, boxes_on_frames, tube_overlaps
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import TimeSpan

A = (0.0, 0.0, 10.0, 10.0)
HALF_SHIFTED = (5.0, 0.0, 15.0, 10.0)  # IoU with A: 50 / 150
HALF_HIGH = (0.0, 0.0, 10.0, 5.0)  # IoU with A: 1 / 2


def truth(
    start: int, end: int, boxes: dict[int, Any] | None = None, fps: float = 10.0, frames: int = 100
) -> TruthRecord:
    """A 10 fps video of 100 frames whose target sits still in ``A`` unless told otherwise."""
    if boxes is None:
        boxes = dict.fromkeys(range(start, end), A)
    return TruthRecord(
        "q", "stvg", "v.mp4", fps, frames, (0, frames), 64, 64, "?", window=(start, end), boxes=boxes
    )


def prediction(
    window: tuple[float, float] | None, boxes: list[tuple[float, Any]], **more: Any
) -> PredictionRecord:
    return PredictionRecord(
        "q",
        windows=() if window is None else ((TimeSpan(*window), 1.0),),
        times=np.array([time for time, _ in boxes], dtype=np.float64),
        boxes=np.array([box for _, box in boxes], dtype=np.float64).reshape(-1, 4),
        scores=np.ones(len(boxes)),
        **more,
    )


MOVING = {frame: (frame - 20.0, 0.0, frame - 10.0, 10.0) for frame in range(20, 40)}
JUMPS = {20: A, 21: A, 22: HALF_SHIFTED, 23: HALF_SHIFTED}

# name, truth, predicted seconds, predicted boxes -> tIoU, vIoU, gt_vIoU
TABLE = [
    ("exact", truth(20, 40), (2.0, 4.0), [(2.0, A)], 1, 1, 1),
    ("one frame late: 19 shared of 21", truth(20, 40), (2.1, 4.1), [(2.1, A)], 19 / 21, 19 / 21, 1),
    ("first half of the window", truth(20, 40), (2.0, 3.0), [(2.0, A)], 0.5, 0.5, 1),
    ("whole clip", truth(20, 40), (0.0, 10.0), [(0.0, A)], 0.2, 0.2, 1),
    ("touching", truth(20, 40), (4.0, 5.0), [(4.0, A)], 0, 0, 1),
    ("disjoint", truth(20, 40), (6.0, 7.0), [(6.0, A)], 0, 0, 1),
    ("box shifted by half", truth(20, 40), (2.0, 4.0), [(2.0, HALF_SHIFTED)], 1, 1 / 3, 1 / 3),
    ("box of half the height", truth(20, 40), (2.0, 4.0), [(2.0, HALF_HIGH)], 1, 0.5, 0.5),
    ("one frame, on the grid", truth(20, 21), (2.0, 2.1), [(2.0, A)], 1, 1, 1),
    ("one frame, 0.04 s off: rounds back", truth(20, 21), (2.04, 2.14), [(2.0, A)], 1, 1, 1),
    ("one frame, 0.06 s off: the next frame", truth(20, 21), (2.06, 2.16), [(2.1, A)], 0, 0, 1),
    ("too short to hold a frame", truth(20, 40), (2.01, 2.04), [(2.0, A)], 0, 0, 1),
    ("empty window", truth(20, 40), (3.0, 3.0), [(3.0, A)], 0, 0, 1),
    (
        "linear between two boxes",
        truth(20, 40, MOVING),
        (2.0, 4.0),
        [(2.0, MOVING[20]), (3.9, MOVING[39])],
        1,
        1,
        1,
    ),
    (
        "held after the last box",
        truth(20, 24, JUMPS),
        (2.0, 2.4),
        [(2.0, A)],
        1,
        (1 + 1 + 2 / 3) / 4,
        (2 + 2 / 3) / 4,
    ),
    (
        "held before the first box",
        truth(20, 24, JUMPS),
        (2.0, 2.4),
        [(2.3, A)],
        1,
        (2 + 2 / 3) / 4,
        (2 + 2 / 3) / 4,
    ),
    ("two true frames have no box", truth(20, 24, {20: A, 21: A}), (2.0, 2.4), [(2.0, A)], 1, 0.5, 1),
    ("time past the end of the video is wrong", truth(80, 100), (8.0, 12.0), [(8.0, A)], 0.5, 0.5, 1),
    ("a window without boxes", truth(20, 40), (2.0, 4.0), [], 1, 0, 0),
]


@pytest.mark.parametrize(
    ("record", "window", "boxes", "tiou", "viou", "gt_viou"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_overlaps_worked_by_hand(
    record: TruthRecord, window: tuple[float, float], boxes: list[Any], tiou: float, viou: float, gt_viou: float
) -> None:
    found = query_overlap(record, prediction(window, boxes))
    assert (found.tiou, found.viou, found.gt_viou) == pytest.approx((tiou, viou, gt_viou), abs=1e-12)
    assert not found.failed


@pytest.mark.parametrize(
    "lacking",
    [
        prediction((2.0, 4.0), [(2.0, A)], status="failed"),
        prediction((2.0, 4.0), [(2.0, A)], status="no_window"),
        prediction((2.0, 4.0), [(2.0, A)], status="empty_window"),
        prediction(None, [(2.0, A)]),
    ],
)
def test_a_failed_prediction_scores_zero_even_with_perfect_boxes(lacking: PredictionRecord) -> None:
    assert query_overlap(truth(20, 40), lacking) == FAILED == QueryOverlap(0.0, 0.0, 0.0, failed=True)


def test_the_window_with_the_highest_score_counts() -> None:
    windows = ((TimeSpan(0.0, 1.0), 0.2), (TimeSpan(2.0, 4.0), 0.9), (TimeSpan(5.0, 6.0), 0.9))
    assert query_overlap(truth(20, 40), PredictionRecord("q", windows=windows)).tiou == 1.0


def test_a_box_belongs_to_the_nearest_frame() -> None:
    # 2.06 s is frame 21 (20.6), 2.26 s is frame 23 (22.6): frame 22 lies half way, 20 and 24 hold.
    given_boxes = [(2.06, (10, 0, 20, 10)), (2.26, (30, 0, 40, 10))]
    found = boxes_on_frames(prediction((2.0, 2.4), given_boxes), truth(20, 24), np.arange(20, 25))
    assert found[:, 0].tolist() == [10, 10, 20, 30, 30]


def test_of_two_boxes_on_one_frame_the_nearer_in_time_counts() -> None:
    # All three fall on frame 20; 2.01 s is nearest to it.
    crowded = [(1.97, (1, 0, 9, 9)), (2.01, (2, 0, 9, 9)), (2.04, (3, 0, 9, 9)), (2.5, (4, 0, 9, 9))]
    found = boxes_on_frames(prediction((2.0, 3.0), crowded), truth(20, 26), np.array([19, 20, 25]))
    assert found[:, 0].tolist() == [2, 2, 4]


def test_protocols_differ_in_exactly_half_and_nothing_else() -> None:
    overlaps = [QueryOverlap(1.0, 0.5, 0.5), QueryOverlap(0.4, 0.31, 0.9), QueryOverlap(1.0, 0.6, 0.6), FAILED]
    strict, inclusive = (100 * query_values(overlaps, name).mean(axis=0) for name in ("stcat", "paper"))
    # m_tIoU, m_vIoU, vIoU@0.3, vIoU@0.5, gt_vIoU
    np.testing.assert_allclose(strict, [60.0, 35.25, 75.0, 25.0, 50.0])
    np.testing.assert_allclose(inclusive, [60.0, 35.25, 75.0, 50.0, 50.0])


def test_an_unknown_protocol_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'tube'.* tubedetr, stcat, hcstvg, paper"):
        parse_protocol("tube")


def test_a_true_record_without_boxes_cannot_be_scored() -> None:
    for given_answer in (prediction((2.0, 4.0), [(2.0, A)]), None):
        with pytest.raises(DataError, match=r"'q': .*box"):
            query_overlap(truth(20, 40, {}), given_answer)


def test_any_threshold_can_be_asked_for() -> None:
    answers = [prediction((2.0, 3.5), [(2.0, A)]), prediction((2.0, 4.0), [(2.0, A)]), None]
    found = score_queries([truth(20, 40)] * 3, answers, "stcat", (0.1, 0.75))
    assert found.names == ("m_tIoU", "m_vIoU", "vIoU@0.1", "vIoU@0.75", "gt_vIoU")
    # vIoU 0.75, 1 and 0 of the missing one.
    assert found.values.tolist() == [[0.75, 0.75, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]
    assert found.failed.tolist() == [False, False, True]
    assert found.means()["vIoU@0.75"] == pytest.approx(100 / 3)


@given(
    fps=st.sampled_from([Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60)]),
    start=st.integers(0, 5000),
    length=st.integers(1, 500),
)
def test_true_frames_written_as_seconds_come_back_exactly(fps: Fraction, start: int, length: int) -> None:
    """Six decimals, as in tube.json, and a frame rate of six decimals: no frame is lost."""
    record = truth(start, start + length, {start: A}, fps=round(float(fps), 6), frames=6000)
    seconds = (round(float(start / fps), 6), round(float((start + length) / fps), 6))
    assert query_overlap(record, prediction(seconds, [])).tiou == 1.0


whole_box = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)).map(
    lambda c: (c[0], c[1], c[0] + c[2], c[1] + c[3])
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[TruthRecord, PredictionRecord]:
    """Short videos at 4 fps; predicted times lie on the frame grid, so the second opinion rounds nothing."""
    start = draw(st.integers(0, 10))
    end = draw(st.integers(start + 1, 16))
    true_boxes = {
        frame: draw(whole_box) for frame in range(start, end) if frame == start or draw(st.booleans())
    }
    low = draw(st.integers(0, 15))
    high = draw(st.integers(low, 20))
    keys = sorted(draw(st.sets(st.integers(0, 15), min_size=1, max_size=5)))
    boxes = [(frame / 4, draw(whole_box)) for frame in keys]
    return truth(start, end, true_boxes, fps=4.0, frames=16), prediction((low / 4, high / 4), boxes)


def _exact_iou(first: list[Fraction], second: list[Fraction]) -> Fraction:
    width = max(Fraction(0), min(first[2], second[2]) - max(first[0], second[0]))
    height = max(Fraction(0), min(first[3], second[3]) - max(first[1], second[1]))
    both = width * height
    either = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)) - both
    return both / either if either else Fraction(0)


def _slow_box(known: dict[int, list[Fraction]], frame: int) -> list[Fraction]:
    before = [key for key in known if key <= frame]
    after = [key for key in known if key >= frame]
    if not before:
        return known[min(known)]
    if not after:
        return known[max(known)]
    left, right = max(before), min(after)
    share = Fraction(frame - left, right - left) if right > left else Fraction(0)
    return [a + (b - a) * share for a, b in zip(known[left], known[right], strict=True)]


def _slow(record: TruthRecord, predicted: PredictionRecord) -> tuple[Fraction, Fraction, Fraction]:
    """Eq. 10 and 11 read literally: sets of frames, exact fractions."""
    assert record.window is not None
    window = predicted.best_window
    assert window is not None
    true_set = set(range(*record.window))
    predicted_set = set(range(int(window.start * 4), int(window.end * 4)))
    known = {
        int(time * 4): [Fraction(int(side)) for side in box]
        for time, box in zip(predicted.times, predicted.boxes, strict=True)
    }
    per_frame = {
        frame: _exact_iou(_slow_box(known, frame), [Fraction(side) for side in box])
        for frame, box in record.boxes.items()
    }
    either = true_set | predicted_set
    tiou = Fraction(len(true_set & predicted_set), len(either))
    viou = sum((per_frame.get(frame, Fraction(0)) for frame in true_set & predicted_set), Fraction(0)) / len(
        either
    )
    return tiou, viou, sum(per_frame.values(), Fraction(0)) / len(per_frame)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_equals_a_slow_reading_of_the_equations(case: tuple[TruthRecord, PredictionRecord]) -> None:
    found = query_overlap(*case)
    assert (found.tiou, found.viou, found.gt_viou) == pytest.approx(tuple(map(float, _slow(*case))), abs=1e-9)
    assert 0 <= found.viou <= found.tiou + 1e-12


@given(st.lists(cases(), min_size=1, max_size=5))
def test_many_tubes_at_a_time_are_the_tubes_one_by_one(
    found: list[tuple[TruthRecord, PredictionRecord]],
) -> None:
    questions = [
        TubeQuestion(record, predicted, *record.boxes_within((0, record.frame_count)))
        for record, predicted in found
        if len(predicted.times)
    ]
    for question, together in zip(questions, tube_overlaps(questions), strict=True):
        alone = boxes_on_frames(question.prediction, question.truth, question.frames)
        assert together.tolist() == box_iou(alone, question.corners).tolist()
