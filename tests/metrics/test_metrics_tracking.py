"""Tracking: first frame out, unseen frames out, clipped boxes, pooled frames, strict success rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.errors import DataError
from bridge_stg.metrics.tracking import counted_frames, frame_overlaps, score_queries
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord

A = (0.0, 0.0, 10.0, 10.0)
HALF_HIGH = (0.0, 0.0, 10.0, 5.0)  # IoU with A: 1 / 2
THREE_QUARTERS = (0.0, 0.0, 10.0, 7.5)
SEVENTY = (0.0, 0.0, 10.0, 7.0)
AWAY = (20.0, 20.0, 30.0, 30.0)


def truth(boxes: dict[int, Any], clip: tuple[int, int] = (0, 50)) -> TruthRecord:
    """A 10 fps video of 50 frames, 40 x 30 pixels."""
    return TruthRecord("q", "vot", "v.mp4", 10.0, 50, clip, 40, 30, "?", window=(0, 50), boxes=boxes)


def answer(boxes: dict[int, Any], **more: Any) -> PredictionRecord:
    """Boxes by frame."""
    return PredictionRecord(
        "q",
        times=np.array([frame / 10 for frame in boxes]),
        boxes=np.array(list(boxes.values()), dtype=np.float64).reshape(-1, 4),
        scores=np.ones(len(boxes)),
        **more,
    )


@pytest.mark.parametrize(
    ("record", "predicted", "expected"),
    [
        (truth(dict.fromkeys(range(4), A)), {0: A}, [1, 1, 1]),
        # The given box is not scored, right or wrong.
        (truth(dict.fromkeys(range(3), A)), {0: AWAY, 1: A, 2: A}, [1, 1]),
        # Frames 2 and 3 do not show the object.
        (truth({0: A, 1: A, 4: A}), {1: A, 2: AWAY, 3: AWAY, 4: A}, [1, 1]),
        # First seen at frame 5: that box was given.
        (truth({5: A, 6: A, 7: A}), {0: A}, [1, 1]),
        # Only frames of the clip: 10 is its first.
        (truth(dict.fromkeys(range(20), A), clip=(10, 13)), {0: A}, [1, 1]),
        (truth(dict.fromkeys(range(3), A)), {1: HALF_HIGH, 2: AWAY}, [0.5, 0]),
        # Half way between A and (10, 0, 20, 10) on frame 2: shifted by half.
        (truth(dict.fromkeys(range(4), A)), {1: A, 3: (10, 0, 20, 10)}, [1, 1 / 3, 0]),
        # What sticks out of the image on the right and below is cut off.
        (truth({0: A, 1: (30, 20, 60, 60)}), {1: (30, 20, 40, 30)}, [1]),
        (truth({0: A, 1: (30, 20, 40, 30)}), {1: (30, 20, 400, 300)}, [1]),
        # What begins outside of it is moved into it, with its width and height: here 20 x 20 pixels.
        (truth({0: A, 1: A}), {1: (-10, -10, 10, 10)}, [0.25]),
        (truth({0: A, 1: (-5, 0, 5, 10)}), {1: A}, [1]),
        (truth({0: A, 1: (-30, 0, 30, 10)}), {1: (0, 0, 40, 10)}, [1]),  # moved, then cut at 40
        (truth({0: A, 1: (50, 40, 60, 50)}), {1: (50, 40, 60, 50)}, [0]),  # nothing of either is in the image
        (truth({0: A, 1: (5, 5, 5, 5)}), {1: (5, 5, 5, 5)}, [0]),  # no area
    ],
)
def test_frame_overlaps_by_hand(record: TruthRecord, predicted: dict[int, Any], expected: list[float]) -> None:
    found = frame_overlaps(record, answer(predicted))
    assert found is not None
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_exactly_r_is_no_success() -> None:
    boxes = {0: A, 1: HALF_HIGH, 2: SEVENTY, 3: THREE_QUARTERS, 4: A}
    found = score_queries([truth(dict.fromkeys(range(5), A))], [answer(boxes)])
    # IoU 0.5, 0.7, 0.75, 1 on the four frames that count.
    assert found.means() == pytest.approx({"AO": 73.75, "SR@0.5": 75, "SR@0.7": 50, "SR@0.75": 25})


def test_frames_are_pooled_over_videos() -> None:
    long, short = truth(dict.fromkeys(range(10), A)), truth(dict.fromkeys(range(2), A))
    found = score_queries([long, short], [answer({0: A}), answer({0: AWAY})])
    assert found.weights.tolist() == [9, 1]
    assert found.means()["AO"] == pytest.approx(90)  # the mean of the two videos would be 50
    assert found.means(np.array([False, True]))["AO"] == 0


def test_failed_and_missing_count_with_all_their_frames() -> None:
    record = truth(dict.fromkeys(range(5), A))
    answers = [answer({0: A}), answer({0: A}, status="failed"), answer({}), None]
    found = score_queries([record] * 4, answers)
    assert found.failed.tolist() == [False, True, True, True]
    assert found.means() == pytest.approx(dict.fromkeys(("AO", "SR@0.5", "SR@0.7", "SR@0.75"), 25))


@pytest.mark.parametrize("boxes", [{}, {3: A}])
def test_nothing_is_left_after_the_first_frame(boxes: dict[int, Any]) -> None:
    with pytest.raises(DataError, match=r"'q': .*two frames"):
        counted_frames(truth(boxes))


whole_box = st.tuples(st.integers(-3, 8), st.integers(-3, 8), st.integers(1, 6), st.integers(1, 6)).map(
    lambda c: (c[0], c[1], c[0] + c[2], c[1] + c[3])
)
sequences = st.lists(
    st.lists(st.tuples(whole_box, whole_box, st.booleans()), min_size=2, max_size=6), min_size=1, max_size=4
)


def pixels_in_image(box: Any) -> set[tuple[int, int]]:
    """A box pushed into an image of 8 x 8 pixel by pixel at its upper left, cut at its lower right."""
    left, top, right, bottom = box
    while left < 0:
        left, right = left + 1, right + 1
    while top < 0:
        top, bottom = top + 1, bottom + 1
    return {(x, y) for x in range(left, right) for y in range(top, bottom) if x < 8 and y < 8}


@given(sequences)
def test_equals_counting_pixels_of_all_frames(videos: list[list[tuple[Any, Any, bool]]]) -> None:
    pooled: list[float] = []
    records, answers = [], []
    for frames in videos:
        # Two frames must be annotated, or the record cannot be scored.
        seen = {number: true for number, (true, _, shown) in enumerate(frames) if shown or number < 2}
        tube = {number: box for number, (_, box, _) in enumerate(frames)}
        records.append(TruthRecord("q", "vot", "v", 10.0, 10, (0, 10), 8, 8, "?", boxes=seen))
        answers.append(answer(tube))
        for number in sorted(seen)[1:]:
            true, mine = (pixels_in_image(box) for box in (seen[number], tube[number]))
            pooled.append(len(true & mine) / len(true | mine) if true | mine else 0.0)
    found = score_queries(records, answers).means()
    assert found["AO"] == pytest.approx(100 * sum(pooled) / len(pooled), abs=1e-9)
    for threshold in (0.5, 0.7, 0.75):
        expected = 100 * sum(iou > threshold for iou in pooled) / len(pooled)
        assert found[f"SR@{threshold}"] == pytest.approx(expected, abs=1e-9)
