"""Since when a given box holds: the forms that are read, and what is refused because it may say another time.

A time stands behind the box ("track it at [100, 250, 500, 900] from 1.5 seconds"): whatever else there holds a
number or a word of time is refused, so that none is second 0 unsaid. Where there is nothing of that kind, a
time with which the query begins, or that follows "from" or "since", is read or refused as well. Other words
before the box are part of what is to be tracked ("the dog that barks at 3 s at [...]").
"""

from __future__ import annotations

import re
import unicodedata

FORMS = "'from 1.5 seconds', 'at 1.5 s', 't=1.5', 'second 2' or 'from the beginning'"

# What a time begins with: what leaves no doubt, and what does so right behind the box alone.
_SINCE = r"\b(?:from|since|as of|(?:start|begin)(?:s|n?ing)? (?:at|from|with))"
_AT = r"(?:\b(?:at|after|in|on|when)|@)"

_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_SECONDS = r"s(?:ecs?|econds?)?\b"
# What can be read: 2 s, 2.5 seconds, t=2s, second 2, the 2nd second, by which people mean that a clock shows 2.
_READ = (
    rf"(?:the )?(?:t ?= ?(?P<t>{_NUMBER})(?: ?{_SECONDS})?|second (?P<second>{_NUMBER})"
    rf"|(?P<number>{_NUMBER})(?: ?{_SECONDS}|(?:st|[nr]d|th) second)|beginning|start|first frame)(?![\w%])"
    r"(?: on(?:wards?)?\b)?(?: (?:of|in|into) the (?:clip|video)\b)?"
)
_BEHIND = re.compile(
    rf"(?:(?P<free>.*){_SINCE} |(?:[ ()\"']|[.,;:](?!\d))*(?:{_AT} ?)?){_READ}[ .,;:!?()\"']*", re.IGNORECASE
)

_COUNT = "two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|forty|fifty|hundred"
# What says a time, beside numbers. Neither "doesn't" nor a "T-shirt" is a t.
_WORD = re.compile(
    rf"(?<![\w'\u2019-])(?:{_COUNT}|(?:milli)?seconds?|m?secs?|ms|minutes?|mins?|hours?|frames?|times?|timestamps?"
    r"|t|marks?|moments?|half|halfway|midway|middle|end|ending|ago|later|before|after|until|till)"
    r"(?![\w'\u2019])(?!-\w)",
    re.IGNORECASE,
)

# What looks like a time before the box: a number with a unit before or behind it, or in words.
# "From the second row" is a place.
_NUMBERISH = r"[-+~]? ?[.,]?\d[^ ()\[\];]*"
_UNIT_WORD = r"(?:secs?|seconds?|ms|msecs?|milliseconds?|mins?|minutes?|hours?|frames?)"
_UNIT = rf"(?:s|{_UNIT_WORD})\b"
_ABOUT = r"(?:(?:the|about|around|roughly|approximately) ){0,2}"
_TIME = (
    rf"{_ABOUT}(?:t ?= ?\S+|(?:{_UNIT_WORD}|time|timestamp)\.?[ :=#]{{1,3}}(?:(?:no\.?|number) )?{_NUMBERISH}"
    rf"|\d+:\d\d|[-+~]? ?\d{{0,9}}[.,]?\d{{1,9}}[ -]?{_UNIT}"
    rf"|{_NUMBERISH}(?: ?(?:to|until|till|and|or|-|\u2013|\u2014) ?(?:the )?{_NUMBERISH})? {_UNIT}"
    rf"|{_UNIT_WORD} (?:one|{_COUNT})\b|a (?:minute|moment)\b|[^\W\d]+ (?:seconds|minutes|frames)\b"
    r"|(?:one|half a|first|second|third|last|next) (?:second|minute)\b|(?:first|last) frame\b)"
)
# What does so only where the query begins with it. "At the end of the street" is a place.
_BARE = (
    r"(?:(?:from|since|as of|at|after|@) ?[-+~]?[.,]?\d|\d+[.,]\d|\d+ ?:"
    r"|(?:\w+ )?(?:halfway|midway|half ?time)\b"
    r"|\w+ the (?:very )?(?:end|middle)\b(?! of (?!the (?:clip|video)\b)))"
)
_SPAN = r"(?:between|during|within|until|till|before|by|for)"
_BEFORE = re.compile(
    rf"{_SINCE} (?P<since>{_TIME})"
    rf"|^[^\w@+~.,-]*(?:{_SPAN} {_TIME}|(?:(?:{_AT}|{_SINCE}) ?)?(?P<begin>{_TIME})|{_BARE})",
    re.IGNORECASE,
)
_FIRST = re.compile(_READ, re.IGNORECASE)


def read_time(before: str, behind: str) -> tuple[float | None, str]:
    """Since when a box holds, by the words before and behind it.

    Returns:
        Seconds, None where they cannot be read; and the words that say so, "" where none do: it is second 0.

    Examples:
        >>> read_time("track it at ", " since 2 s"), read_time("track it at ", "")
        ((2.0, 'since 2 s'), (0.0, ''))
        >>> read_time("track it at ", " from frame 50"), read_time("From 2.5 s on track it at ", "")
        ((None, 'from frame 50'), (2.5, 'From 2.5 s on'))
    """
    text = " ".join(behind.split())
    if _says_time(text):
        read = _BEHIND.fullmatch(text)
        if read is None or _says_time(read["free"] or ""):
            return None, text
        return _seconds(read), text

    text = " ".join(before.split())
    found = _BEFORE.search(text)
    if found is None:
        return 0.0, ""
    place = max(found.start("since"), found.start("begin"))
    read = _FIRST.match(text, place) if place >= 0 else None
    # What follows may change it: "2 seconds before the end", "1 s to 3 s".
    if read is None or _says_time(text[read.end() :]):
        return None, found[0]
    return _seconds(read), text[found.start() : read.end()]


def _says_time(text: str) -> bool:
    """Whether it holds a number or a word of time."""
    return _WORD.search(text) is not None or any(unicodedata.category(sign)[0] == "N" for sign in text)


def _seconds(read: re.Match[str]) -> float:
    return float(read["t"] or read["second"] or read["number"] or 0)
