"""What follows from an answer: a status, and the window that counts."""

from __future__ import annotations

from dataclasses import dataclass

from bridge_stg.prompting.parsing import parse_window
from bridge_stg.types import Status, TimeSpan


@dataclass(frozen=True)
class Outcome:
    """A status, and the window on the clock of the file where there is one."""

    status: Status
    window: TimeSpan | None = None


def read_outcome(text: str, extent: TimeSpan) -> Outcome:
    """The window an answer names, cut to the clip; a reason instead where there is none.

    Args:
        text: its seconds count from the beginning of the clip.
        extent: the clip, on the clock of the file.
    """
    numbers = parse_window(text)
    if numbers is None:
        return Outcome("no_window")
    return cut_outcome(numbers[0], numbers[1], extent)


def cut_outcome(start: float, end: float, extent: TimeSpan) -> Outcome:
    """A window as a model named it, in seconds of the clip; "empty_window" if nothing of it is in the clip."""
    # Cut as numbers: what a model writes need not be finite.
    start, end = max(start, 0.0), min(end, extent.length)
    if end <= start:
        return Outcome("empty_window")
    window = TimeSpan(start, end)
    if extent.start == 0:
        return Outcome("ok", window)
    moved = window.shifted(extent.start).cut_to(extent)
    return Outcome("empty_window") if moved is None else Outcome("ok", moved)


def cut_note(cut: bool, limit: int) -> tuple[str, ...]:
    """What is said of an answer that did not end by itself."""
    return (f"the answer was cut at {limit} tokens",) if cut else ()
