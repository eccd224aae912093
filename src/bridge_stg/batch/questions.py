"""What a batch asks: files, patterns and manifests as questions with ids that stay the same."""

from __future__ import annotations

import csv
import glob
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge_stg.curation.reading.folder import VIDEO_SUFFIXES
from bridge_stg.errors import DataError, InputError
from bridge_stg.files.json_lines import read_objects
from bridge_stg.prompting.templates import check_query
from bridge_stg.types import TimeSpan

MANIFESTS = (".csv", ".jsonl", ".parquet")
_COLUMNS = ("video", "query", "clip", "id")


@dataclass(frozen=True)
class BatchQuestion:
    """One sentence about one video; with ``clip``, about this part of it."""

    id: str
    video: str
    query: str
    clip: tuple[float, float] | None = None


@dataclass(frozen=True)
class VideoQuestions:
    """Questions that share the reading of one part of one video."""

    video: str
    clip: tuple[float, float] | None
    questions: tuple[BatchQuestion, ...]


def read_questions(source: str, queries: Sequence[str]) -> list[BatchQuestion]:
    """The questions of a folder, a pattern, a video, or a manifest.

    Args:
        source: a folder (searched to its depths), a pattern such as ``clips/*.mp4``, a video, or a manifest
            (.csv, .jsonl, .parquet) with the columns video, query, and perhaps clip and id. Its videos are
            relative to its folder.
        queries: asked about every video; a manifest's row with a query of its own is asked only that.

    Raises:
        InputError: no video, no sentence, a sentence that is empty, or two questions with one id.
    """
    for query in queries:
        check_query(query)
    path = Path(source)
    rows: Iterable[tuple[str, dict[str, Any]]]
    if path.suffix.lower() in MANIFESTS and path.is_file():
        rows = _manifest(path)
        root = path.parent
    else:
        rows = ((source, {"video": name}) for name in _videos(source))
        root = Path()

    found: dict[str, BatchQuestion] = {}
    for where, row in rows:
        for question in _of_row(where, row, root, queries):
            if question.id in found:
                raise InputError(f"{where}: a second question has the id {question.id!r}; give each its own")
            found[question.id] = question
    if not found:
        exists = path.exists() or glob.has_magic(source)
        lack = "no videos" if exists else "no such file or folder"
        raise InputError(f"{source}: {lack}; give a folder, a pattern such as 'clips/*.mp4', or a manifest")
    return list(found.values())


def read_query_file(path: Path) -> list[str]:
    """One sentence a line; blank lines are skipped.

    Raises:
        InputError: the file cannot be read, is no text, or holds no sentence.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as problem:
        raise InputError(f"{path}: cannot be read ({problem.strerror}); give a file of sentences") from problem
    except UnicodeDecodeError as problem:
        raise InputError(f"{path}: is not UTF-8 text; give one sentence a line") from problem
    queries = [line for line in lines if line]
    if not queries:
        raise InputError(f"{path}: holds no sentence; give one a line")
    return queries


def by_video(questions: Iterable[BatchQuestion]) -> list[VideoQuestions]:
    """Questions about the same part of the same video together, in the order in which they first come."""
    groups: dict[tuple[str, tuple[float, float] | None], list[BatchQuestion]] = {}
    for question in questions:
        groups.setdefault((question.video, question.clip), []).append(question)
    return [VideoQuestions(video, clip, tuple(group)) for (video, clip), group in groups.items()]


def _videos(source: str) -> list[str]:
    path = Path(source)
    if path.is_dir():
        found = (file for file in path.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file())
        return sorted(str(file) for file in found)
    if path.exists():
        return [source]
    return sorted(name for name in glob.glob(source, recursive=True) if Path(name).is_file())


def _manifest(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of a table."""
    kind = path.suffix.lower()
    if kind == ".jsonl":
        for number, row in read_objects(path):
            yield f"{path}:{number}", row
    elif kind == ".csv":
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for number, row in enumerate(csv.DictReader(file), start=2):
                    yield f"{path}:{number}", row
        except (OSError, UnicodeDecodeError, csv.Error) as problem:
            raise DataError(f"{path}: cannot be read as CSV ({problem})") from problem
    else:
        import pyarrow
        import pyarrow.parquet as parquet

        try:
            rows = parquet.read_table(path).to_pylist()
        except (OSError, pyarrow.ArrowException) as problem:
            raise DataError(f"{path}: cannot be read as Parquet ({problem})") from problem
        for number, row in enumerate(rows):
            yield f"{path}: row {number}", row


def _of_row(where: str, row: dict[str, Any], root: Path, queries: Sequence[str]) -> Iterator[BatchQuestion]:
    unknown = [name for name in row if name not in _COLUMNS]
    if unknown:
        raise DataError(f"{where}: unknown column {unknown[0]!r}; there are: {', '.join(_COLUMNS)}")
    video = row.get("video")
    if not isinstance(video, str) or not video.strip():
        raise DataError(f"{where}: names no video")
    path = str(root / video)
    clip = _clip(where, row.get("clip"))
    own = row.get("query")
    if own is not None and not isinstance(own, str):
        raise DataError(f"{where}: query must be text, got {own!r}")
    asked = [own] if own else list(queries)
    if not asked:
        raise InputError(f"{where}: no sentence to look for; give --query or --queries")

    given = row.get("id")
    for number, query in enumerate(asked):
        check_query(query)
        if given in (None, ""):
            name = _name(path, query, clip)
        else:
            name = str(given) if len(asked) == 1 else f"{given}-{number}"
        yield BatchQuestion(name, path, query, clip)


def _clip(where: str, value: Any) -> tuple[float, float] | None:
    """Two seconds, as a list or as text such as ``2.0-5.5``."""
    if value is None or value == "":
        return None
    try:
        parts = value.split("-") if isinstance(value, str) else list(value)
        start, end = (float(part) for part in parts)
        span = TimeSpan(start, end)
    except (TypeError, ValueError) as problem:
        raise DataError(f"{where}: clip must be two seconds such as 2.0-5.5, got {value!r}") from problem
    if span.start < 0 or not span.length:
        raise DataError(f"{where}: clip must be a part of the video, got {value!r}")
    return span.start, span.end


def _name(video: str, query: str, clip: tuple[float, float] | None) -> str:
    """The same for the same question, in every run."""
    digest = hashlib.sha256(json.dumps([video, query, clip]).encode()).hexdigest()
    return f"{Path(video).stem}-{digest[:16]}"
