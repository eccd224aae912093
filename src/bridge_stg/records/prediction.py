"""One record per answer: the lines of ``predictions.jsonl``.

Windows and box times are seconds on the clock of the video file, half-open; boxes are xyxy pixels of the source
frame. The schema is documented in ``docs/formats.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import DataError
from bridge_stg.files.json_lines import parse_object, read_lines, to_line
from bridge_stg.records.line_format import LineFormat
from bridge_stg.records.record import LARGEST
from bridge_stg.types import Box, TimeSpan

PredictionStatus = Literal["ok", "no_window", "empty_window", "absent", "failed"]


def _no_times() -> NDArray[np.float64]:
    return np.zeros(0)


def _no_boxes() -> NDArray[np.float64]:
    return np.zeros((0, 4))


@dataclass(frozen=True)
class PredictionRecord:
    """What a model answered to the truth record of the same ``id``.

    ``windows`` are candidates with a score; ``times`` (F,) increasing seconds, ``boxes`` (F, 4) xyxy source
    pixels, ``scores`` (F,). ``text`` is the raw answer, ``choice`` the letter of a multiple-choice answer,
    ``confidence`` in [0, 1] how probable the answer says it is right, ``notes`` what to know of it.

    Status ``absent`` says that the event does not happen. Any status but ``ok`` and ``absent`` means that there
    is no answer.

    Raises:
        DataError: an unknown status, or numbers that nothing can have.
    """

    id: str
    status: PredictionStatus = "ok"
    text: str = ""
    windows: tuple[tuple[TimeSpan, float], ...] = ()
    times: NDArray[np.float64] = field(default_factory=_no_times)
    boxes: NDArray[np.float64] = field(default_factory=_no_boxes)
    scores: NDArray[np.float64] = field(default_factory=_no_times)
    choice: str | None = None
    confidence: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = get_args(PredictionStatus)
        self._require(self.status in known, f"status must be one of {', '.join(known)}, got {self.status!r}")
        self._require(
            self.confidence is None or 0 <= self.confidence <= 1,
            f"confidence must be a number in [0, 1], got {self.confidence}",
        )
        for span, score in self.windows:
            self._require(math.isfinite(score), "a score is not a finite number; leave it out or write one")
            self._require(
                max(abs(span.start), abs(span.end)) <= LARGEST,
                f"a window reaches beyond {LARGEST:g} seconds; leave such windows out",
            )
        if len(self.times) or len(self.boxes) or len(self.scores):
            self._check_boxes()

    def _require(self, fits: bool, message: str) -> None:
        if not fits:
            raise DataError(f"prediction {self.id!r}: {message}")

    def _check_boxes(self) -> None:
        times, boxes, scores = self.times, self.boxes, self.scores
        count = len(times)
        self._require(
            boxes.shape == (count, 4) and scores.shape == (count,),
            f"{count} times need ({count}, 4) boxes, got {boxes.shape}",
        )
        self._require(
            bool(np.isfinite(scores).all()), "a score is not a finite number; leave it out or write one"
        )
        self._require(
            bool(np.abs(times).max() <= LARGEST and np.abs(boxes).max() <= LARGEST),
            f"a box or its time is not a finite number within {LARGEST:g}; leave such boxes out",
        )
        self._require(
            count == 1 or bool((times[1:] > times[:-1]).all()),
            "box times must increase; sort them and give each time one box",
        )

        flipped = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
        if flipped.any():
            first = int(flipped.argmax())
            raise DataError(
                f"prediction {self.id!r}: box at {times[first]} s has negative size {boxes[first].tolist()}; "
                "use x1, y1, x2, y2"
            )

    @property
    def best_window(self) -> TimeSpan | None:
        """The window with the highest score, the first of equals; None without windows."""
        return max(self.windows, key=lambda candidate: candidate[1])[0] if self.windows else None

    def to_json(self) -> dict[str, Any]:
        """The object of a line; fields that say nothing are left out."""
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
        if self.confidence is not None:
            line["confidence"] = round(self.confidence, 6)
        if self.notes:
            line["notes"] = list(self.notes)
        return line

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> PredictionRecord:
        """One parsed line; DataError naming the record when a field is unknown, missing or malformed."""
        return _from_line(_PREDICTION_LINE.convert(line))


class _Window(msgspec.Struct):
    start: float
    end: float
    score: float = 1.0


class _TimedBox(msgspec.Struct):
    time: float
    box: Box
    score: float = 1.0


class _PredictionLine(msgspec.Struct, forbid_unknown_fields=True):
    """A line as JSON has it: boxes one by one, where the record has arrays."""

    id: str
    status: PredictionStatus = "ok"
    text: str = ""
    windows: list[_Window] = []
    boxes: list[_TimedBox] = []
    choice: str | None = None
    confidence: float | None = None
    notes: list[str] = []


_PREDICTION_LINE = LineFormat(_PredictionLine, "prediction")


def _from_line(line: _PredictionLine) -> PredictionRecord:
    count = len(line.boxes)
    corners = chain.from_iterable(box.box for box in line.boxes)
    try:
        windows = tuple((TimeSpan(window.start, window.end), window.score) for window in line.windows)
    except ValueError as problem:
        raise DataError(f"prediction {line.id!r}: {problem}") from problem
    return PredictionRecord(
        id=line.id,
        status=line.status,
        text=line.text,
        windows=windows,
        times=np.fromiter((box.time for box in line.boxes), np.float64, count),
        boxes=np.fromiter(corners, np.float64, 4 * count).reshape(-1, 4),
        scores=np.fromiter((box.score for box in line.boxes), np.float64, count),
        choice=line.choice,
        confidence=line.confidence,
        notes=tuple(line.notes),
    )


def parse_prediction(text: bytes) -> PredictionRecord:
    """The record of one line of a file; DataError when it is none."""
    return _from_line(_PREDICTION_LINE.decode(text))


def prediction_files(path: str | Path) -> list[Path]:
    """The files that hold predictions: the file itself, or all ``.jsonl`` of a folder, by name.

    Raises:
        DataError: a folder without one.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.jsonl"))
    if not files:
        raise DataError(f"{path}: holds no .jsonl file; give what predict wrote with --out")
    return files


def read_predictions(path: str | Path) -> dict[str, PredictionRecord]:
    """All records of a predictions file, or of the files of a folder, by id and in their order.

    Raises:
        DataError: a line that is malformed or repeats an id; the message names file and line.
    """
    records: dict[str, PredictionRecord] = {}
    for place, text in _lines_of(path):
        try:
            record = parse_prediction(text)
        except DataError as problem:
            raise DataError(f"{place}: {problem}") from problem
        if record.id in records:
            raise DataError(f"{place}: duplicate id {record.id!r}; keep one prediction per query")
        records[record.id] = record
    return records


def place_of(path: Path | None, identity: str) -> str:
    """``"file:line: "`` of a prediction, to begin a message with; "" without a file.

    The file is read again: it is only asked for when something is wrong.
    """
    if path is None:
        return ""
    for place, text in _lines_of(path):
        if parse_object(text).get("id") == identity:
            return f"{place}: "
    return f"{path}: "


def _lines_of(path: str | Path) -> Iterator[tuple[str, bytes]]:
    for file in prediction_files(path):
        for number, text in read_lines(file):
            yield f"{file}:{number}", text


def write_predictions(path: Path, records: Iterable[PredictionRecord]) -> None:
    """Write one JSON line per record."""
    with path.open("w", encoding="utf-8") as handle:
        handle.writelines(to_line(record.to_json()) for record in records)
