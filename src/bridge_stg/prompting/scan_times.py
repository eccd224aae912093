"""Scans of what happens several times: their seconds in order, and the times of the event one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, pairwise

from bridge_stg.prompting.templates import AFTER, BEFORE

# Who is meant and what for, a word for each second, and the end of the sentence.
_SCAN = re.compile(r"([^.:]+:) (\d+ [a-z]+(?: \d+ [a-z]+)*)\.")
# Where a scan begins, and its word for a second.
_HEAD = re.compile(r"[^.:]+:(?= \d)")
_WORD = re.compile(r" [a-z]+(?=[ .])")
_SECOND = re.compile(r"\b\d+(?:\.\d+)?\b")


def left_out(said: str, seconds: Sequence[int]) -> tuple[int, str] | None:
    """Where a scan goes on without naming its next second, and that second.

    Args:
        seconds: at which the frame pairs of the clip begin, in order.

    Returns:
        How many letters are right, and what should follow them. None for a scan that leaves no second out,
        or that ends early, and for what is no scan.

    Examples:
        >>> left_out("The star spins: 0 before 1 spins spins 3 after. It happens ...", [0, 1, 2, 3])
        (32, ' 2')
        >>> left_out("The star spins: 0 before 1 spins.", [0, 1, 2, 3]) is None
        True
    """
    head = _HEAD.match(said)
    if head is None:
        return None
    place = head.end()
    for second in seconds:
        named = said.startswith(f" {second} ", place)
        word = _WORD.match(said, place + len(f" {second}")) if named else None
        if word is None:
            return None if said.startswith(".", place) else (place, f" {second}")
        place = word.end()
    return None


def told_later(reasoning: str, start: float) -> str:
    """A scan of a clip that begins at ``start`` seconds, in seconds of the video; "" for what is no scan.

    Examples:
        >>> told_later("The star spins: 0 before 1 spins 2 after. It happens from 1 to 1.", 8.0)
        'The star spins: 8 before 9 spins 10 after. It happens from 9 to 9.'
        >>> told_later("The star spins: 0 before 1 spins.", 8.26)
        'The star spins: 8.3 before 9.3 spins.'
        >>> told_later("It must be the star of second 3.", 8.0)
        ''
    """
    head = _HEAD.match(reasoning)
    if head is None:
        return ""
    told = _SECOND.sub(
        lambda match: f"{float(match[0]) + start:.1f}".removesuffix(".0"), reasoning[head.end() :]
    )
    return head[0] + told


def each_time(reasoning: str) -> list[str]:
    """The scan once for each time at which it sees the event; the other times are told as before or after.

    Returns:
        Nothing where the scan sees the event once or never, or where it is not one word a second.

    Examples:
        >>> for scan in each_time("The star spins: 0 spins 1 after 2 after 3 spins 4 ends. It happens ..."):
        ...     print(scan)
        The star spins: 0 spins 1 after 2 after 3 after 4 after.
        The star spins: 0 before 1 before 2 before 3 spins 4 ends.
        >>> each_time("The star spins: 0 before 1 spins 2 after.")
        []
    """
    match = _SCAN.match(reasoning)
    if match is None:
        return []
    parts = match[2].split()
    seconds, words = [int(part) for part in parts[::2]], parts[1::2]
    if any(after <= before for before, after in pairwise(seconds)):
        return []

    times = _seen(words)
    if len(times) < 2:
        return []
    found = []
    for first, last in times:
        told = [BEFORE] * first + words[first : last + 1] + [AFTER] * (len(words) - last - 1)
        scan = " ".join(f"{second} {word}" for second, word in zip(seconds, told, strict=True))
        found.append(f"{match[1]} {scan}.")
    return found


def _seen(words: list[str]) -> list[tuple[int, int]]:
    """First and last place of each time at which something is seen."""
    found = []
    for seen, group in groupby(range(len(words)), key=lambda place: words[place] not in (BEFORE, AFTER)):
        if seen:
            places = list(group)
            found.append((places[0], places[-1]))
    return found
