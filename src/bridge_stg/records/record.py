"""One record per question: the lines of ``truth.jsonl``.

Windows are half-open source frame indices, boxes xyxy pixels of the source frame. The schema is documented in
``docs/formats.md``.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from bridge_stg.errors import DataError
from bridge_stg.types import Box, Task

QueryType = Literal["declarative", "interrogative"]
Media = Literal["video", "frames", "image"]
# No video has more frames, pixels on a side, or frames per second; beyond them sums lose their meaning.
MOST_FRAMES = 10**8
FPS_RANGE = (1e-6, 1e6)
# Seconds and pixels, in either direction.
LARGEST = 1e9
OPTIONAL_TEXT = (
    "choice",
    "split",
    "answer",
    "source",
    "kind",
    "category",
    "subtitles",
    "provenance",
)


@dataclass(frozen=True)
class TruthRecord:
    """A question about a video and its answer.

    ``fps`` is frames per second of the source; ``clip`` and ``window`` are half-open source frames; ``boxes``
    maps source frames to xyxy pixels. Which answer fields are present follows from ``task``: stvg has window
    and boxes, vtg a window, vot and rec boxes, vqa ``choices`` and ``choice`` (a letter), or ``choices`` and
    ``labels`` (one per choice, when any number of them can be right), or ``answer`` (free text).

    ``media`` says what ``video`` is: a video file, a folder whose pictures in the order of their names are the
    frames, or one picture. ``seconds`` is the window as annotated, for data annotated in seconds: it can end
    after the video does and is not rounded to frames. ``kind`` is the data set's own type of question,
    ``category`` what it is about, ``subtitles`` a path like ``video``, ``provenance`` file and row.
    """

    id: str
    task: Task
    video: str
    fps: float
    frame_count: int
    clip: tuple[int, int]
    width: int
    height: int
    query: str
    qtype: QueryType = "declarative"
    window: tuple[int, int] | None = None
    boxes: dict[int, Box] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    choice: str | None = None
    split: str | None = None
    media: Media = "video"
    seconds: tuple[float, float] | None = None
    answer: str | None = None
    labels: tuple[bool, ...] = ()
    source: str | None = None
    kind: str | None = None
    category: str | None = None
    subtitles: str | None = None
    provenance: str | None = None

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise DataError(f"record {self.id!r}: task must be one of {get_args(Task)}, got {self.task!r}")
        if self.qtype not in get_args(QueryType):
            raise DataError(
                f"record {self.id!r}: qtype must be one of {get_args(QueryType)}, got {self.qtype!r}"
            )
        if self.media not in get_args(Media):
            raise DataError(f"record {self.id!r}: media must be one of {get_args(Media)}, got {self.media!r}")
        if not FPS_RANGE[0] <= self.fps <= FPS_RANGE[1]:
            raise DataError(
                f"record {self.id!r}: fps must be positive, {FPS_RANGE[0]:g} to {FPS_RANGE[1]:g}, "
                f"got {self.fps}"
            )
        if min(self.frame_count, self.width, self.height) < 1:
            raise DataError(f"record {self.id!r}: frame_count, width and height must be positive")
        if max(self.frame_count, self.width, self.height) > MOST_FRAMES:
            raise DataError(f"record {self.id!r}: frame_count, width and height can be {MOST_FRAMES} at most")
        if not 0 <= self.clip[0] < self.clip[1] <= self.frame_count:
            raise DataError(
                f"record {self.id!r}: clip {list(self.clip)} must be half-open frames "
                f"within [0, {self.frame_count}]"
            )
        if self.window is not None and not 0 <= self.window[0] < self.window[1] <= self.frame_count:
            raise DataError(
                f"record {self.id!r}: window {list(self.window)} must be half-open frames "
                f"within [0, {self.frame_count}]"
            )
        if self.task in ("stvg", "vtg") and self.window is None:
            raise DataError(f"record {self.id!r}: task {self.task} needs a window")
        if self.seconds is not None and not 0 <= self.seconds[0] < self.seconds[1] <= LARGEST:
            raise DataError(f"record {self.id!r}: seconds must be a start before an end, got {self.seconds}")
        if self.labels and len(self.labels) != len(self.choices):
            raise DataError(
                f"record {self.id!r}: {len(self.choices)} choices need as many labels, got {len(self.labels)}"
            )
        if not _are_boxes(self.boxes, self.frame_count):
            self._name_the_bad_box()
        if len(self.choices) > len(string.ascii_uppercase):
            raise DataError(f"record {self.id!r}: {len(self.choices)} choices are more than there are letters")
        if self.choice is not None and self.choice not in tuple(self.letters):
            raise DataError(
                f"record {self.id!r}: choice {self.choice!r} is not the letter of one of its "
                f"{len(self.choices)} choices ({', '.join(self.letters) or 'there are none'})"
            )

    @property
    def letters(self) -> str:
        """The letters of the choices, "ABC" for three."""
        return string.ascii_uppercase[: len(self.choices)]

    def _name_the_bad_box(self) -> None:
        for frame, box in self.boxes.items():
            if not 0 <= frame < self.frame_count:
                raise DataError(
                    f"record {self.id!r}: box of frame {frame} is not within [0, {self.frame_count})"
                )
            if len(box) != 4 or not all(abs(value) <= LARGEST for value in box):
                raise DataError(
                    f"record {self.id!r}: box of frame {frame} must be 4 finite numbers "
                    f"within {LARGEST:g}, got {str(box)[:80]}"
                )
            if box[2] < box[0] or box[3] < box[1]:
                raise DataError(f"record {self.id!r}: box of frame {frame} has negative size: {box}")

    def to_json(self) -> dict[str, Any]:
        line: dict[str, Any] = {
            "id": self.id,
            "task": self.task,
            "video": self.video,
            "fps": self.fps,
            "frame_count": self.frame_count,
            "clip": list(self.clip),
            "width": self.width,
            "height": self.height,
            "query": self.query,
            "qtype": self.qtype,
        }
        if self.window is not None:
            line["window"] = list(self.window)
        if self.boxes:
            line["boxes"] = {str(frame): [round(v, 2) for v in box] for frame, box in self.boxes.items()}
        if self.choices:
            line["choices"] = list(self.choices)
        if self.media != "video":
            line["media"] = self.media
        if self.seconds is not None:
            line["seconds"] = list(self.seconds)
        if self.labels:
            line["labels"] = list(self.labels)
        for name in OPTIONAL_TEXT:
            if getattr(self, name) is not None:
                line[name] = getattr(self, name)
        return line

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> TruthRecord:
        """One parsed line; DataError naming the record when a field is unknown, missing or malformed."""
        known = set(cls.__dataclass_fields__)
        unknown = sorted(set(line) - known)
        name = line.get("id", "?")
        if unknown:
            raise DataError(f"record {name!r}: unknown fields {unknown}; known are {sorted(known)}")
        try:
            values = dict(line)
            for field_name in ("id", "video", "query"):
                _expect(is_text(values[field_name]), field_name, "text", values[field_name])
            for field_name in ("frame_count", "width", "height"):
                _expect(_is_whole(values[field_name]), field_name, "a whole number", values[field_name])
            _expect(_is_number(values["fps"]), "fps", "a number", values["fps"])
            values["clip"] = _frame_pair("clip", values["clip"])
            if values.get("window") is not None:
                values["window"] = _frame_pair("window", values["window"])
            values["boxes"] = _boxes(values.get("boxes", {}))
            choices = values.get("choices", [])
            _expect(isinstance(choices, list), "choices", "a list", choices)
            _expect(all(map(is_text, choices)), "choices", "a list of texts", choices)
            values["choices"] = tuple(choices)
            labels = values.get("labels", [])
            fits = isinstance(labels, list) and all(isinstance(label, bool) for label in labels)
            _expect(fits, "labels", "a list of true and false", labels)
            values["labels"] = tuple(labels)
            if values.get("seconds") is not None:
                values["seconds"] = _second_pair(values["seconds"])
            for field_name in OPTIONAL_TEXT:
                fits = values.get(field_name) is None or is_text(values[field_name])
                _expect(fits, field_name, "text", values.get(field_name))
            return cls(**values)
        except DataError:
            raise
        except KeyError as problem:
            raise DataError(f"record {name!r}: field {problem} is missing") from problem
        except (TypeError, ValueError, OverflowError) as problem:
            raise DataError(f"record {name!r}: missing or malformed field: {problem}") from problem


def is_text(value: object) -> bool:
    """A string that can be written down: half of a character, which JSON can hold, can not."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _expect(fits: bool, name: str, wanted: str, value: object) -> None:
    if not fits:
        raise ValueError(f"{name} must be {wanted}, got {str(value)[:80]!r}")


def _frame_pair(name: str, value: Any) -> tuple[int, int]:
    fits = isinstance(value, list) and len(value) == 2 and all(map(_is_whole, value))
    _expect(fits, name, "two frame numbers", value)
    return value[0], value[1]


def _second_pair(value: Any) -> tuple[float, float]:
    fits = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    _expect(fits, "seconds", "two numbers", value)
    return float(value[0]), float(value[1])


def _boxes(value: Any) -> dict[int, Box]:
    _expect(isinstance(value, dict), "boxes", "an object of frame number -> box", value)
    # Truth files hold millions of boxes: they are looked at one by one only to name a bad one.
    if not all(map(str.isdecimal, value)) or not is_number_rows(list(value.values())):
        for frame, box in value.items():
            _expect(frame.isdecimal(), "boxes", "keyed by frame numbers", frame)
            _expect(is_number_rows([box]), f"box of frame {frame}", "4 numbers", box)
    found: dict[int, Box] = dict(zip(map(int, value), map(tuple, value.values()), strict=True))
    _expect(len(found) == len(value), "boxes", "one per frame, with every frame number written once", [*value])
    return found


def is_number_rows(rows: list[Any]) -> bool:
    """Whether every row is a list of 4 numbers, as JSON has them (true and false are not)."""
    if not (set(map(type, rows)) <= {list} and set(map(len, rows)) <= {4}):
        return False
    return set(map(type, chain.from_iterable(rows))) <= {int, float}


def _are_boxes(boxes: dict[int, Box], frame_count: int) -> bool:
    """Whether all lie on frames of the video, are finite, and have no negative size."""
    if not boxes:
        return True
    try:
        corners = np.array(list(boxes.values()), dtype=np.float64)
    except (ValueError, OverflowError):
        return False
    return bool(
        min(boxes) >= 0
        and max(boxes) < frame_count
        and corners.shape == (len(boxes), 4)
        and (np.abs(corners) <= LARGEST).all()
        and (corners[:, 2:] >= corners[:, :2]).all()
    )


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line; a malformed line is an error that names it."""
    try:
        handle = path.open("rb")
    except OSError as problem:
        raise DataError(
            f"{path}: cannot be read ({problem.strerror}); give the path of a .jsonl file"
        ) from problem
    with handle:
        for number, text in enumerate(handle, start=1):
            if not text.strip():
                continue
            try:
                # Some editors begin a file with a mark that says it is UTF-8.
                value = json.loads(text.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as problem:
                reason = str(problem)
                if isinstance(problem, json.JSONDecodeError):
                    # Its own text says "line 1", which beside the number of the line would mislead.
                    reason = f"{problem.msg} (column {problem.colno})"
                raise DataError(
                    f"{path}:{number}: not one JSON object (cut off, or on several lines?): {reason}"
                ) from problem
            if not isinstance(value, dict):
                raise DataError(f"{path}:{number}: expected a JSON object, got {type(value).__name__}")
            yield number, value


def read_truth(path: Path) -> list[TruthRecord]:
    """All records of a ``truth.jsonl``; DataError naming file, line and record on a bad or repeated one."""
    records: dict[str, TruthRecord] = {}
    for number, line in read_jsonl(path):
        try:
            record = TruthRecord.from_json(line)
        except DataError as problem:
            raise DataError(f"{path}:{number}: {problem}") from problem
        if record.id in records:
            raise DataError(f"{path}:{number}: duplicate id {record.id!r}")
        records[record.id] = record
    if not records:
        raise DataError(f"{path}: holds no records")
    return list(records.values())


def write_truth(path: Path, records: Iterable[TruthRecord]) -> None:
    """Write one JSON line per record."""
    with path.open("w", encoding="utf-8") as handle:
        for record in records:
            handle.write(json.dumps(record.to_json(), separators=(",", ":")) + "\n")
