"""Since when a given box holds: the forms in which people write it, and what looks like a time and is none.

A time stands behind the box ("track it at [100, 250, 500, 900] from 1.5 seconds"). Where there is none, one
with which the query begins, or that follows "from" or "since", is read as well. Other times before the box are
part of what is to be tracked ("the dog that barks at 3 s at [...]").
"""

from __future__ import annotations

import re

# What a time begins with: what leaves no doubt, what does so right behind the box alone, and what may follow.
_SINCE = r"\b(?:from|since|as of|(?:start|begin)(?:s|n?ing)? (?:at|from|with))"
_AT = r"(?:\b(?:at|after|in|on|when)|@)"
# What says that a time is an end, or one of two.
_SPAN = r"(?:between|during|within|until|till|before|by|for)"
_ABOUT = r"(?:(?:the|about|around|roughly|approximately) ){0,2}"

_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_SECONDS = r"s(?:ecs?|econds?)?"
# What can be read: 2 s, 2.5 seconds, t=2s, second 2, the 2nd second, by which people mean that a clock shows 2.
# Not the first of two: 1 s to 3, 1-3 s.
_READ = re.compile(
    rf"(?:the )?(?:t ?= ?(?P<t>{_NUMBER})(?: ?{_SECONDS})?|second (?P<second>{_NUMBER})"
    rf"|(?P<number>{_NUMBER})(?: ?{_SECONDS}|(?:st|[nr]d|th) second))"
    r"(?![\w:=%]|[.,]\d)(?![ ,(]*(?:(?:to|until|till|through|or)\b|and \d|[-\u2013\u2014~/]|\.\.))",
    re.IGNORECASE,
)

# What looks like a time: whatever begins like a number, with a unit of time before or behind it, or in words.
# "From the second row" is a place, and "from the first frame" the beginning.
_NUMBERISH = r"(?<![\w.,:+~/-])[-+~]?\.?\d[^ ()\[\];]*"
_UNIT_WORD = r"(?:secs?|seconds?|ms|msecs?|milliseconds?|mins?|minutes?|hours?|frames?)"
_UNIT = rf"(?:s|{_UNIT_WORD})\b"
_TIME = (
    rf"(?:\bt ?= ?\S+|\b{_UNIT_WORD}\.?[ :=#]{{1,3}}(?:(?:no\.?|number) )?{_NUMBERISH}|(?<![\w.,:])\d+:\d\d"
    rf"|(?<![\w.,:+~/-])[-+~]?\d{{0,9}}[.,]?\d{{1,9}}{_UNIT}"
    rf"|{_NUMBERISH}(?: ?(?:to|until|till|and|or|-|\u2013|\u2014) ?(?:the )?{_NUMBERISH})? {_UNIT}"
    r"|\b[^\W\d]+ (?:seconds|minutes)\b"
    r"|\b(?:one|half a|first|second|third|last|next) (?:second|minute)\b|\blast frame\b)"
)
_BEHIND = re.compile(
    rf"{_SINCE} (?P<since>{_ABOUT}{_TIME}|{_NUMBERISH})|(?:{_AT} ?)?(?P<at>{_ABOUT}{_TIME})", re.IGNORECASE
)
_BEFORE = re.compile(
    rf"{_SINCE} (?P<since>{_ABOUT}{_TIME})|^(?:{_AT} ?|(?={_SPAN} ))(?P<at>(?:{_SPAN} )?{_ABOUT}{_TIME})",
    re.IGNORECASE,
)
# What may stand between a box and its time.
_BETWEEN = " ,;:.("


def read_time(before: str, behind: str) -> tuple[float | None, str]:
    """Since when a box holds, by the words before and behind it.

    Returns:
        Seconds, None where they cannot be read; and the words that say so, "" where none do: it is second 0.

    Examples:
        >>> read_time("track it at ", " since 2 s"), read_time("track it at ", "")
        ((2.0, '2 s'), (0.0, ''))
        >>> read_time("track it at ", " from frame 50"), read_time("From 2.5 s on track it at ", "")
        ((None, 'frame 50'), (2.5, '2.5 s'))
    """
    text = " ".join(behind.split())
    found = list(_BEHIND.finditer(text))
    if not found:
        text = " ".join(before.split())
        found = list(_BEFORE.finditer(text))
    if not found:
        return 0.0, ""

    first = found[0]
    place = first.start("since") if first["since"] else first.start("at")
    read = _READ.match(text, place)
    near = first["since"] or not text[: first.start()].strip(_BETWEEN)
    if read is None or not near or len(found) > 1:
        return None, text[place:].rstrip(_BETWEEN + ")")
    return float(read["t"] or read["second"] or read["number"]), read[0]
