"""The records of a folder, read so that one bad line does not hide the others.

A record is looked at and let go: a data set has hundreds of thousands of them, each with a tube. What stays is
what was found, and what the records say about each video.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge_stg.curation.doctor.findings import Finding
from bridge_stg.curation.doctor.record_checks import check_record, question_key
from bridge_stg.errors import DataError
from bridge_stg.files.json_lines import parse_object, read_lines
from bridge_stg.geometry.clock import VideoClock
from bridge_stg.records.open import is_store, truth_file
from bridge_stg.records.record import Media, TruthRecord
from bridge_stg.types import FrameTimes

# Records of a video that can be shown as samples.
NUMBERS_KEPT = 4


@dataclass(frozen=True)
class VideoDescription:
    """What a record says about its video: frames per second, frames, pixels."""

    fps: float
    frame_count: int
    width: int
    height: int
    frame_times: FrameTimes | None = None

    @property
    def clock(self) -> VideoClock:
        return VideoClock(self.fps, self.frame_count, self.frame_times)


@dataclass
class AnnotatedVideo:
    """All that the records say about one file.

    ``name`` is the first record's name of it; ``described`` maps each description to the last second that is
    read under it; ``splits`` maps each split to its first record; ``numbers`` are those of its
    first records in the folder.
    """

    name: str
    path: Path
    media: Media
    numbers: list[int] = field(default_factory=list)
    records: int = 0
    described: dict[VideoDescription, float] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)


@dataclass
class Annotations:
    """``videos`` is keyed by the real path of the file, so that two names of one file are one video.

    ``numbers`` maps the ids of records with findings to their number in the folder.
    """

    records: int = 0
    unusable: int = 0
    findings: list[Finding] = field(default_factory=list)
    videos: dict[str, AnnotatedVideo] = field(default_factory=dict)
    tasks: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BadLine:
    """A line or row that is no record."""

    where: str
    kind: str
    detail: str


class RecordFolder:
    """A store (``store.json``) or a ``truth.jsonl``, whose records can be gone through again and again."""

    def __init__(self, place: Path, videos: Path | None = None) -> None:
        """``place`` is the folder or a .jsonl file; ``videos`` is what paths are relative to, if not its own.

        Raises:
            DataError: there are no records here, or the store cannot be opened.
        """
        self._store = None
        if is_store(place):
            from bridge_stg.records.store import RecordStore

            self._store = RecordStore(place)
            self._videos = videos or self._store.root
        else:
            self._truth = truth_file(place)
            self._videos = videos or self._truth.parent
        self.place = place

    @property
    def folder(self) -> Path:
        """The folder itself, or the one that holds the file."""
        return self.place if self.place.is_dir() else self.place.parent

    def path(self, record: TruthRecord) -> Path:
        """Where the video, frames or picture of a record lie."""
        return Path(os.path.normpath(self._videos / record.video))

    def __iter__(self) -> Iterator[TruthRecord | BadLine]:
        return self._lines() if self._store is None else self._rows()

    def _rows(self) -> Iterator[TruthRecord | BadLine]:
        assert self._store is not None
        for number in range(len(self._store)):
            try:
                yield self._store[number]
            except DataError as problem:
                yield BadLine(f"row {number}", "malformed record", str(problem))

    def _lines(self) -> Iterator[TruthRecord | BadLine]:
        for number, text in read_lines(self._truth):
            where = f"{self._truth.name}:{number}"
            try:
                value = parse_object(text)
            except ValueError as problem:
                yield BadLine(where, "malformed record", str(problem))
                continue

            try:
                record = TruthRecord.from_json(value)
            except DataError as problem:
                kind = "empty window" if _is_empty(value.get("window")) else "malformed record"
                yield BadLine(where, kind, str(problem))
                continue
            yield record


def read_annotations(folder: RecordFolder) -> Annotations:
    """Everything that can be said without opening a video.

    Raises:
        DataError: the folder holds no record at all.
    """
    found = Annotations()
    ids: set[str] = set()
    questions: dict[Any, str] = {}
    real: dict[Path, str] = {}
    for number, record in enumerate(folder):
        if isinstance(record, BadLine):
            found.unusable += 1
            found.findings.append(Finding(record.kind, f"{record.where}: {record.detail}"))
            continue

        found.records += 1
        found.tasks[record.task] += 1
        found.splits[record.split or "(none)"] += 1
        path = folder.path(record)
        if path not in real:
            real[path] = os.path.realpath(path)

        # The record by itself, then against those before it.
        problems = check_record(record)
        if record.id in ids:
            problems.append(Finding("duplicate id", "an earlier record has it too", record.id, record.video))
        ids.add(record.id)

        key = (real[path], *question_key(record))
        if key in questions:
            problems.append(Finding("duplicate question", f"as {questions[key]}", record.id, record.video))
        else:
            questions[key] = record.id

        if problems:
            found.findings += problems
            found.numbers.setdefault(record.id, number)
        _note_video(found.videos, real[path], path, record, number)

    if not found.records + found.unusable:
        raise DataError(f"{folder.place}: holds no records")
    return found


def _note_video(
    videos: dict[str, AnnotatedVideo], key: str, path: Path, record: TruthRecord, number: int
) -> None:
    video = videos.get(key)
    if video is None:
        video = videos[key] = AnnotatedVideo(record.video, path, record.media)
    video.records += 1
    if len(video.numbers) < NUMBERS_KEPT:
        video.numbers.append(number)

    about = VideoDescription(record.fps, record.frame_count, record.width, record.height, record.frame_times)
    end = record.clock.time(record.clip[1])
    video.described[about] = max(video.described.get(about, 0.0), end)
    if record.split is not None:
        video.splits.setdefault(record.split, record.id)


def _is_empty(window: Any) -> bool:
    """A window that is two frame numbers, of which the first is not before the second."""
    if not isinstance(window, list) or len(window) != 2 or not all(isinstance(end, int) for end in window):
        return False
    return bool(window[0] >= window[1])
