"""One record per answer: the lines of ``predictions.jsonl``.

Windows and box times are seconds on the clock of the video file, half-open; boxes are xyxy pixels of the source
frame. The schema is documented in ``docs/formats.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import DataError
from bridge_stg.records.record import LARGEST, is_number_rows, read_jsonl
from bridge_stg.types import TimeSpan

PredictionStatus = Literal["ok", "no_window", "empty_window", "failed"]
_FIELDS = ("id", "status", "text", "windows", "boxes", "choice")


def _no_times() -> NDArray[np.float64]:
    return np.zeros(0)


def _no_boxes() -> NDArray[np.float64]:
    return np.zeros((0, 4))


@dataclass(frozen=True)
class PredictionRecord:
    """What a model answered to the truth record of the same ``id``.

    ``windows`` are candidates with a score; ``times`` (F,) increasing seconds, ``boxes`` (F, 4) xyxy source
    pixels, ``scores`` (F,). ``text`` is the raw answer, ``choice`` the letter of a multiple-choice answer. Any
    status but ``ok`` means that the answer is not to be used.
    """

    id: str
    status: PredictionStatus = "ok"
    text: str = ""
    windows: tuple[tuple[TimeSpan, float], ...] = ()
    times: NDArray[np.float64] = field(default_factory=_no_times)
    boxes: NDArray[np.float64] = field(default_factory=_no_boxes)
    scores: NDArray[np.float64] = field(default_factory=_no_times)
    choice: str | None = None

    def __post_init__(self) -> None:
        name = f"prediction {self.id!r}"
        count = len(self.times)
        if self.status not in get_args(PredictionStatus):
            known = ", ".join(get_args(PredictionStatus))
            raise DataError(f"{name}: status must be one of {known}, got {self.status!r}")
        if not all(np.isfinite(score) for _, score in self.windows) or not np.isfinite(self.scores).all():
            raise DataError(f"{name}: a score is not a finite number; leave it out or write one")
        if self.boxes.shape != (count, 4) or self.scores.shape != (count,):
            raise DataError(f"{name}: {count} times need ({count}, 4) boxes, got {self.boxes.shape}")
        if not all(max(abs(span.start), abs(span.end)) <= LARGEST for span, _ in self.windows):
            raise DataError(f"{name}: a window reaches beyond {LARGEST:g} seconds; leave such windows out")
        if not ((np.abs(self.times) <= LARGEST).all() and (np.abs(self.boxes) <= LARGEST).all()):
            raise DataError(
                f"{name}: a box or its time is not a finite number within {LARGEST:g}; leave such boxes out"
            )
        if count > 1 and not (np.diff(self.times) > 0).all():
            raise DataError(f"{name}: box times must increase; sort them and give each time one box")
        flipped = np.flatnonzero((self.boxes[:, 2:] < self.boxes[:, :2]).any(axis=1))
        if len(flipped):
            box = self.boxes[flipped[0]].tolist()
            raise DataError(
                f"{name}: box at {self.times[flipped[0]]} s has negative size {box}; use x1, y1, x2, y2"
            )

    @property
    def best_window(self) -> TimeSpan | None:
        """The window with the highest score, the first of equals; None without windows."""
        return max(self.windows, key=lambda candidate: candidate[1])[0] if self.windows else None

    def to_json(self) -> dict[str, Any]:
        line: dict[str, Any] = {"id": self.id, "status": self.status, "text": self.text}
        line["windows"] = [
            {"start": round(span.start, 6), "end": round(span.end, 6), "score": round(score, 6)}
            for span, score in self.windows
        ]
        line["boxes"] = [
            {"time": round(time, 6), "box": [round(value, 3) for value in box], "score": round(score, 6)}
            for time, box, score in zip(
                self.times.tolist(), self.boxes.tolist(), self.scores.tolist(), strict=True
            )
        ]
        if self.choice is not None:
            line["choice"] = self.choice
        return line

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> PredictionRecord:
        """One parsed line; DataError naming the record when a field is unknown, missing or malformed."""
        name = line.get("id", "?")
        if unknown := sorted(set(line) - set(_FIELDS)):
            raise DataError(f"prediction {name!r}: unknown fields {unknown}; known are {sorted(_FIELDS)}")
        try:
            identity, text, choice = line["id"], line.get("text", ""), line.get("choice")
            _expect_text("id", identity)
            _expect_text("text", text)
            if choice is not None:
                _expect_text("choice", choice)
            windows = _objects(line, "windows")
            starts, ends = map(float, _column(windows, "start")), map(float, _column(windows, "end"))
            confidences = map(float, _column(windows, "score", 1.0))
            boxes = _objects(line, "boxes")
            corners = [box["box"] for box in boxes]
            if not is_number_rows(corners):
                bad = next(box for box in corners if not is_number_rows([box]))
                raise ValueError(f"a box must be 4 numbers, got {str(bad)[:80]!r}")
            return cls(
                id=identity,
                status=line.get("status", "ok"),
                text=text,
                windows=tuple(zip(map(TimeSpan, starts, ends), confidences, strict=True)),
                times=np.array(_column(boxes, "time"), dtype=np.float64),
                boxes=np.array(corners, dtype=np.float64) if corners else _no_boxes(),
                scores=np.array(_column(boxes, "score", 1.0), dtype=np.float64),
                choice=choice,
            )
        except DataError:
            raise
        except KeyError as problem:
            raise DataError(f"prediction {name!r}: field {problem} is missing") from problem
        except (TypeError, ValueError, OverflowError) as problem:
            raise DataError(f"prediction {name!r}: {problem}") from problem


def _expect_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {str(value)[:80]!r}")


def _objects(line: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A field that is a list of objects, [] when it is not there."""
    value = line.get(name, [])
    if not isinstance(value, list) or not set(map(type, value)) <= {dict}:
        raise ValueError(f"{name} must be a list of objects, got {str(value)[:80]!r}")
    return value


def _column(items: list[dict[str, Any]], name: str, default: float | None = None) -> list[float]:
    """One number of each item, which must have it if there is no default."""
    values = [item[name] if default is None else item.get(name, default) for item in items]
    # "2.0" and true would become numbers quietly; they are mistakes of whoever wrote the file.
    if not set(map(type, values)) <= {int, float}:
        bad = next(value for value in values if type(value) not in (int, float))
        raise ValueError(f"{name} must be a number, got {str(bad)[:80]!r}")
    return values


def read_predictions(path: Path) -> dict[str, PredictionRecord]:
    """All records of a ``predictions.jsonl`` by id, in file order; DataError on a bad or repeated one."""
    records: dict[str, PredictionRecord] = {}
    for number, line in read_jsonl(path):
        try:
            record = PredictionRecord.from_json(line)
        except DataError as problem:
            raise DataError(f"{path}:{number}: {problem}") from problem
        if record.id in records:
            raise DataError(f"{path}:{number}: duplicate id {record.id!r}; keep one prediction per query")
        records[record.id] = record
    return records


def place_of(path: Path | None, identity: str) -> str:
    """``"file:line: "`` of a prediction, to begin a message with; "" without a file.

    The file is read again: it is only asked for when something is wrong.
    """
    if path is None:
        return ""
    for number, line in read_jsonl(path):
        if line.get("id") == identity:
            return f"{path}:{number}: "
    return f"{path}: "


def write_predictions(path: Path, records: Iterable[PredictionRecord]) -> None:
    """Write one JSON line per record."""
    with path.open("w", encoding="utf-8") as handle:
        for record in records:
            handle.write(json.dumps(record.to_json(), separators=(",", ":")) + "\n")
