"""How an answer probably goes on: its wording is known, its numbers are guessed.

A draft is only a guess: the model checks every word of it, so a bad one costs time and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bridge_stg.prompting.templates import (
    ABSENT,
    AFTER,
    BEFORE,
    LOCATED,
    WINDOW_WORDINGS,
    WINDOW_WORDINGS_WITH_FRAMES,
    scan_text,
    seen_text,
)

# Nine digits are more than any second has: a model that only writes digits must not make a number too large.
_NUMBER = r"\d{1,9}(?:\.\d+)?"
# A second of a scan and its whole word.
_SECOND = re.compile(r"(\d{1,9}) ([a-z]+)(?=[ .])")
# What follows a scan; a foreseen one may lack its full stop.
_SCAN_END = re.compile(r"\.| +It ")
_SKIPPED = {"the", "a", "an", "which", "what", "that", "who", "does", "is"}


def rest_of(draft: str, text: str) -> str | None:
    """What ``draft`` says after ``text``; None if the text says something else. Numbers may differ.

    >>> rest_of("It starts at 0.0 seconds.", "It starts at 12")
    '.0 seconds.'
    >>> rest_of("It starts at 0.0 seconds.", "It ends") is None
    True
    """
    parts = re.split(f"({_NUMBER})", draft)
    for index, part in enumerate(parts):
        following = "".join(parts[index + 1 :])
        if index % 2 == 0:
            if text.startswith(part):
                text = text[len(part) :]
                continue
            return part[len(text) :] + following if part.startswith(text) else None
        if not text:
            return part + following
        said = re.match(r"\d+(?:\.(?:\d+|$))?", text)
        if said is None:
            return None
        text = text[said.end() :]
        if not text:
            return _rest_of_number(part, said[0]) + following
    return "" if not text else None


def _rest_of_number(guess: str, said: str) -> str:
    """The digits after those of a number that were said already."""
    if guess.startswith(said):
        return guess[len(said) :]
    _, point, tenths = guess.partition(".")
    if not point or re.search(r"\.\d", said):
        return ""
    return tenths if said.endswith(".") else point + tenths


def direct_draft(text: str, guess: str, fps: float = 2.0) -> str:
    """What a short answer probably says after ``text``; "" if no wording begins so.

    Args:
        guess: the answer as far as it is foreseen; only its numbers are taken.
        fps: of the frames whose indices some wordings name.
    """
    numbers = [float(number) for number in re.findall(_NUMBER, guess)]
    start, end = [*numbers[:2], 0.0, 0.0][:2] if len(numbers) != 1 else (numbers[0], numbers[0])
    fields = {"start": start, "end": end, "first": int(start * fps) + 1, "last": int(end * fps)}
    twice = " ".join(WINDOW_WORDINGS)
    for wording in (*WINDOW_WORDINGS_WITH_FRAMES, twice, *WINDOW_WORDINGS, ABSENT, LOCATED):
        rest = rest_of(wording.format(**fields), text)
        if rest:
            return rest
    return ""


def scan_draft(text: str, guess: str, query: str, seconds: Sequence[int]) -> str:
    """What an answer that goes through the clip probably says after ``text``.

    Args:
        guess: the answer as far as it is foreseen; its words and numbers are taken.
        query: whose words name the object.
        seconds: those that the answer goes through.
    """
    head, colon, body = text.partition(":")
    if not colon:
        return _name_draft(text, query)

    # The word of every second: as said, else as foreseen, else not yet seen; nothing is "before" afterwards.
    _, _, foreseen = guess.partition(":")
    scan, *tails = _SCAN_END.split(foreseen, maxsplit=1)
    tail = "".join(tails)
    words = {int(second): word for second, word in _SECOND.findall(scan + ".")}
    words |= {int(second): word for second, word in _SECOND.findall(_finished(body))}
    told: list[tuple[int, str]] = []
    seen: list[int] = []
    for second in seconds:
        word = words.get(second, BEFORE)
        if word in (BEFORE, AFTER):
            word = AFTER if seen else BEFORE
        else:
            seen.append(second)
        told.append((second, word))

    # The sentences after it follow from its words. What was foreseen from other words has the right tenths.
    first, last = (seen[0], seen[-1]) if seen else (0, 0)
    numbers = re.findall(_NUMBER, tail)
    start, end = f"{first}.0", f"{last + 1}.0"
    if len(numbers) >= 4:
        start, end = numbers[2:4]
        if numbers[:2] != [str(first), str(last)]:
            start = f"{first}.{start.partition('.')[2] or 0}"
            end = f"{last}.{end.partition('.')[2] or 0}"
    _, _, listed = scan_text("", "", told).partition(":")
    window = WINDOW_WORDINGS[0].format(start=float(start), end=float(end))
    return rest_of(f"{head}:{listed} {seen_text(first, last)} {window}", text) or ""


def _finished(body: str) -> str:
    """The scan in a text, with a sign after its last word if that is whole."""
    scan, *tails = _SCAN_END.split(body, maxsplit=1)
    return scan + "." if tails else scan


def _name_draft(text: str, query: str) -> str:
    """Words of the query after the last one that was said."""
    asked = [word for word in re.findall(r"[a-z]+", query.lower()) if word not in _SKIPPED]
    said = re.findall(r"[A-Za-z]+", text)
    if len(said) < 2:
        return ("" if said else "The") + "".join(f" {word}" for word in asked) + ":"
    if said[-1] not in asked:
        return ""
    return "".join(f" {word}" for word in asked[asked.index(said[-1]) + 1 :]) + ":"
