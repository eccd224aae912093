"""``tube.json``, which ``ground`` writes, as tubes with a box for every frame of their windows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from bridge_stg.curation.annotations.drawn_tubes import DrawnTube, DrawnVideo
from bridge_stg.curation.reading.annotated_boxes import clean_boxes
from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.errors import DataError
from bridge_stg.geometry.clock import VideoClock
from bridge_stg.geometry.spans import boxes_at
from bridge_stg.records.record import LARGEST, MOST_FRAMES
from bridge_stg.types import TUBE_SCHEMA, Box, FrameTimes, Status, TimeSpan

_Finite = Annotated[float, Field(allow_inf_nan=False, ge=-LARGEST, le=LARGEST)]
_Count = Annotated[int, Field(ge=1, le=MOST_FRAMES)]


def _frame_times(value: object) -> FrameTimes | None:
    return None if value is None else FrameTimes.from_json(value)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class _Window(_Part):
    start: Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
    end: Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]


class _VideoInfo(_Part):
    width: _Count
    height: _Count
    fps: Annotated[str, Field(pattern=r"^[1-9]\d{0,9}(/[1-9]\d{0,9})?$")]
    frames: _Count
    frame_times: Annotated[FrameTimes | None, BeforeValidator(_frame_times)] = None


class _LocatedBox(_Part):
    time: _Finite
    frame: Annotated[int, Field(ge=0, le=MOST_FRAMES)]
    box: Annotated[list[_Finite], Field(min_length=4, max_length=4)]
    score: Annotated[float, Field(ge=0, le=1)]


class _Result(_Part):
    model_config = ConfigDict(frozen=True, strict=True, protected_namespaces=())

    version: Annotated[Literal["bridge-stg/tube/1"], Field(alias="schema")]
    video: str
    query: str
    status: Status
    video_info: _VideoInfo
    window: _Window | None
    windows: list[_Window] = []
    boxes: list[_LocatedBox]
    checkpoint: str
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None


_RESULTS = TypeAdapter(list[_Result])


def read_results(path: Path) -> list[DrawnVideo]:
    """The videos of a ``tube.json``, each with its tubes; ``notes`` say what is not among them and why.

    Boxes are interpolated linearly between the frames that the model looked at; before the first and after the
    last of a window the nearest one holds (:func:`bridge_stg.geometry.spans.boxes_at`).

    Raises:
        DataError: not a tube.json, naming the element; or no result in it has a window and boxes.
    """
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror}); give a tube.json") from problem
    results = _validate(path, content)

    # Results about the same video and of the same model go together.
    found: dict[tuple[str, _VideoInfo, str], list[DrawnTube]] = {}
    notes: list[str] = []
    for position, result in enumerate(results):
        if result.window is None or result.status != "ok" or not result.boxes:
            why = result.status if result.status != "ok" else "a window without boxes"
            notes.append(f"[{position}] {result.query!r} left out: {why}")
            continue

        try:
            tube = _tube(result, result.window, notes)
        except Unusable as problem:
            raise DataError(f"{path}: [{position}]: {problem.reason} {problem.detail}") from problem
        found.setdefault((result.video, result.video_info, result.checkpoint), []).append(tube)
    if not found:
        reasons = "; ".join(notes) or "it holds no result"
        raise DataError(f"{path}: nothing to export, no result has a window with boxes; {reasons}")

    return [
        DrawnVideo(
            video=video,
            fps=Fraction(info.fps),
            frame_count=info.frames,
            width=info.width,
            height=info.height,
            tubes=tuple(tubes),
            model=f"bridge-stg {checkpoint}",
            notes=tuple(notes) if number == 0 else (),
            frame_times=info.frame_times,
        )
        for number, ((video, info, checkpoint), tubes) in enumerate(found.items())
    ]


def _validate(path: Path, content: bytes) -> list[_Result]:
    try:
        return _RESULTS.validate_json(content)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        where = f"{path}: {place}" if place else f"{path}"
        raise DataError(f"{where}: not a {TUBE_SCHEMA}: {first['msg']}") from problem


def _tube(result: _Result, window: _Window, notes: list[str]) -> DrawnTube:
    info = result.video_info
    clock = VideoClock(Fraction(info.fps), info.frames, info.frame_times)
    located = np.array([box.frame for box in result.boxes], dtype=np.int64)
    times = np.array([box.time for box in result.boxes], dtype=np.float64)
    if (np.diff(located) <= 0).any() or (np.diff(times) <= 0).any():
        raise Unusable("boxes whose frames and times do not increase", "")

    # A box for every frame of every window, from the boxes of that window alone.
    corners = np.array([box.box for box in result.boxes], dtype=np.float64)
    found: dict[int, Box] = {}
    for one in (window, *(other for other in result.windows if other != window)):
        if one.end < one.start:
            raise Unusable("a window that ends before it starts:", f"{one.start} to {one.end} s")
        if one.start >= clock.duration:
            raise Unusable("a window after the end of the video:", f"{one.start} of {clock.duration:.3f} s")
        first, end = window_frames(TimeSpan(one.start, one.end), clock)
        within = (located >= first) & (located < end)
        if not within.any():
            if one != window:
                notes.append(f"{result.query!r}: its window {one.start} to {one.end} s left out: no boxes")
                continue
            within[:] = True
        wanted = np.arange(first, end)
        rows = boxes_at(clock.steady(located[within]), corners[within], clock.steady(wanted)).tolist()
        for frame, (x1, y1, x2, y2) in zip(wanted, rows, strict=True):
            found.setdefault(int(frame), (x1, y1, x2, y2))
    pairs = sorted(found.items())

    changed: list[str] = []
    boxes = clean_boxes(pairs, info.width, info.height, changed)
    notes += [f"{result.query!r}: {change}" for change in changed]

    # What the answer is worth; where nothing says that, how surely the boxes are on some object.
    score = result.confidence
    if score is None:
        score = round(sum(box.score for box in result.boxes) / len(result.boxes), 6)
    return DrawnTube(result.query, boxes, frozenset(int(frame) for frame in located), score)


def window_frames(window: TimeSpan, clock: VideoClock) -> tuple[int, int]:
    """A window in seconds as half-open source frames of the video, at least one of them."""
    start, end = clock.frames_in(window)
    start = min(max(start, 0), clock.frames - 1)
    return start, min(max(end, start + 1), clock.frames)
