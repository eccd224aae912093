"""Answers to windows: what is written is read, and nothing else is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.prompting.parsing import parse_window
from bridge_stg.prompting.templates import WINDOW_WORDINGS, WINDOW_WORDINGS_WITH_FRAMES, window_text
from bridge_stg.types import TimeSpan


@pytest.mark.parametrize(
    ("answer", "window"),
    [
        ("The event starts at 12.2 seconds and ends at 14.7 seconds.", (12.2, 14.7)),
        ("It starts at 0.0 seconds and ends at 9.5 seconds.", (0.0, 9.5)),
        ("The start and end frames are: [24, 29]. It is between 3.0 seconds and 4.5 seconds.", (3.0, 4.5)),
        ("between 3 and 4.5 s", (3.0, 4.5)),
        ("from 3s to 4.5s", (3.0, 4.5)),
        ("3-5 seconds", (3.0, 5.0)),
        ("<3.0 seconds> to <4.0 seconds>", (3.0, 4.0)),
        ("3 s - 5 s", (3.0, 5.0)),
        ("3.0 s -5.0 s", (3.0, 5.0)),
        ("From 3.0 until 4.5 Seconds", (3.0, 4.5)),
        # Other numbers are no times.
        ("The 2 circles move from 3.0 to 4.5 seconds", (3.0, 4.5)),
        ("Event 1 starts at 2.0 seconds and ends at 4.0 seconds", (2.0, 4.0)),
        ("Between 3 and 4.5 seconds, 2 circles and 1 star move", (3.0, 4.5)),
        ("frames 24 to 29, which is 12.2 s to 14.7 s", (12.2, 14.7)),
        # Two decimal numbers alone.
        ("2.1 to 4.6", (2.1, 4.6)),
        ("from 2.1 to 4.6.", (2.1, 4.6)),
        ("(2.1, 4.6)", (2.1, 4.6)),
        ("-1.5 to 4.6", (-1.5, 4.6)),
        # As they stand: what a reversed, equal or negative window means is the caller's business.
        ("starts at 5.0 seconds and ends at 2.0 seconds", (5.0, 2.0)),
        ("starts at 2.0 seconds and ends at 2.0 seconds", (2.0, 2.0)),
        ("starts at -1.5 seconds and ends at 2.0 seconds", (-1.5, 2.0)),
        # The bracket of frame indices was cut off by the length limit.
        ("It starts at 1.0 seconds and ends at 2.0 seconds. [2, 4", (1.0, 2.0)),
        (f"from {'9' * 400} to 5 seconds", (float("inf"), 5.0)),
    ],
)
def test_two_times_are_read(answer: str, window: tuple[float, float]) -> None:
    assert parse_window(answer) == window


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Nothing happens.",
        "It starts at 12.2 seconds.",
        "The start and end frames are: [24, 29].",
        "It starts at 1.0 seconds. The frames are [2, 4",
        "1.2.3",
        "1 min 20 s to 1 min 30 s",
        "from one minute 20 seconds to one minute 30 seconds",
        "500 ms to 900 ms",
        "2m 3s to 2m 5s",
        # More than two times, or a time and some other number: which two is a guess.
        "From 2.0, until 4.0, and again at 7.0.",
        "from 2.0 to 4.0 seconds and again at 7.0 seconds",
        "from 1.0 to 2.0 to 3.0 seconds",
        "Event 1 - 3.0 seconds to 4.5 seconds",
        "The 2 circles move at 3.0 seconds",
        "2 to 4",
        "2 circles and 4 squares",
        "1e-5 seconds to 2.0 seconds",
        "version 1.2.3 of 4.5.6",
        "red2 and blue3",
        "at 1:23 until 1:30",
        "1,5 bis 2,5 Sekunden",
        "1e5 or 2e5",
        ".5 to .7",
    ],
)
def test_other_than_two_times_are_no_window(answer: str) -> None:
    assert parse_window(answer) is None


# Tenths of a second up to three hours: what an answer can say.
TENTHS = st.integers(0, 108_000)


@given(TENTHS, TENTHS, st.sampled_from(WINDOW_WORDINGS + WINDOW_WORDINGS_WITH_FRAMES), TENTHS, TENTHS)
def test_every_wording_reads_back_what_was_written(
    start: int, length: int, wording: str, first: int, last: int
) -> None:
    span = TimeSpan(start / 10, (start + length) / 10)
    assert parse_window(window_text(span, wording, first, last)) == (span.start, span.end)


NUMBERS = st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,3})?", fullmatch=True)
WORDS = st.sampled_from(["at", "circles", "[3, 4]", "x2", "1.2.3", "until 7:15", "(a)", "3,5", "event", "1st"])


@given(st.lists(NUMBERS | WORDS, max_size=8), st.lists(NUMBERS, max_size=4), st.randoms())
def test_only_numbers_with_a_unit_are_times(words: list[str], times: list[str], random: random.Random) -> None:
    """Times among other numbers, however they are mixed: read when there are two of them."""
    pieces = [f"and {word} things" for word in words] + [f"and {time} seconds" for time in times]
    random.shuffle(pieces)
    order = [float(piece.split()[1]) for piece in pieces if piece.endswith("seconds")]
    expected = (order[0], order[1]) if len(order) == 2 else None
    assert parse_window(" ".join(pieces)) == expected
