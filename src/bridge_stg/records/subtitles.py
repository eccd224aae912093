"""Subtitle files (SubRip): what is said, and when."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bridge_stg.errors import DataError, unreadable
from bridge_stg.types import TimeSpan

_TIMES = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})\s*-->\s*(\d+):(\d\d):(\d\d)[,.](\d{1,3})")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


def read_subtitles(path: Path) -> tuple[tuple[TimeSpan, str], ...]:
    """(seconds, text) of each subtitle in the order of the file; font tags are taken off, empty ones left out.

    Raises:
        DataError: it cannot be read, is not text, or holds no subtitle.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise unreadable(path, problem) from problem
    except UnicodeDecodeError as problem:
        raise DataError(f"{path}: not a text file ({problem.reason}); download it again") from problem
    found: list[tuple[TimeSpan, str]] = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        at = next((number for number, line in enumerate(lines) if _TIMES.search(line)), None)
        if at is None:
            continue
        times = _TIMES.search(lines[at])
        assert times is not None
        numbers = times.groups()
        start, end = _seconds(numbers[:4]), _seconds(numbers[4:])
        said = " ".join(_TAG.sub("", line).strip() for line in lines[at + 1 :]).strip()
        if said and start <= end:
            found.append((TimeSpan(start, end), said))
    if not found:
        raise DataError(f"{path}: holds no subtitle; is it an .srt file?")
    return tuple(found)


def said_at(subtitles: Iterable[tuple[TimeSpan, str]], times: Iterable[float]) -> tuple[str, ...]:
    """The subtitles shown at any of ``times`` (seconds), each once, in their order.

    >>> said_at([(TimeSpan(0.5, 2.0), "hello"), (TimeSpan(2.0, 3.0), "there")], [1.0, 1.5])
    ('hello',)
    """
    wanted = list(times)
    return tuple(text for span, text in subtitles if any(span.start <= time < span.end for time in wanted))


def _seconds(parts: tuple[str, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds) + float(f"0.{fraction}")
