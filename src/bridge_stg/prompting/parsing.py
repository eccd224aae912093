"""Reading a window out of an answer. What cannot be read is None; nothing is invented."""

from __future__ import annotations

import re

# An answer that was cut off can leave the bracket open; its frame indices are still no seconds.
_FRAME_LIST = re.compile(r"\[[^\]]*(?:\]|$)")
# A plain decimal number, with or without a unit stuck to it ("4.5s"). Not a number: part of a word, a version
# ("1.2.3"), a clock time ("1:23"), or digits around a comma, which different people read differently.
_NUMBER = re.compile(
    r"(?<![\w.])(?<!\d[,:])-?\d+(?:\.\d+)?(?!\.\d)(?![,:]\d)(?:(?!\w)|(?=(?:s|secs?|seconds?)\b))"
)


def parse_window(answer: str) -> tuple[float, float] | None:
    """The first two times of an answer in seconds, as they stand; None unless there are two.

    Frame indices in square brackets are ignored: the seconds are the answer. The caller decides what an empty
    or reversed window means.

    >>> parse_window("The event starts at 12.2 seconds and ends at 14.7 seconds. The frames are: [24, 29].")
    (12.2, 14.7)
    >>> parse_window("It starts at 12.2 seconds.") is None
    True
    """
    numbers = _NUMBER.findall(_FRAME_LIST.sub(" ", answer))
    if len(numbers) < 2:
        return None
    return float(numbers[0]), float(numbers[1])
