"""Reading a window out of an answer. What cannot be read is None; nothing is invented."""

from __future__ import annotations

import re

from bridge_stg.prompting.templates import AFTER, BEFORE

# An answer that was cut off can leave the bracket open; its frame indices are still no seconds.
_FRAME_LIST = re.compile(r"\[[^\]]*(?:\]|$)")
_SECONDS = r"(?:seconds?|secs?|s)\b"
# Not a number: part of a word, a version ("1.2.3"), a clock time ("1:23"), or digits around a comma, which
# different people read differently. The unit may be stuck to it ("4.5s").
_PLAIN = rf"(?<![\w.])(?<!\w-)(?<!\d[,:])-?\d+(?:\.\d+)?(?!\.\d)(?![,:]\d)(?:(?!\w)|(?={_SECONDS}))"
_NUMBER = re.compile(_PLAIN, re.IGNORECASE)
# One of several that are known to be times.
_DIGITS = re.compile(r"-?\d+(?:\.\d+)?")
# A dash between two times is the word "to", never a sign: "3-5 s", "3 s - 5 s".
_DASH = re.compile(rf"(?<=\d)(\s*{_SECONDS})?\s*[-\u2013\u2014]\s*(?=\d)", re.IGNORECASE)
_TO = r"\s*(?:to|until|till|through)\s*"
# The numbers that one "seconds" speaks for: its own, and those joined to it.
_BOUND = re.compile(
    rf"(?:between\s+{_PLAIN}\s*and\s*{_PLAIN}|{_PLAIN}(?:{_TO}{_PLAIN})*)\s*{_SECONDS}", re.IGNORECASE
)
# Times in other units are not put together from parts.
_OTHER_UNIT = re.compile(
    r"(?<![a-z])(?:minutes?|mins?|hours?|hrs?|milliseconds?|msecs?)\b|\d\s*(?:ms|m|h)\b", re.IGNORECASE
)
# Nothing but two decimal numbers: what else could they be?
_BARE = re.compile(
    r"[\s(<]*(?:from\s|between\s)?\s*(-?\d+\.\d+)\s*(?:to|until|till|through|and|,)\s*(-?\d+\.\d+)[\s)>.]*",
    re.IGNORECASE,
)


# A second of a scan and what it says of it.
_SCAN_WORD = re.compile(r"\b\d+ ([a-z]+)\b")
_LETTER_AFTER = re.compile(r"(?<=[\w.!?])\s*\([A-Za-z]\)\W*$")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
# "This does not happen.", "The event never happens.", "It doesn't happen": nothing before it but who is meant.
_REFUSAL = re.compile(
    r"\W*(?:no\W+)?(?:this|that|it|the event|such an event)\W+"
    r"(?:does\s*n[o'\u2019]t|does\s+not|never)\s+(?:happens?|occurs?)\b",
    re.IGNORECASE,
)


def says_absent(answer: str) -> bool:
    """Whether the answer says that what was asked for does not happen, and names no window.

    >>> says_absent("This does not happen.")
    True
    >>> says_absent("It does not happen before 2.0 seconds and ends at 3.0 seconds.")
    False
    """
    return _REFUSAL.match(answer) is not None and not parse_windows(answer)


def sees_nothing(reasoning: str) -> bool:
    """Whether a scan says of every second that it is before or after what was asked for.

    >>> sees_nothing("The red circle spins: 0 before 1 before 2 before. It happens from 1 to 1.")
    True
    >>> sees_nothing("The red circle spins: 0 before 1 spins 2 after. It happens from 1 to 1.")
    False
    >>> sees_nothing("It spins.")
    False
    """
    _, _, scan = reasoning.partition(":")
    words = _SCAN_WORD.findall(scan.partition(".")[0])
    return bool(words) and set(words) <= {BEFORE, AFTER}


def parse_windows(answer: str) -> list[tuple[float, float]]:
    """All windows of an answer in seconds, as they stand; empty unless its times come in pairs.

    >>> parse_windows("It starts at 1.0 seconds and ends at 2.5 s. It starts at 7 s and ends at 8 s.")
    [(1.0, 2.5), (7.0, 8.0)]
    >>> parse_windows("It starts at 12.2 seconds.")
    []
    """
    times = _times(answer)
    return list(zip(times[::2], times[1::2], strict=True)) if len(times) % 2 == 0 else []


def parse_window(answer: str) -> tuple[float, float] | None:
    """The two times of an answer in seconds, as they stand; None unless there are exactly two.

    A time is a number that the word "seconds" belongs to: "A seconds", "A to B seconds", "between A and B
    seconds", "A - B s". Other numbers ("the 2 circles") are no times; frame indices in square brackets are a
    cross-check only. An answer of two decimal numbers and no word ("2.1 to 4.6") is read too. The caller
    decides what an empty or reversed window means.

    >>> parse_window("The event starts at 12.2 seconds and ends at 14.7 seconds. The frames are: [24, 29].")
    (12.2, 14.7)
    >>> parse_window("It starts at 12.2 seconds.") is None
    True
    """
    windows = parse_windows(answer)
    return windows[0] if len(windows) == 1 else None


def times_later(answer: str, seconds: float) -> str:
    """An answer with each of its times ``seconds`` later; other numbers, such as frame indices, stay.

    >>> times_later("It starts at 1.0 seconds and ends at 2.5 s.", 8.0), times_later("3-5 s, 2 circles", 8.0)
    ('It starts at 9.0 seconds and ends at 10.5 s.', '11.0 to 13.0 s, 2 circles')
    >>> times_later("1.0,2.5", 8.0), times_later("This does not happen.", 8.0)
    ('9.0,10.5', 'This does not happen.')
    """
    text = _DASH.sub(r"\1 to ", answer)
    if _OTHER_UNIT.search(text):
        return answer
    times = _BOUND if _BARE.fullmatch(text) is None else _BARE
    return times.sub(lambda match: _DIGITS.sub(lambda time: f"{float(time[0]) + seconds:.1f}", match[0]), text)


def split_reasoning(answer: str) -> tuple[str, str]:
    """What an answer says before it comes to the point, and the point: its window or that there is none.

    An answer without either is all point.

    >>> split_reasoning("It moves: 0 before 1 left 2 after. It starts at 1.0 seconds and ends at 2.0 seconds.")
    ('It moves: 0 before 1 left 2 after.', 'It starts at 1.0 seconds and ends at 2.0 seconds.')
    """
    starts = [0, *(match.end() for match in _SENTENCE_END.finditer(answer))]
    for start, end in zip(starts, [*starts[1:], len(answer)], strict=True):
        sentence = answer[start:end]
        if _times(sentence) or says_absent(sentence):
            return answer[:start].strip(), answer[start:].strip()
    return "", answer


def without_letter(answer: str) -> str:
    """The words of a choice, without the letter that may follow them in brackets.

    >>> without_letter("blue (C)."), without_letter("C")
    ('blue', 'C')
    """
    return _LETTER_AFTER.sub("", answer)


def _times(answer: str) -> list[float]:
    """The times of an answer in the order in which they stand."""
    text = _DASH.sub(r"\1 to ", _FRAME_LIST.sub(" ", answer))
    if _OTHER_UNIT.search(text):
        return []

    bare = _BARE.fullmatch(text)
    if bare is not None:
        return [float(bare[1]), float(bare[2])]
    return [float(number) for match in _BOUND.finditer(text) for number in _NUMBER.findall(match[0])]
