"""A tube that does not begin at the given box is less sure, and says so."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bridge_stg.errors import InputError
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.inference.tracked import AGREES, given_overlap
from bridge_stg.prompting.given_box import GivenBox, check_box_form, read_given
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
        (" from 2 s of the video", 2.0),
        (") from 2 s", 2.0),
        (" from the beginning", 0.0),
        (" from the first frame on", 0.0),
        (", in the first frame of the clip", 0.0),
        # None of them is a time.
        (" from the left", 0.0),
        (", which doesn't move, in the red T-shirt", 0.0),
        (", the one that spins", 0.0),
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
        ("2 s: track it", 2.0),
        ("t=2: track it", 2.0),
        ("Second 2, track it", 2.0),
        ("(2 s) track it", 2.0),
        ("In the first frame it is", 0.0),
        # Of what is tracked, not of the box.
        ("the dog that barks at 3 s", 0.0),
        ("the player from 2020", 0.0),
        ("2 dogs run; track the left one", 0.0),
        ("The second dog with number 10", 0.0),
        ("A second dog", 0.0),
        ("The 3rd player from the left, in the second row,", 0.0),
        ("At the end of the street track the dog", 0.0),
        ("the dog from the middle", 0.0),
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
    with pytest.raises(InputError, match=re.escape(f"'{word} {since}'")):
        read_given(f"track it at [0, 0, 100, 100] {word} {since}", 5.0)


@pytest.mark.parametrize(
    ("behind", "named"),
    [
        ("for 3 s", "for 3 s"),
        ("that jumps at 3 s", "that jumps at 3 s"),
        ("at 0:02", "at 0:02"),
        ("frames 3 to 5", "frames 3 to 5"),
        (", seconds 2 to 4", ", seconds 2 to 4"),
        (".5 s", ".5 s"),
        (",5 s", ",5 s"),
        ("at 2.5", "at 2.5"),
        ("@2.5", "@2.5"),
        ("(at 2.5)", "(at 2.5)"),
        ("2.5", "2.5"),
        ("at \u00bd s", "at \u00bd s"),
        ("from 2 seconds before the end", "from 2 seconds before the end"),
        ("from 2 seconds ago", "from 2 seconds ago"),
        ("from 2 s or 3 s", "from 2 s or 3 s"),
        ("from 2 s until it leaves", "from 2 s until it leaves"),
        ("from two on", "from two on"),
        ("from halfway on", "from halfway on"),
        ("in the middle of the clip", "in the middle of the clip"),
        ("at the end", "at the end"),
        ("at the two-second mark", "at the two-second mark"),
        ("at the given time", "at the given time"),
        ("at timestamp T", "at timestamp T"),
        ("after the jump", "after the jump"),
        # They may be no time, but stand where times are read.
        ("from the second row", "from the second row"),
        ("with number 10", "with number 10"),
        (", the 3rd from the left", ", the 3rd from the left"),
    ],
)
def test_whatever_may_be_a_time_behind_a_box_is_read_or_named(behind: str, named: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"{named!r} cannot be read")):
        read_given(f"track it at [0, 0, 100, 100] {behind}", 5.0)


@pytest.mark.parametrize(
    ("before", "named"),
    [
        ("from frame 50 on, track it", "from frame 50"),
        ("from 1 to 3 seconds track it", "from 1 to 3 seconds"),
        ("from 1 s to 3 s track it", "from 1 s"),
        ("from frames 3 to 5 track it", "from frames 3"),
        ("Between 2 s and 4 s, track it", "Between 2 s"),
        ("between frames 3 and 5 track it", "between frames 3"),
        ("Until 4 s, track it", "Until 4 s"),
        ("Frame 50: track it", "Frame 50:"),
        ("Frame #50: track it", "Frame #50:"),
        ("At the 2-second mark track it", "At the 2-second"),
        ("The 50th frame: track it", "The 50th frame"),
        ("0:02 track it", "0:02"),
        ("Timestamp 0:02, track it", "Timestamp 0:02,"),
        ("At 2.5, track it", "At 2"),
        ("2.5: track it", "2.5"),
        ("-3 s: track it", "-3 s"),
        ("t=2m: track it", "t=2m:"),
        ("t=2 min: track it", "t=2"),
        ("1,000 s: track it", "1,000 s"),
        ("Two seconds in, track it", "Two seconds"),
        ("From 2 seconds before the end track it", "From 2 seconds"),
        ("2 seconds ago: track it", "2 seconds"),
        ("2 s after the jump track it", "2 s"),
        ("Halfway through, track it", "Halfway"),
        ("From halfway on, track it", "From halfway"),
        ("Frame fifty: track it", "Frame fifty"),
        ("At second two track it", "At second two"),
        ("A minute in, track it", "A minute"),
        ("At the end, track it", "At the end"),
        ("In the middle of the video track it", "In the middle"),
        ("At the last frame track it", "At the last frame"),
    ],
)
def test_a_time_with_which_a_query_begins_is_read_or_named(before: str, named: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"{named!r} cannot be read")):
        read_given(f"{before} at [0, 0, 100, 100]", 5.0)


@pytest.mark.parametrize("since", ["from 5 seconds", "at 99 s"])
def test_a_time_after_the_clip_is_named(since: str) -> None:
    with pytest.raises(InputError, match=f"at '{since}'; give seconds from 0 to less than 5.00"):
        read_given(f"track it at [0, 0, 100, 100] {since}", 5.0)


def test_queries_that_only_a_machine_writes_are_read_at_once() -> None:
    with pytest.raises(InputError, match="names no box"):
        read_given(f"track it at [{'1' * 5000}, 0, 1, 1]", 5.0)
    for words in (" " * 30_000 + "now", " from" * 5_000, " the about" * 3_000):
        assert read_given("track it at [0, 0, 100, 100]" + words, 5.0).second == 0.0
        assert read_given(words + "track it at [0, 0, 100, 100]", 5.0).second == 0.0
    for words in ("1" * 30_000, ":1" * 10_000, " from 2 s" * 5_000, "," * 30_000 + "2"):
        with pytest.raises(InputError, match="cannot be read"):
            read_given("track it at [0, 0, 100, 100]" + words, 5.0)
    for words in ("(" * 30_000, "(1 " * 10_000, "[1,2]a" * 5_000):
        check_box_form(words)


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
