"""What follows from an answer: a status, and the windows that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bridge_stg.inference.decoded_answers import DecodedAnswer
from bridge_stg.prompting.parsing import parse_windows, says_absent, sees_nothing, split_reasoning
from bridge_stg.types import Status, TimeSpan, Tube


@dataclass(frozen=True)
class AnswerOutcome:
    """A status, and the windows on the clock of the file in the order of the answer; none unless it is ok.

    ``spoken`` are the same windows as the answer names them.
    """

    status: Status
    windows: tuple[TimeSpan, ...] = ()
    spoken: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Found:
    """What is said of one sentence, what follows from it, and the boxes, if there are any.

    ``tokens_before``: of answers that were read on the way to this one, and are not it.
    """

    answer: DecodedAnswer
    outcome: AnswerOutcome
    tube: Tube | None
    tokens_before: int = 0


def read_outcome(text: str, extent: TimeSpan) -> AnswerOutcome:
    """The windows an answer names, cut to the clip; a reason instead where there is none.

    Args:
        text: its seconds count from the beginning of the clip.
        extent: the clip, on the clock of the file.
    """
    reasoning, point = split_reasoning(text)
    spoken = parse_windows(text)
    # A window after a scan that saw nothing is one that the answer itself does not believe.
    if says_absent(point) or (spoken and sees_nothing(reasoning)):
        return AnswerOutcome("absent")
    return cut_outcome(spoken, extent) if spoken else AnswerOutcome("no_window")


def cut_outcome(spoken: Sequence[tuple[float, float]], extent: TimeSpan) -> AnswerOutcome:
    """Windows as a model named them, in seconds of the clip; "empty_window" if none holds a time of it."""
    inside = [(cut_window(start, end, extent), (start, end)) for start, end in spoken]
    kept = [(window, pair) for window, pair in inside if window is not None]
    if not kept:
        return AnswerOutcome("empty_window")
    windows, pairs = zip(*kept, strict=True)
    return AnswerOutcome("ok", windows, pairs)


def cut_window(start: float, end: float, extent: TimeSpan) -> TimeSpan | None:
    """A window in seconds of the clip on the clock of the file; None if nothing of it is in the clip."""
    # Cut as numbers: what a model writes need not be finite.
    start, end = max(start, 0.0), min(end, extent.length)
    if end <= start:
        return None
    window = TimeSpan(start, end)
    return window if extent.start == 0 else window.shifted(extent.start).cut_to(extent)
