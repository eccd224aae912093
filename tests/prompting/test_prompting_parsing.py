"""Answers to windows: what is written is read, and nothing else is."""

from __future__ import annotations

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
        ("From 2.0, until 4.0, and again at 7.0.", (2.0, 4.0)),
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
        "version 1.2.3 of 4.5.6",
        "red2 and blue3",
        "at 1:23 until 1:30",
        "1,5 bis 2,5 Sekunden",
        "1e5 or 2e5",
        ".5 to .7",
    ],
)
def test_fewer_than_two_plain_times_are_no_window(answer: str) -> None:
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
WORDS = st.sampled_from(["at", "to", "seconds", "[3, 4]", "x2", "1.2.3", "until 7:15", "(a)", "3,5"])


@given(st.lists(NUMBERS | WORDS, max_size=8))
def test_the_first_two_plain_numbers_among_words(words: list[str]) -> None:
    numbers = [float(word) for word in words if word.replace(".", "", 1).isdigit()]
    expected = (numbers[0], numbers[1]) if len(numbers) > 1 else None
    assert parse_window(" ".join(words)) == expected
