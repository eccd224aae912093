"""The answers of a batch on disk: every one is safe as soon as it is there, and none is there twice.

A line of ``journal.jsonl`` is written for each answer. When it has grown, it becomes one Parquet file of
``tubes/``, which appears whole; only then does a new journal begin. What a kill leaves between the two is
found in both and counted once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from bridge_stg.errors import DataError, unwritable
from bridge_stg.files.json_lines import to_line
from bridge_stg.files.output_files import write_whole

JOURNAL, FAILED, TUBES = "journal.jsonl", "failed.jsonl", "tubes"
ROWS_PER_FILE = 1000

_SPAN = pa.struct([("start", pa.float64()), ("end", pa.float64())])
_SCORED_SPAN = pa.struct([*_SPAN, ("score", pa.float64())])
_BOX = pa.struct(
    [("time", pa.float64()), ("frame", pa.int64()), ("box", pa.list_(pa.float64())), ("score", pa.float64())]
)
_INFO = pa.struct(
    [
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("fps", pa.string()),
        ("duration", pa.float64()),
        ("frames", pa.int64()),
    ]
)
# The fields of tube.json; what it may hold beside them is in ``more``, as JSON.
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("schema", pa.string()),
        ("video", pa.string()),
        ("query", pa.string()),
        ("status", pa.string()),
        ("answer", pa.string()),
        ("answer_style", pa.string()),
        ("reasoning", pa.string()),
        ("video_info", _INFO),
        ("window", _SPAN),
        ("windows", pa.list_(_SCORED_SPAN)),
        ("confidence", pa.float64()),
        ("sampled_fps", pa.float64()),
        ("boxes", pa.list_(_BOX)),
        ("checkpoint", pa.string()),
        ("notes", pa.list_(pa.string())),
        ("more", pa.string()),
    ]
)


class AnswerStore:
    """The folder of one batch.

    Raises:
        InputError: it cannot be written.
        DataError: what lies there is no store of answers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            (folder / TUBES).mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise unwritable(folder, problem) from problem

        self._files = sorted((folder / TUBES).glob("part-*.parquet"))
        self.answered: set[str] = set()
        for path in self._files:
            try:
                self.answered.update(parquet.read_table(path, columns=["id"])["id"].to_pylist())
            except (OSError, KeyError, pa.ArrowException) as problem:
                raise DataError(f"{path}: is no file of answers ({problem}); remove it") from problem

        # A cut last line is what a kill leaves behind: that answer is asked again.
        self._rows = [row for row in self._read_journal() if row["id"] not in self.answered]
        self.answered.update(row["id"] for row in self._rows)
        self._rewrite_journal()
        # What failed is asked again; it fails again, or it has an answer now.
        (folder / FAILED).unlink(missing_ok=True)
        self.failed = 0

    def add(self, question_id: str, result: dict[str, Any]) -> None:
        """Keep one answer; it is on the disk when this returns."""
        row = {"id": question_id, **result}
        self._append(JOURNAL, row)
        self._rows.append(row)
        self.answered.add(question_id)
        if len(self._rows) >= ROWS_PER_FILE:
            self.flush()

    def fail(self, question_id: str, video: str, query: str, reason: str) -> None:
        """Say why a question has no answer."""
        self._append(FAILED, {"id": question_id, "video": video, "query": query, "reason": reason})
        self.failed += 1

    def flush(self) -> None:
        """Turn the journal into a Parquet file."""
        if not self._rows:
            return
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.Table.from_pylist([_row(row) for row in self._rows], SCHEMA), sink)
        path = self.folder / TUBES / f"part-{len(self._files):06d}.parquet"
        write_whole(path, sink.getvalue().to_pybytes())
        self._files.append(path)
        self._rows = []
        self._rewrite_journal()

    def results(self) -> Iterator[dict[str, Any]]:
        """Every answer as its object of tube.json, with its id, one file in memory at a time."""
        for path in self._files:
            for row in parquet.read_table(path).to_pylist():
                yield to_result(row)
        yield from self._rows

    def _append(self, name: str, row: dict[str, Any]) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(to_line(row))
            file.flush()
            os.fsync(file.fileno())

    def _read_journal(self) -> Iterator[dict[str, Any]]:
        path = self.folder / JOURNAL
        if not path.is_file():
            return
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                try:
                    yield json.loads(line)
                except ValueError as problem:
                    raise DataError(f"{path}: a damaged line; remove it and run again") from problem

    def _rewrite_journal(self) -> None:
        if self._rows:
            write_whole(self.folder / JOURNAL, "".join(map(to_line, self._rows)))
        else:
            (self.folder / JOURNAL).unlink(missing_ok=True)


def _row(result: dict[str, Any]) -> dict[str, Any]:
    """An object of tube.json as a row of the table."""
    row = {name: result.get(name) for name in SCHEMA.names if name != "more"}
    more = {name: value for name, value in result.items() if name not in row}
    if "frame_times" in result["video_info"]:
        more["frame_times"] = result["video_info"]["frame_times"]
    row["more"] = json.dumps(more) if more else None
    return row


def to_result(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table as the object of tube.json that it was made from, with its id."""
    result = {name: value for name, value in row.items() if name != "more"}
    more = json.loads(row["more"]) if row["more"] else {}
    if "frame_times" in more:
        result["video_info"]["frame_times"] = more.pop("frame_times")
    return result | more
