"""``GroundOptions``: everything that can be asked of a grounder beside the video and the sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from bridge_stg.errors import InputError
from bridge_stg.prompting.given_box import check_box_form, names_box
from bridge_stg.types import AnswerStyle, Task, TimeSpan, parse_answer_style, parse_task
from bridge_stg.video.sampling import MAX_FPS

# A window as a caller may give it: a TimeSpan, or its two seconds.
SpanLike = TimeSpan | tuple[float, float]
# Seconds: one pair of frames at the paper's rate, and the grid on which models are asked.
MIN_CHUNK = 1.0


@dataclass(frozen=True, kw_only=True)
class GroundOptions:
    """What a caller may ask for; the same for every grounder, checked when it is made.

    Fields:
        task: "stvg" (window and boxes), "vtg" (window), "vot" (boxes in the whole clip; the query names the
            object's first box in thousandths of the frame: "the dog at [100, 250, 500, 900]"), "rec" (one box
            in the frame that is shown when the clip begins, read as an image) or "vqa" (an answer in words,
            without window). None is "rec" for an image, "vot" for sentences that give a box, and else "stvg";
            a box with an image or a window needs a name.
        clip: only this part of the video is read, as if it were a video of its own; times of the results are on
            the clock of the file all the same.
        window: replaces the predicted windows; one for all sentences, or one per sentence.
        times: seconds of pictures that have no clock of their own.
        box_fps: boxes per second; None for the frames that the model reads.
        answer: "direct" (the window alone) or "scan" (second by second first); None is what the checkpoint was
            trained for.
        careful: look several times, in all styles and at frames between those that are read, and answer what
            at least half of the looks agree on, with twice as many boxes. It takes about four times as long.
            Only for tasks with a window, and neither where one is given nor a style.
        min_confidence: windows below it are left out; in [0, 1].
        chunk: seconds of the pieces in which a long video is read; None reads it whole unless it is longer than
            what the checkpoint knows.
        max_answer_tokens: an answer is cut there; None is the grounder's own limit.
        max_query_tokens: a longer query is refused; None is the limit of one sentence. Questions that bring a
            text, such as subtitles, need more.
        timing: milliseconds of each stage in the results.

    Raises:
        InputError: a value that means nothing.
    """

    task: Task | None = None
    clip: TimeSpan | None = None
    window: TimeSpan | tuple[TimeSpan, ...] | None = None
    times: tuple[float, ...] | None = None
    box_fps: float | None = None
    answer: AnswerStyle | None = None
    careful: bool = False
    min_confidence: float = 0.0
    chunk: float | None = None
    max_answer_tokens: int | None = None
    max_query_tokens: int | None = None
    timing: bool = False

    def __post_init__(self) -> None:
        if self.task is not None:
            parse_task(self.task)
        if self.answer is not None:
            parse_answer_style(self.answer)

        windows = self.window if isinstance(self.window, tuple) else (self.window,)
        for name, span in (("clip", self.clip), *(("window", one) for one in windows)):
            if span is not None and not isinstance(span, TimeSpan):
                raise InputError(f"{name} must be a TimeSpan of two seconds, got {span!r}")

        if not isinstance(self.careful, bool):
            raise InputError(f"careful must be true or false, got {self.careful!r}")
        if self.careful and self.window is not None:
            raise InputError("careful answers find a window themselves; leave out careful, or the window")
        if self.careful and self.answer is not None:
            raise InputError("careful answers are in all styles; leave out careful, or the style of the answer")
        if self.box_fps is not None and not (is_number(self.box_fps) and 0 < self.box_fps <= MAX_FPS):
            raise InputError(f"box_fps must be a positive number up to {MAX_FPS:.0f}, got {self.box_fps!r}")
        if not (is_number(self.min_confidence) and 0 <= self.min_confidence <= 1):
            raise InputError(f"min_confidence must be a number from 0 to 1, got {self.min_confidence!r}")
        if self.chunk is not None and not (is_number(self.chunk) and MIN_CHUNK <= self.chunk < math.inf):
            raise InputError(
                f"chunk must be a number of seconds, at least {MIN_CHUNK:g} for a pair of frames; "
                f"got {self.chunk!r}"
            )
        for name in ("max_answer_tokens", "max_query_tokens"):
            limit = getattr(self, name)
            if limit is not None and not (is_whole(limit) and limit >= 1):
                raise InputError(f"{name} must be a positive whole number, got {limit!r}")

    def task_for(self, queries: Sequence[str], still: bool) -> Task:
        """The task that was named, or the one that the sentences about a video, or a ``still`` image, are of.

        >>> GroundOptions().task_for(["track it at [100, 250, 500, 900]"], still=False)
        'vot'

        Raises:
            InputError: some of them give a box to track and others none, one gives it with an image or a
                window, or holds what looks like a box and is none.
        """
        if self.task is not None:
            return self.task
        boxed = [query for query in queries if names_box(query)]
        if boxed and (still or self.window is not None):
            cure = "give a video, or say in words what to find" if still else "leave out the window"
            raise InputError(f"{boxed[0]!r}: gives a box, which is tracked through a whole video; {cure}")
        if still:
            return "rec"
        for query in queries:
            check_box_form(query)
        if 0 < len(boxed) < len(queries):
            raise InputError(f"{boxed[0]!r}: gives a box to track, and another sentence none; ask them apart")
        return "vot" if boxed else "stvg"

    def windows_for(self, count: int) -> list[TimeSpan] | None:
        """The given windows, one for each of ``count`` sentences; None if the caller gave none.

        Raises:
            InputError: neither one window nor one per sentence.
        """
        if self.window is None or isinstance(self.window, TimeSpan):
            return None if self.window is None else [self.window] * count
        if len(self.window) != count:
            raise InputError(
                f"give one window for all {count} sentences, or a list of {count}; got {len(self.window)}"
            )
        return list(self.window)


def as_span(name: str, value: object) -> TimeSpan:
    """A window that a caller gave as a TimeSpan or as two seconds; ``name`` is for the message.

    >>> as_span("clip", (1, 2.5))
    TimeSpan(start=1.0, end=2.5)

    Raises:
        InputError: neither, or it ends before it starts.
    """
    if isinstance(value, TimeSpan):
        return value
    pair = _pair(value)
    if pair is None:
        raise InputError(f"{name} must be a TimeSpan or two seconds (start, end), got {value!r}")
    try:
        return TimeSpan(*pair)
    except ValueError as problem:
        raise InputError(f"{name}: {problem}") from problem


def as_windows(value: object) -> TimeSpan | tuple[TimeSpan, ...]:
    """One window for all sentences, or a list with one per sentence.

    >>> as_windows([(1, 2), TimeSpan(3.0, 4.0)])
    (TimeSpan(start=1.0, end=2.0), TimeSpan(start=3.0, end=4.0))

    Raises:
        InputError: neither.
    """
    if isinstance(value, TimeSpan) or _pair(value) is not None:
        return as_span("window", value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(as_span("window", one) for one in value)
    raise InputError(f"window must be a TimeSpan or two seconds, or a list of them, got {value!r}")


def as_times(value: object) -> tuple[float, ...]:
    """Seconds of pictures, from any sequence or array of numbers.

    Raises:
        InputError: it holds something else.
    """
    try:
        return tuple(float(second) for second in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as problem:
        raise InputError(f"times must be a list of seconds, got {value!r}") from problem


def is_number(value: object) -> bool:
    """A number that is no bool: NumPy's are numbers too."""
    if isinstance(value, bool | np.bool_):
        return False
    return hasattr(value, "__float__") and not hasattr(value, "__len__")


def is_whole(value: object) -> TypeGuard[int]:
    """A whole number that is no bool: NumPy's are whole numbers too."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _pair(value: object) -> tuple[float, float] | None:
    """Two numbers, of whatever kind of sequence; None if it is something else."""
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return None
    numbers = list(value)
    if len(numbers) != 2 or not all(map(is_number, numbers)):
        return None
    return float(numbers[0]), float(numbers[1])
