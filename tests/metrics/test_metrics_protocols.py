"""Each STVG protocol: a table worked by hand, a slow second opinion of sets, and its perfect prediction."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bridge_stg.geometry.clock import VideoClock
from bridge_stg.metrics.protocols import sampled_frames
from bridge_stg.metrics.stvg import PROTOCOLS, Protocol, comparison, query_overlap, score_queries
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import FrameTimes, TimeSpan

A = (0.0, 0.0, 10.0, 10.0)
HALF_SHIFTED = (5.0, 0.0, 15.0, 10.0)  # IoU with A: 50 / 150
HALF_HIGH = (0.0, 0.0, 10.0, 5.0)  # IoU with A: 1 / 2
JUMPS = {20: A, 21: A, 22: HALF_SHIFTED, 23: HALF_SHIFTED}


def truth(
    start: int,
    end: int,
    boxes: dict[int, Any] | None = None,
    clip: tuple[int, int] = (0, 100),
    fps: float = 10.0,
) -> TruthRecord:
    """100 frames at 10 fps, so that TubeDETR samples the even frames of a clip that begins on one."""
    boxes = dict.fromkeys(range(start, end), A) if boxes is None else boxes
    return TruthRecord("q", "stvg", "v.mp4", 10.0, 100, clip, 64, 64, "?", window=(start, end), boxes=boxes)


def answer(window: tuple[float, float], *boxes: tuple[float, Any]) -> PredictionRecord:
    return PredictionRecord(
        "q",
        windows=((TimeSpan(*window), 1.0),),
        times=np.array([time for time, _ in boxes], dtype=np.float64),
        boxes=np.array([box for _, box in boxes], dtype=np.float64).reshape(-1, 4),
        scores=np.ones(len(boxes)),
    )


# name, truth, prediction -> tIoU, vIoU, gt_vIoU
TUBEDETR = [
    ("exact", truth(20, 40), answer((2.0, 4.0), (2.0, A)), 1, 1, 1),
    # 21..40 against 20..39. Sampled: 20, 22 .. 40 in either (11), 22 .. 38 in both (9).
    ("one frame late", truth(20, 40), answer((2.1, 4.1), (2.1, A)), 19 / 21, 9 / 11, 1),
    ("two frames late: the same samples", truth(20, 40), answer((2.2, 4.2), (2.2, A)), 18 / 22, 9 / 11, 1),
    ("whole clip", truth(20, 40), answer((0.0, 10.0), (0.0, A)), 0.2, 10 / 50, 1),
    ("touching", truth(20, 40), answer((4.0, 5.0), (4.0, A)), 0, 0, 1),
    ("disjoint", truth(20, 40), answer((6.0, 7.0), (6.0, A)), 0, 0, 1),
    ("empty window", truth(20, 40), answer((3.0, 3.0), (3.0, A)), 0, 0, 1),
    ("box shifted by half", truth(20, 40), answer((2.0, 4.0), (2.0, HALF_SHIFTED)), 1, 1 / 3, 1 / 3),
    ("exactly half", truth(20, 40), answer((2.0, 4.0), (2.0, HALF_HIGH)), 1, 0.5, 0.5),
    ("one frame on the grid", truth(20, 21), answer((2.0, 2.1), (2.0, A)), 1, 1, 1),
    ("one frame off the grid, perfect", truth(21, 22), answer((2.1, 2.2), (2.1, A)), 1, 0, 0),
    ("one frame off the grid, a sample in either", truth(21, 22), answer((2.0, 2.2), (2.0, A)), 0.5, 0, 0),
    ("two true frames, one sampled", truth(20, 22), answer((2.0, 2.1), (2.0, A)), 0.5, 1, 1),
    # Samples 20 and 22: A, and A against the jump.
    ("jump", truth(20, 24, JUMPS), answer((2.0, 2.4), (2.0, A)), 1, (1 + 1 / 3) / 2, (1 + 1 / 3) / 2),
    (
        "a sample lacks its true box",
        truth(20, 24, {20: A, 21: A}),
        answer((2, 2.4), (2.0, A)),
        1,
        0.5,
        1,
    ),
    ("true boxes off the grid only", truth(20, 24, {21: A, 23: A}), answer((2.0, 2.4), (2.0, A)), 1, 0, 0),
    ("time outside the clip", truth(20, 40, clip=(20, 40)), answer((1.0, 5.0), (2.0, A)), 0.5, 1, 1),
    ("the last frame of the clip", truth(20, 21, clip=(0, 21)), answer((2.0, 2.1), (2.0, A)), 1, 0, 0),
    ("the clip begins off the grid", truth(21, 22, clip=(21, 40)), answer((2.1, 2.2), (2.1, A)), 1, 1, 1),
    ("a window without boxes", truth(20, 40), answer((2.0, 4.0)), 1, 0, 0),
]
HCSTVG = [
    ("exact", truth(20, 40), answer((2.0, 4.0), (2.0, A)), 1, 1, 1),
    # Closed: 20..39 and 21..40, from 20 to 40 are 21 frames, 21..39 are 19.
    ("one frame late", truth(20, 40), answer((2.1, 4.1), (2.1, A)), 19 / 21, 19 / 21, 1),
    ("touching", truth(20, 40), answer((4.0, 5.0), (4.0, A)), 0, 0, 1),
    ("sharing one frame", truth(20, 40), answer((3.9, 5.0), (4.0, A)), 1 / 30, 1 / 30, 1),
    ("disjoint", truth(20, 40), answer((6.0, 7.0), (6.0, A)), 0, 0, 1),
    ("empty window", truth(20, 40), answer((3.0, 3.0), (3.0, A)), 0, 0, 1),
    ("box shifted by half", truth(20, 40), answer((2.0, 4.0), (2.0, HALF_SHIFTED)), 1, 1 / 3, 1 / 3),
    ("exactly half", truth(20, 40), answer((2.0, 4.0), (2.0, HALF_HIGH)), 1, 0.5, 0.5),
    ("one frame", truth(20, 21), answer((2.0, 2.1), (2.0, A)), 1, 1, 1),
    ("one frame, the next one", truth(20, 21), answer((2.1, 2.2), (2.1, A)), 0, 0, 1),
    ("one frame off a grid of fifths", truth(21, 22), answer((2.1, 2.2), (2.1, A)), 1, 1, 1),
    (
        "half of the true boxes",
        truth(20, 24, {20: A, 21: A}),
        answer((2, 2.4), (2.0, A)),
        0.5,
        0.5,
        1,
    ),
    # In both: 20. From 20 to 25 are 6 frames.
    ("sparse truth, long window", truth(20, 24, {20: A}), answer((2.0, 2.6), (2.0, A)), 1 / 6, 1 / 6, 1),
    ("a window without boxes has no tIoU", truth(20, 40), answer((2.0, 4.0)), 0, 0, 0),
]


@pytest.mark.parametrize(
    ("protocol", "record", "predicted", "expected"),
    [
        pytest.param(protocol, row[1], row[2], row[3:], id=f"{protocol}: {row[0]}")
        for protocol, table in (("tubedetr", TUBEDETR), ("hcstvg", HCSTVG))
        for row in table
    ],
)
def test_overlaps_worked_by_hand(
    protocol: Protocol, record: TruthRecord, predicted: PredictionRecord, expected: tuple[float, ...]
) -> None:
    found = query_overlap(record, predicted, protocol)
    assert (found.tiou, found.viou, found.gt_viou) == pytest.approx(expected, abs=1e-12)
    assert not found.failed


@pytest.mark.parametrize(
    ("clip", "fps", "expected"),
    [
        ((0, 30), 30.0, [0, 6, 12, 18, 24]),
        ((0, 31), 30.0, [0, 6, 12, 18, 24]),  # frame 30 is the last of the clip
        ((0, 32), 30.0, [0, 6, 12, 18, 24, 30]),
        ((7, 37), 30.0, [7, 12, 18, 24, 30]),  # the first is always taken, the grid stays where it is
        ((0, 1), 30.0, [0]),
        ((5, 6), 30.0, [5]),
        ((0, 8), 4.0, [0, 1, 2, 3, 4, 5, 6]),  # slower than five per second: every frame
        ((0, 26), 25.0, [0, 5, 10, 15, 20]),
        ((0, 14), 12.0, [0, 3, 5, 8, 10, 12]),  # 0, 2.4, 4.8, 7.2, 9.6, 12, rounded up
    ],
)
def test_sampled_frames_by_hand(clip: tuple[int, int], fps: float, expected: list[int]) -> None:
    assert sampled_frames(clip, VideoClock(fps, clip[1])).tolist() == expected


def test_at_a_variable_rate_fifths_of_a_second_are_real_ones() -> None:
    # Ten frames at 10 per second, then six of which each is shown for half a second.
    times = FrameTimes(Fraction(1, 10), ((10, 1), (6, 5)))
    clock = VideoClock(Fraction(4), 16, times)
    assert sampled_frames((0, 16), clock).tolist() == [0, 2, 4, 6, 8, 10, 11, 12, 13, 14]


def test_of_many_samples_two_hundred_stay() -> None:
    # 400 samples 0, 6, .. 2394 of 2400 frames: every second one.
    assert sampled_frames((0, 2400), VideoClock(30.0, 2400)).tolist() == list(range(0, 2400, 12))
    # 300 samples: of each three, the first two (j * 3 // 2).
    assert sampled_frames((0, 1800), VideoClock(30.0, 1800)).tolist()[:5] == [0, 6, 18, 24, 36]


def _slow_samples(clip: tuple[int, int], fps: float) -> list[int]:
    """A loop that remembers the last frame taken."""
    taken = [clip[0]]
    for frame in range(clip[0], clip[1] - 1):
        if int(frame * (5 / fps)) > int(taken[-1] * (5 / fps)):
            taken.append(frame)
    return taken if len(taken) <= 200 else [taken[j * len(taken) // 200] for j in range(200)]


@given(
    start=st.integers(0, 500),
    length=st.integers(1, 4000),
    fps=st.sampled_from([4.0, 6.25, 10.0, 12.0, 15.0, 23.976, 24.0, 25.0, 29.97, 30.0, 50.0, 59.94]),
)
def test_sampled_frames_equal_a_slow_loop(start: int, length: int, fps: float) -> None:
    clip = (start, start + length)
    assert sampled_frames(clip, VideoClock(fps, clip[1])).tolist() == _slow_samples(clip, fps)


whole_box = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)).map(
    lambda c: (c[0], c[1], c[0] + c[2], c[1] + c[3])
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[TruthRecord, PredictionRecord]:
    """A predicted box on every frame of the predicted window: nothing is interpolated in either opinion."""
    clip_start = draw(st.integers(0, 6))
    clip_end = draw(st.integers(clip_start + 1, 30))
    start = draw(st.integers(0, 28))
    end = draw(st.integers(start + 1, 30))
    boxes = {frame: draw(whole_box) for frame in range(start, end) if frame == start or draw(st.booleans())}
    low = draw(st.integers(0, 29))
    high = draw(st.integers(low + 1, 32))
    predicted = [(frame / 10, draw(whole_box)) for frame in range(low, high)]
    return truth(start, end, boxes, (clip_start, clip_end)), answer((low / 10, high / 10), *predicted)


def _cells(box: Any) -> set[tuple[int, int]]:
    return {(x, y) for x in range(int(box[0]), int(box[2])) for y in range(int(box[1]), int(box[3]))}


def _exact_iou(first: Any, second: Any) -> Fraction:
    either = _cells(first) | _cells(second)
    return Fraction(len(_cells(first) & _cells(second)), len(either))


def _slow(protocol: str, record: TruthRecord, predicted: PredictionRecord) -> tuple[Fraction, Fraction]:
    """tIoU and vIoU read off the definitions: sets of frames and of pixels, exact fractions."""
    assert record.window is not None
    assert predicted.best_window is not None
    tube = {round(t * 10): box for t, box in zip(predicted.times, predicted.boxes, strict=True)}
    true_set = set(range(*record.window))
    predicted_set = set(range(round(predicted.best_window.start * 10), round(predicted.best_window.end * 10)))
    both, either = true_set & predicted_set, true_set | predicted_set
    ious = {frame: _exact_iou(tube[frame], record.boxes[frame]) for frame in both if frame in record.boxes}
    if protocol == "hcstvg":
        first, last = min(either), max(either)
        every = last - first + 1
        return Fraction(len(ious), every), sum(ious.values(), Fraction(0)) / every
    tiou = Fraction(len(both), len(either))
    if protocol == "tubedetr":
        samples = set(_slow_samples(record.clip, record.fps))
        ious = {frame: iou for frame, iou in ious.items() if frame in samples}
        either = either & samples if both else {0}
    return tiou, sum(ious.values(), Fraction(0)) / max(len(either), 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=100)
@given(case=cases())
def test_every_protocol_equals_a_slow_reading(
    protocol: Protocol, case: tuple[TruthRecord, PredictionRecord]
) -> None:
    found = query_overlap(*case, protocol)
    assert (found.tiou, found.viou) == pytest.approx(tuple(map(float, _slow(protocol, *case))), abs=1e-9)
    assert 0 <= found.tiou <= 1
    assert 0 <= found.viou <= 1
    assert 0 <= found.gt_viou <= 1


def _perfect(record: TruthRecord) -> PredictionRecord:
    assert record.window is not None
    window = (record.window[0] / record.fps, record.window[1] / record.fps)
    return answer(window, *((frame / record.fps, box) for frame, box in sorted(record.boxes.items())))


@settings(max_examples=100)
@given(case=cases())
def test_a_perfect_prediction_scores_what_is_documented(case: tuple[TruthRecord, PredictionRecord]) -> None:
    record = case[0]
    assert record.window is not None
    predicted = _perfect(record)
    share = len(record.boxes) / (record.window[1] - record.window[0])
    for protocol in ("stcat", "paper"):
        found = query_overlap(record, predicted, protocol)
        assert (found.tiou, found.viou, found.gt_viou) == pytest.approx((1, share, 1))
    found = query_overlap(record, predicted, "hcstvg")
    assert (found.tiou, found.viou, found.gt_viou) == pytest.approx((share, share, 1))
    samples = set(_slow_samples(record.clip, record.fps)) & set(range(*record.window))
    seen = samples & record.boxes.keys()
    found = query_overlap(record, predicted, "tubedetr")
    expected = (1, len(seen) / max(len(samples), 1), float(bool(seen)))
    assert (found.tiou, found.viou, found.gt_viou) == pytest.approx(expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=50)
@given(case=cases())
def test_truth_and_prediction_can_change_places(
    protocol: Protocol, case: tuple[TruthRecord, PredictionRecord]
) -> None:
    """With a box on every frame of both windows, tIoU and vIoU do not know which of the two is the truth."""
    record, predicted = case
    assert record.window is not None
    full = dict(zip(range(*record.window), [record.boxes[min(record.boxes)]] * 99, strict=False))
    low, high = (round(bound * 10) for bound in vars(predicted.best_window).values())
    assume(high <= 100)
    mine = truth(*record.window, full, record.clip)
    tube = {frame: tuple(box) for frame, box in zip(range(low, high), predicted.boxes.tolist(), strict=True)}
    other = truth(low, high, tube, record.clip)
    there = query_overlap(mine, _perfect(other), protocol)
    back = query_overlap(other, _perfect(mine), protocol)
    assert (there.tiou, there.viou) == pytest.approx((back.tiou, back.viou), abs=1e-9)


def test_only_the_paper_counts_exactly_half() -> None:
    half = answer((2.0, 4.0), (2.0, HALF_HIGH))
    hits = {name: score_queries([truth(20, 40)], [half], name).means()["vIoU@0.5"] for name in PROTOCOLS}
    assert hits == {"tubedetr": 0, "stcat": 0, "hcstvg": 0, "paper": 100}
    assert {name: comparison(name) for name in PROTOCOLS} == {
        "tubedetr": ">",
        "stcat": ">",
        "hcstvg": ">",
        "paper": ">=",
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_failed_or_missing_prediction_is_zero_in_every_protocol(protocol: Protocol) -> None:
    failed = PredictionRecord("q", status="failed", windows=((TimeSpan(2.0, 4.0), 1.0),))
    found = score_queries([truth(20, 40)] * 2, [failed, None], protocol)
    assert found.failed.tolist() == [True, True]
    assert not found.values.any()
