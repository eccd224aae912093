"""A tube that does not begin at the given box is less sure, and says so."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bridge_stg.errors import InputError
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.inference.tracked import AGREES, given_overlap
from bridge_stg.prompting.given_box import GivenBox, read_given
from bridge_stg.types import TimeSpan, Tube, VideoInfo

INFO = VideoInfo(path="clip.mp4", width=200, height=100, fps=Fraction(10), duration=5.0, frames=50)
# 20 x 10 pixels, each second 20 pixels further to the right.
TUBE = Tube(
    times=np.array([1.0, 2.0, 3.0]),
    frames=np.array([10, 20, 30]),
    boxes=np.array([[0.0, 0, 20, 10], [20, 0, 40, 10], [40, 0, 60, 10]]),
    scores=np.ones(3),
)


@pytest.mark.parametrize(
    ("query", "start", "overlap"),
    [
        ("track it at [0, 0, 100, 100]", 1.0, 1.0),
        ("track it at [0, 0, 100, 100]", 0.0, 1.0),  # the box at 1 s is the nearest to 0 s
        ("track it at [0, 0, 100, 50]", 1.0, 0.5),
        ("track it at [50, 0, 150, 100]", 1.0, 1 / 3),
        ("track it at [200, 0, 300, 100]", 1.0, 0.0),
        ("track it at [200, 0, 300, 100] from 2.0 seconds", 1.0, 1.0),
        ("track it at [100, 0, 200, 100] from 1 seconds", 1.0, 1.0),
        ("track it at [100, 0, 200, 100] From 1 second on", 1.0, 1.0),
        ("track it at [200, 0, 300, 100], from 2s", 1.0, 1.0),
        ("track it at [200, 0, 300, 100]. From 2 seconds on", 1.0, 1.0),
        ("track it at [200, 0, 300, 100] (from 2 s)", 1.0, 1.0),
        ("track it at [0, 0, 100, 100] from the left", 1.0, 1.0),  # a place, not a time
        ("track it at [0, 0, 100, 100] from the second row", 1.0, 1.0),
    ],
)
def test_a_tube_is_compared_with_the_given_box_at_its_time(query: str, start: float, overlap: float) -> None:
    assert given_overlap(query, TUBE, INFO, TimeSpan(start, 5.0)) == pytest.approx(overlap)


@pytest.mark.parametrize(
    ("behind", "second"),
    [
        ("", 0.0),
        (" from 2 seconds", 2.0),
        (" From 2.5 seconds on", 2.5),
        (" since 2 s", 2.0),
        (" since 2s.", 2.0),
        (" from t=2s", 2.0),
        (", t = 2.5", 2.5),
        (" (t=2 s)", 2.0),
        (" from second 2", 2.0),
        (" from the 2nd second", 2.0),  # at which a clock shows 2
        (" since the 3rd second on", 3.0),
        (" at 2 s", 2.0),
        (" @2s", 2.0),
        (" in the 2nd second", 2.0),
        (" starting at 2 sec", 2.0),
        (", which begins from 2 secs on", 2.0),
        (" as of 2 seconds", 2.0),
        (" after 2 s", 2.0),
        (" (2 s)", 2.0),
        (", the red one, since 2 s", 2.0),
        # Neither is a time.
        (" from the second row", 0.0),
        (" from the beginning", 0.0),
        (" from the first frame on", 0.0),
        (" with number 10", 0.0),
        (", the 3rd from the left", 0.0),
    ],
)
def test_the_time_of_a_box_is_read(behind: str, second: float) -> None:
    assert read_given(f"track it at [0, 0, 100, 100]{behind}", 5.0).second == second


@pytest.mark.parametrize(
    ("before", "second"),
    [
        ("From 2 s on track it", 2.0),
        ("At 2 s it is", 2.0),
        ("track it since the 2nd second", 2.0),
        # Of what is tracked, not of the box.
        ("the dog that barks at 3 s", 0.0),
        ("the player from 2020", 0.0),
    ],
)
def test_a_time_before_the_box(before: str, second: float) -> None:
    assert read_given(f"{before} at [0, 0, 100, 100]", 5.0).second == second
    # The one behind the box counts.
    assert read_given(f"{before} at [0, 0, 100, 100] from 1.5 seconds", 5.0).second == 1.5


@pytest.mark.parametrize(
    "since",
    [
        "-3 seconds",
        "5 seconds",
        "1e3 seconds",
        "2,5 s",
        ".5 s",
        "nine seconds",
        "one second",
        "half a second",
        "the second second",
        "the first second",
        "about 2 seconds",
        "1 to 3 seconds",
        "1 s to 3 s",
        "1s - 3s",
        "1s\u20133s",
        "1 s, until 3 s",
        "2 s that jumps at 3 s",
        "1:02",
        "0:02",
        "t=0:02",
        "3",
        "50%",
        "200 ms",
        "200ms",
        "one minute",
        "minute 1",
        "frame 50",
        "the 50th frame",
        "frames 3 to 5",
        "frames 3-5",
        "frame #3",
        "frame number 3",
        "sec 2",
        "sec. 2",
        "seconds 2 to 4",
        "the 2nd to the 4th second",
        "the last frame",
    ],
)
@pytest.mark.parametrize("word", ["from", "Since"])
def test_a_time_that_cannot_be_read_is_named(since: str, word: str) -> None:
    with pytest.raises(InputError, match=f"at '{since}'; give one number of seconds from 0"):
        read_given(f"track it at [0, 0, 100, 100] {word} {since}", 5.0)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("track it at [0, 0, 100, 100] for 3 s", "3 s"),
        ("track it at [0, 0, 100, 100] that jumps at 3 s", "3 s"),
        ("track it at [0, 0, 100, 100] at 0:02", "0:02"),
        ("track it at [0, 0, 100, 100] frames 3 to 5", "frames 3 to 5"),
        ("track it at [0, 0, 100, 100], seconds 2 to 4", "seconds 2 to 4"),
        ("track it at [0, 0, 100, 100] .5 s", ".5 s"),
        ("from frame 50 on, track it at [0, 0, 100, 100]", "frame 50 on, track it at"),
        ("from 1 to 3 seconds track it at [0, 0, 100, 100]", "1 to 3 seconds track it at"),
        ("from frames 3 to 5 track it at [0, 0, 100, 100]", "frames 3 to 5 track it at"),
        ("Between 2 s and 4 s, track it at [0, 0, 100, 100]", "Between 2 s and 4 s, track it at"),
        ("between frames 3 and 5 track it at [0, 0, 100, 100]", "between frames 3 and 5 track it at"),
        ("Until 4 s, track it at [0, 0, 100, 100]", "Until 4 s, track it at"),
    ],
)
def test_other_times_are_named(query: str, named: str) -> None:
    with pytest.raises(InputError, match=f"at '{named}'"):
        read_given(query, 5.0)


def test_queries_that_only_a_machine_writes_are_read_at_once() -> None:
    with pytest.raises(InputError, match="names no box"):
        read_given(f"track it at [{'1' * 5000}, 0, 1, 1]", 5.0)
    for words in (" " * 30_000 + "now", "1" * 30_000, " from" * 5_000, ":1" * 10_000, " the about" * 3_000):
        assert read_given("track it at [0, 0, 100, 100]" + words, 5.0).second == 0.0


@pytest.mark.parametrize("box", ["100, 200, 3000, 400", "100, 200, 300, 1001", "0, 0, 0, 2000"])
def test_a_box_lies_in_the_frame(box: str) -> None:
    with pytest.raises(InputError, match=rf"\[{box}\].*outside the frame"):
        read_given(f"track it at [{box}]", 5.0)


@pytest.mark.parametrize(
    "box", ["300, 0, 200, 100", "0, 300, 100, 200", "50, 0, 50, 100", "0, 50, 100, 50", "50, 50, 50, 50"]
)
def test_a_box_has_an_area(box: str) -> None:
    with pytest.raises(InputError, match=rf"\[{box}\].*no area"):
        read_given(f"track it at [{box}]", 5.0)
    x1, y1, x2, y2 = (int(side) / 1000 for side in box.split(","))
    with pytest.raises(InputError, match=rf"\[{box}\].*no area"):
        GivenBox((x1, y1, x2, y2))


def test_a_box_that_rounds_to_nothing_has_no_area() -> None:
    # 100.4 and 101.4 thousandths are written 100 and 101, but 100.6 and 101.4 are both 101.
    assert GivenBox((0.1004, 0.0, 0.1014, 1.0)).second == 0.0
    with pytest.raises(InputError, match=r"\[101, 0, 101, 1000\]"):
        GivenBox((0.1006, 0.0, 0.1014, 1.0))


@pytest.mark.parametrize("box", [[0, 0, 60, 60], [300, 300, 800, 800]])
def test_the_confidence_of_a_track_is_worth_its_beginning(
    taught_checkpoint: Path, clip: Path, box: list[int]
) -> None:
    grounder = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    result = grounder.ground(clip, f"track the object at {box}", task="vot")
    assert result.tube is not None
    assert result.window is not None
    overlap = given_overlap(result.query, result.tube, result.info, result.window)
    assert overlap is not None
    assert result.windows[0].score == pytest.approx(max(result.tube.scores.mean() * overlap, 1e-6))
    assert any("given box" in note for note in result.notes) == (overlap < AGREES)


def test_a_box_without_area_is_refused_before_the_video_is_read(taught_checkpoint: Path, clip: Path) -> None:
    grounder = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    with pytest.raises(InputError, match="no area"):
        grounder.ground(clip, "track the object at [50, 50, 50, 50]", task="vot")
