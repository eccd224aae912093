"""Label Studio video tasks: frames count from 1 at the tool's own rate, boxes are in percent of the frame.

The tool does not know the rate of a video: it counts at the ``framerate`` of its configuration, or at a
default. So a box belongs to the second at which the tool showed it, and never to its number.

A ``videorectangle`` holds a sequence of drawn boxes; between two of them the box moves on a straight line, and
one with ``enabled: false`` is the last one seen before a gap. The sentence is a ``textarea`` result with the
id of the rectangle; without one the labels are the query.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bridge_stg.curation.annotations.drawn_tubes import (
    LABEL,
    Drawing,
    DrawnTube,
    DrawnVideo,
    Item,
    Keyframe,
    finite,
    plain,
    whole,
)
from bridge_stg.curation.reading.folder import read_json
from bridge_stg.curation.reading.outcome import Unusable, take
from bridge_stg.errors import DataError
from bridge_stg.types import Box

# The names of the tags in the labelling configuration that docs/data.md gives.
_BOX, _QUERY, _VIDEO, _RATE = "box", "query", "video", "fps"
# What an upload puts before the name of a file.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
# Beyond it the tool's timeline is of no use; two frames closer than that share one of the tool's.
MOST_TOOL_FPS = 1000.0
# A hundred-thousandth of a pixel in the widest video there is.
_DIGITS = 9
# Frames of the tool that decide a tie, against the rounding of seconds.
TIE = 1e-6


def read(path: Path, where: str) -> Iterator[Item]:
    """One item per rectangle of an export (the JSON format, not JSON-MIN).

    A task's annotations are read, or its predictions where nobody has annotated it. Cancelled annotations are
    not part of either.

    Raises:
        DataError: not a list of tasks.
    """
    for position, task in enumerate(read_json(path, list)):
        place = f"{where}#[{position}]"
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            raise DataError(f"{path}: [{position}]: a task needs an object 'data' that names its video")

        video = data.get(_VIDEO, next((v for v in data.values() if isinstance(v, str)), None))
        if not isinstance(video, str):
            raise DataError(f"{path}: [{position}].data: names no video")

        for kind in ("annotations", "predictions"):
            given = task.get(kind) or []
            if not isinstance(given, list):
                raise DataError(f"{path}: [{position}].{kind}: must be a list")
            drawn = [one for one in given if isinstance(one, dict) and not one.get("was_cancelled")]
            for number, one in enumerate(drawn):
                results = one.get("result")
                if not isinstance(results, list):
                    raise DataError(f"{path}: [{position}].{kind}[{number}]: has no list 'result'")
                yield from _items(results, f"{position}/{number}", f"{place}.{kind}[{number}]", _local(video))
            if drawn:
                break


def _items(results: list[Any], name: str, where: str, video: str) -> Iterator[Item]:
    said: dict[str, str] = {}
    for result in results:
        if isinstance(result, dict) and result.get("type") == "textarea":
            value = result.get("value")
            text = value.get("text") if isinstance(value, dict) else None
            said[str(result.get("id"))] = (
                " ".join(map(str, text)) if isinstance(text, list) else str(text or "")
            )

    for number, result in enumerate(results):
        if isinstance(result, dict) and result.get("type") == "videorectangle":
            make = partial(_drawing, result, said)
            yield Item(f"{name}/{result.get('id', number)}", f"{where}.result[{number}]", video, make)


def _local(video: str) -> str:
    """A path below the root, or at least the name, from the address that the tool served the video under."""
    parts = urlsplit(video) if "://" in video or video.startswith("/data/") else None
    if parts is None:
        return video
    served = parse_qs(parts.query).get("d")
    if served:
        return served[0].lstrip("/")
    return PurePosixPath(unquote(parts.path)).name


def name_before_upload(name: str) -> str | None:
    """What a file was called before the tool renamed it; None if it did not.

    >>> name_before_upload("b63d369b-clip.mp4")
    'clip.mp4'
    """
    stored = PurePosixPath(name).name
    original = _UPLOADED.sub("", stored)
    return original if original != stored else None


def _drawing(result: dict[str, Any], said: dict[str, str]) -> Drawing:
    value = take(result, "value", dict)
    frame_count = whole(value["framesCount"], "framesCount") if value.get("framesCount") else None
    duration = finite(value["duration"], "duration") if value.get("duration") else None
    rate = frame_count / duration if frame_count and duration and duration > 0 else None

    keys: list[Keyframe] = []
    for entry in take(value, "sequence", list):
        number = whole(take(entry, "frame", float), "frame")
        if finite(entry.get("rotation", 0), "rotation"):
            raise Unusable("a turned rectangle", f"frame {number}; draw it upright")
        x, y, width, height = (take(entry, name, float) for name in ("x", "y", "width", "height"))
        if keys and keys[-1].box is None and keys[-1].frame == number - 1:
            keys.pop()
        keys.append(Keyframe(number - 1, (x, y, x + width, y + height), _second(entry, number, rate)))
        if entry.get("enabled") is False:
            keys.append(Keyframe(number, None))

    if any(key.time is None for key in keys if key.box is not None):
        # Nothing says how fast the tool counted: its frames are taken for those of the video.
        keys = [replace(key, time=None) for key in keys]

    labels = value.get("labels") or []
    query = said.get(str(result.get("id"))) or " ".join(map(str, labels))
    return Drawing(
        query=query.strip(),
        keys=tuple(keys),
        frame_count=frame_count,
        fps=rate,
        width=whole(result["original_width"], "original_width") if result.get("original_width") else None,
        height=whole(result["original_height"], "original_height") if result.get("original_height") else None,
        percent=True,
    )


def _second(entry: dict[str, Any], number: int, rate: float | None) -> float | None:
    """The second that frame ``number`` of the tool shows; None if nothing says it.

    The tool itself writes ``number / rate``, for this is where its player goes; other programs write
    ``(number - 1) / rate``. A time that is neither was not measured, and the number counts.
    """
    time = finite(entry["time"], "time") if entry.get("time") is not None else None
    if rate is None:
        return time
    counted = (number - 1) / rate
    return time if time is not None and -0.5 <= (time - counted) * rate <= 1.5 else counted


def write(videos: Iterable[DrawnVideo], out: Path) -> list[Path]:
    """One file with a task per video; what a model found becomes predictions, the rest annotations."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="\n") as handle:
        handle.write("[")
        for position, video in enumerate(videos):
            handle.write(",\n" if position else "\n")
            json.dump(_task(video), handle, separators=(",", ":"), ensure_ascii=False)
        handle.write("\n]\n")
    return [out]


def _task(video: DrawnVideo) -> dict[str, Any]:
    tubes = enumerate(video.tubes)
    results = [result for number, tube in tubes for result in _results(video, tube, f"tube-{number}")]
    # The configuration takes its frame rate from the task: otherwise the tool would count at another one.
    task: dict[str, Any] = {"data": {_VIDEO: video.video, _RATE: _tool_rate(video)}}
    if video.model is None:
        task["annotations"] = [{"result": results}]
    else:
        scores = [tube.score for tube in video.tubes if tube.score is not None]
        about = {"score": round(sum(scores) / len(scores), 6)} if scores else {}
        task["predictions"] = [{"model_version": video.model, **about, "result": results}]
    return task


def _tool_rate(video: DrawnVideo) -> float:
    """The constant rate at which the tool is to count: at a variable rate, that of the shortest frame."""
    if video.frame_times is None:
        return float(video.fps)
    shortest = min(ticks for _, ticks in video.frame_times.runs) * video.frame_times.unit
    return min(float(1 / shortest), MOST_TOOL_FPS)


def _results(video: DrawnVideo, tube: DrawnTube, name: str) -> Iterator[dict[str, Any]]:
    shared: dict[str, Any] = {
        "id": name,
        "to_name": _VIDEO,
        "origin": "manual" if video.model is None else "prediction",
    }
    shared |= {"original_width": video.width, "original_height": video.height}
    score = {} if tube.score is None else {"score": round(tube.score, 6)}
    steady = video.frame_times is None
    count = video.frame_count if steady else math.ceil(video.clock.duration * _tool_rate(video) - TIE)

    value = {
        "framesCount": count,
        "duration": round(count / _tool_rate(video), 6),
        "labels": [LABEL],
        "sequence": [entry for run in tube.runs() for entry in _sequence(video, tube, run)],
    }
    yield {**shared, **score, "from_name": _BOX, "type": "videorectangle", "value": value}
    yield {**shared, "from_name": _QUERY, "type": "textarea", "value": {"text": [plain(tube.query)]}}


def _sequence(video: DrawnVideo, tube: DrawnTube, run: list[int]) -> Iterator[dict[str, Any]]:
    rate = _tool_rate(video)
    for frame in run:
        time = video.clock.time(frame)
        yield {
            "frame": (frame if video.frame_times is None else math.floor(time * rate + TIE)) + 1,
            "time": round(time, 6),
            "enabled": frame != run[-1],
            "rotation": 0,
            **_percent(tube.boxes[frame], video.width, video.height),
        }


def _percent(box: Box, width: int, height: int) -> dict[str, float]:
    x1, y1, x2, y2 = box
    return {
        "x": round(100 * x1 / width, _DIGITS),
        "y": round(100 * y1 / height, _DIGITS),
        "width": round(100 * (x2 - x1) / width, _DIGITS),
        "height": round(100 * (y2 - y1) / height, _DIGITS),
    }
