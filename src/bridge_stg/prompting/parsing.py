"""Reading a window out of an answer. What cannot be read is None; nothing is invented."""

from __future__ import annotations

import re

_FRAME_LIST = re.compile(r"\[[^\]]*\]")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?!\.\d|\w)")


def parse_window(answer: str) -> tuple[float, float] | None:
    """The first two times of an answer in seconds, as they stand; None unless there are two.

    Frame indices in square brackets are ignored: the seconds are the answer. The caller decides what an empty or
    reversed window means.

    >>> parse_window("The event starts at 12.2 seconds and ends at 14.7 seconds. The frames are: [24, 29].")
    (12.2, 14.7)
    >>> parse_window("It starts at 12.2 seconds.") is None
    True
    """
    numbers = _NUMBER.findall(_FRAME_LIST.sub(" ", answer))
    if len(numbers) < 2:
        return None
    return float(numbers[0]), float(numbers[1])
