"""The exact words the model is given and taught."""

from __future__ import annotations

import numpy as np
import pytest

from bridge_stg.prompting.parsing import parse_windows, says_absent
from bridge_stg.prompting.templates import (
    ABSENT,
    PROMPTS,
    SCAN_HINT,
    box_text,
    choices_text,
    prompt_text,
    window_text,
    windows_text,
)
from bridge_stg.prompting.timestamps import pair_timestamps, timestamp_text
from bridge_stg.types import WINDOW_TASKS, TimeSpan


def test_timestamps_are_the_mean_of_each_pair_with_one_decimal() -> None:
    times = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    # 0.25 and 1.25 lie between two tenths; both go to the even one, as Qwen3-VL's own formatting does.
    assert pair_timestamps(times) == ["<0.2 seconds>", "<1.2 seconds>", "<2.0 seconds>"]


def test_timestamps_of_a_real_rate() -> None:
    # Frames 0, 15, 30, 45 of 30000/1001: 0, 0.5005, 1.001, 1.5015 s.
    times = np.array([0, 15, 30, 45]) * 1001 / 30000
    assert pair_timestamps(times) == ["<0.3 seconds>", "<1.3 seconds>"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "<0.0 seconds>"),
        (9.96, "<10.0 seconds>"),
        (123.44, "<123.4 seconds>"),
        (3600.0, "<3600.0 seconds>"),
    ],
)
def test_timestamp_text(seconds: float, text: str) -> None:
    assert timestamp_text(seconds) == text


@pytest.mark.parametrize("task", sorted(PROMPTS))
def test_a_query_is_plain_text(task: str) -> None:
    # Braces and percent signs are not read as a format.
    text = prompt_text(task, "  a {query} {0} {} %s \\d  ")
    assert text.endswith("a {query} {0} {} %s \\d")


def test_window_text_uses_one_decimal_and_the_frames() -> None:
    wording = "from {start:.1f} to {end:.1f}, [{first}, {last}]"
    assert window_text(TimeSpan(1.26, 2.349), wording, 3, 4) == "from 1.3 to 2.3, [3, 4]"


def test_choices_are_lettered_in_order() -> None:
    assert choices_text("Which?", ("x", "y", "z")) == "Which? (A) x (B) y (C) z"


def test_a_box_is_on_the_grid_of_a_thousand() -> None:
    assert box_text((0.0, 0.0004, 0.9996, 1.0)) == "[0, 0, 1000, 1000]"


@pytest.mark.parametrize("task", PROMPTS)
def test_only_questions_about_time_can_be_asked_for_a_scan(task: str) -> None:
    plain, scan = prompt_text(task, "red"), prompt_text(task, "red", "scan")
    assert (scan == SCAN_HINT + plain) == (task in WINDOW_TASKS)
    assert scan.endswith(plain)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_windows_are_read_back(count: int) -> None:
    spans = [TimeSpan(4.0 * number + 0.5, 4.0 * number + 2.0) for number in range(count)]
    assert parse_windows(windows_text(spans)) == [(span.start, span.end) for span in spans]
    assert not says_absent(windows_text(spans))


def test_a_refusal_has_no_window() -> None:
    assert says_absent(ABSENT)
    assert parse_windows(ABSENT) == []
    assert not says_absent("This happens from 2.0 to 3.0 seconds.")
