"""Tubes as a person writes them: JSON Lines with a tube per line, or CSV with a box per row.

The fields are documented in docs/data.md. Frames count from 0, windows are half-open, seconds are on the clock
of the video, boxes are ``x1, y1, x2, y2`` in pixels.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from bridge_stg.curation.annotations.drawn_tubes import Drawing, Item, Keyframe, finite, separate, whole
from bridge_stg.curation.reading.folder import read_lines
from bridge_stg.curation.reading.outcome import Unusable, take
from bridge_stg.errors import DataError
from bridge_stg.files.json_lines import read_objects
from bridge_stg.types import Box

_FACTS = ("fps", "frame_count", "width", "height")
_FIELDS = ("video", "query", "id", "qtype", "split", "window", "start", "end", "boxes", "interpolate", *_FACTS)
_CORNERS = ("x1", "y1", "x2", "y2")
_COLUMNS = ("video", "query", "frame", *_CORNERS, "start", "end", "id", "qtype", "split", *_FACTS)


def read_json_lines(path: Path, where: str) -> Iterator[Item]:
    """One item per line.

    Raises:
        DataError: a line that is no JSON object, naming file and line.
    """
    for number, line in read_objects(path):
        place = f"{where}:{number}"
        yield Item(str(number), place, _video(line, f"{path}:{number}"), partial(_from_line, line))


def _video(row: dict[str, Any], place: str) -> str:
    video = row.get("video")
    if not isinstance(video, str) or not video.strip():
        raise DataError(f"{place}: needs the field 'video', a path below the folder")
    return video.strip()


def _from_line(line: dict[str, Any]) -> Drawing:
    unknown = sorted(set(line) - set(_FIELDS))
    if unknown:
        raise Unusable("an unknown field", f"{', '.join(unknown)}; known are {', '.join(_FIELDS)}")

    boxes: dict[int, Box] = {}
    for name, box in (take(line, "boxes", dict) if "boxes" in line else {}).items():
        frame = whole(name, "frame of a box")
        if frame in boxes or not isinstance(box, list) or len(box) != 4:
            raise Unusable(
                "malformed", f"boxes need one [x1, y1, x2, y2] per frame, frame {name}: {str(box)[:40]}"
            )
        x1, y1, x2, y2 = (finite(value, f"box of frame {frame}") for value in box)
        boxes[frame] = (x1, y1, x2, y2)

    window = None
    if "window" in line:
        ends = take(line, "window", list)
        if len(ends) != 2:
            raise Unusable("malformed", f"'window' must be two frames, got {ends}")
        window = (whole(ends[0], "window"), whole(ends[1], "window"))

    moving = "interpolate" in line and take(line, "interpolate", bool)
    return Drawing(
        query=take(line, "query", str),
        keys=_moving(boxes) if moving else separate(boxes),
        window=window,
        seconds=_seconds(line.get("start"), line.get("end")),
        **_about(line),
    )


def _about(row: dict[str, Any]) -> dict[str, Any]:
    """The optional fields that both files share; an empty cell says nothing."""
    said = {name: value for name, value in row.items() if value not in (None, "")}
    found: dict[str, Any] = {name: whole(said[name], name) for name in _FACTS[1:] if name in said}
    if "fps" in said:
        found["fps"] = finite(said["fps"], "fps")
    return found | {name: str(said[name]) for name in ("id", "qtype", "split") if name in said}


def _moving(boxes: dict[int, Box]) -> tuple[Keyframe, ...]:
    """Straight lines between the given boxes, and none after the last one."""
    keys = [Keyframe(frame, boxes[frame]) for frame in sorted(boxes)]
    return (*keys, Keyframe(keys[-1].frame + 1, None)) if keys else ()


def _seconds(start: Any, end: Any) -> tuple[float, float] | None:
    if start in (None, "") and end in (None, ""):
        return None
    return finite(start, "start"), finite(end, "end")


def read_csv(path: Path, where: str) -> Iterator[Item]:
    """One item per (video, id, query); its boxes are in as many rows.

    Raises:
        DataError: no header, an unknown column, or a row of another length, naming file and line.
    """
    reader = csv.reader(read_lines(path))
    tubes: dict[tuple[str, str, str], list[tuple[int, dict[str, Any]]]] = {}
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header)
        for cells in reader:
            if not cells:
                continue

            number = reader.line_num
            if len(cells) != len(header):
                raise DataError(f"{path}:{number}: {len(cells)} values for {len(header)} columns")
            row = dict(zip(header, map(str.strip, cells), strict=True))
            key = (_video(row, f"{path}:{number}"), row.get("id", ""), row["query"])
            tubes.setdefault(key, []).append((number, row))
    except csv.Error as problem:
        raise DataError(f"{path}:{reader.line_num}: not a CSV line ({problem})") from problem

    for (video, _, query), rows in tubes.items():
        first = rows[0][0]
        yield Item(str(first), f"{where}:{first}", video, partial(_from_rows, query, rows))


def _check_header(path: Path, header: list[str]) -> None:
    unknown = sorted(set(header) - set(_COLUMNS))
    if not unknown and {"video", "query"} <= set(header) and len(set(header)) == len(header):
        return

    odd = f"unknown column {unknown[0]!r}" if unknown else "needs each of video and query once"
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        odd = "values are separated by commas"
    raise DataError(f"{path}:1: the first line must name the columns: {odd}; known are {', '.join(_COLUMNS)}")


def _from_rows(query: str, rows: list[tuple[int, dict[str, Any]]]) -> Drawing:
    boxes: dict[int, Box] = {}
    for number, row in rows:
        given = [row.get(name, "") for name in ("frame", *_CORNERS)]
        if not any(given):
            continue

        frame = whole(given[0], f"frame in line {number}")
        if frame in boxes:
            raise Unusable("frames that do not increase", f"line {number}: a second box in frame {frame}")
        x1, y1, x2, y2 = (finite(value, f"box in line {number}") for value in given[1:])
        boxes[frame] = (x1, y1, x2, y2)

    # What is said about the whole tube may stand in every row, but it may not differ.
    shared = [name for name in rows[0][1] if name not in ("frame", *_CORNERS)]
    about = rows[0][1]
    for (_, before), (number, row) in pairwise(rows):
        changed = next((name for name in shared if row[name] != before[name]), None)
        if changed:
            raise Unusable("rows of one tube differ", f"line {number}: {changed} changes within a tube")

    seconds = _seconds(about.get("start"), about.get("end"))
    return Drawing(query=query, keys=separate(boxes), seconds=seconds, **_about(about))
