"""Records on disk as Parquet shards, read memory-mapped through Hugging Face ``datasets``.

A store is a folder: ``store.json`` (what is in it), ``records/00000.parquet`` and so on. The same records give
the same bytes. Boxes are kept as single precision numbers rounded to 0.01 pixel, which brings back exactly what
a line of ``truth.jsonl`` holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import pyarrow.parquet as pq

from bridge_stg.errors import DataError
from bridge_stg.files.descriptions import read_description
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import Box, FrameTimes

STORE_SCHEMA = "bridge-stg/store/1"
SHARD_ROWS = 20_000
# Rows are compressed and read back in groups: small ones keep the memory of a build and of a reader small.
GROUP_ROWS = 1_000

_TEXT, _NUMBER = pa.string(), pa.int32()
SCHEMA = pa.schema(
    [
        ("id", _TEXT),
        ("task", _TEXT),
        ("source", _TEXT),
        ("split", _TEXT),
        ("media", _TEXT),
        ("video", _TEXT),
        ("fps", pa.float64()),
        ("frame_count", _NUMBER),
        ("width", _NUMBER),
        ("height", _NUMBER),
        ("clip", pa.list_(_NUMBER)),
        ("query", _TEXT),
        ("qtype", _TEXT),
        ("window", pa.list_(_NUMBER)),
        ("seconds", pa.list_(pa.float64())),
        ("box_frames", pa.list_(_NUMBER)),
        ("box_corners", pa.list_(pa.float32())),
        ("choices", pa.list_(_TEXT)),
        ("choice", _TEXT),
        ("labels", pa.list_(pa.bool_())),
        ("answer", _TEXT),
        ("kind", _TEXT),
        ("category", _TEXT),
        ("subtitles", _TEXT),
        ("provenance", _TEXT),
        ("windows", pa.list_(pa.list_(_NUMBER))),
        ("absent", pa.bool_()),
        # Null at a constant rate: the seconds of a tick, and the frames and ticks of each run in turn.
        ("time_unit", _TEXT),
        ("time_runs", pa.list_(pa.int64())),
    ]
)
_PLAIN = [field.name for field in fields(TruthRecord) if field.name in SCHEMA.names]


def to_row(record: TruthRecord) -> dict[str, Any]:
    """A record as one row of :data:`SCHEMA`."""
    row = {name: getattr(record, name) for name in _PLAIN}
    row["box_frames"] = list(record.boxes)
    row["box_corners"] = [value for box in record.boxes.values() for value in box]
    if record.frame_times is not None:
        row["time_unit"] = str(record.frame_times.unit)
        row["time_runs"] = [number for run in record.frame_times.runs for number in run]
    return row


def from_row(row: dict[str, Any]) -> TruthRecord:
    """One row of :data:`SCHEMA` as a record; boxes are rounded to 0.01 pixel."""
    # A store that was written before a field came to be does not have its column.
    values = {name: row[name] for name in _PLAIN if name in row}
    for name in ("clip", "window", "seconds"):
        values[name] = tuple(row[name]) if row[name] is not None else None
    for name in ("choices", "labels"):
        values[name] = tuple(row[name])
    values["windows"] = tuple(map(tuple, row.get("windows") or ()))
    corners = [round(value, 2) for value in row["box_corners"]]
    boxes: dict[int, Box] = {}
    for position, frame in enumerate(row["box_frames"]):
        left, top, right, bottom = corners[4 * position : 4 * position + 4]
        boxes[frame] = (left, top, right, bottom)
    # Older stores do not have these columns.
    frame_times = None
    if row.get("time_unit") is not None:
        runs = zip(row["time_runs"][::2], row["time_runs"][1::2], strict=True)
        frame_times = FrameTimes(Fraction(row["time_unit"]), tuple(runs))
    return TruthRecord(**values, boxes=boxes, frame_times=frame_times)


class StoreWriter:
    """Writes records one after the other into ``folder``, which must exist and hold no store.

    Use as a context manager; ``store.json`` is written at the end of a ``with`` that no error left, so that an
    unfinished store is no store.

    Args:
        folder: where the store comes to be.
        root: what the ``video`` of the records is relative to, as a path relative to ``folder``.
    """

    def __init__(self, folder: Path, root: str) -> None:
        self._folder, self._root = folder, root
        self._rows: list[dict[str, Any]] = []
        self._shards: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None
        self._in_shard = 0

    def __enter__(self) -> StoreWriter:
        (self._folder / "records").mkdir()
        return self

    def add(self, record: TruthRecord) -> None:
        self._rows.append(to_row(record))
        if len(self._rows) == GROUP_ROWS:
            self._flush()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._rows:
            self._flush()
        self._end_shard()
        if kind is None:
            about = {
                "schema": STORE_SCHEMA,
                "root": self._root,
                "records": sum(shard["records"] for shard in self._shards),
                "shards": self._shards,
            }
            text = json.dumps(about, indent=1) + "\n"
            (self._folder / "store.json").write_text(text, encoding="utf-8")

    def _flush(self) -> None:
        if self._writer is None:
            path = self._folder / "records" / f"{len(self._shards):05d}.parquet"
            self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._in_shard += len(self._rows)
        self._rows = []
        if self._in_shard >= SHARD_ROWS:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        path = self._folder / "records" / f"{len(self._shards):05d}.parquet"
        self._shards.append(
            {
                "file": f"records/{path.name}",
                "records": self._in_shard,
                "bytes": path.stat().st_size,
            }
        )
        self._writer, self._in_shard = None, 0


class RecordStore(Sequence[TruthRecord]):
    """The records of a store, read from the disk when they are asked for.

    The first opening on a machine unpacks the shards into the cache of ``datasets`` (``HF_DATASETS_CACHE``);
    after that they are mapped into memory, shared by every process that has the store open. A store can be sent
    to worker processes: only the names of its files travel.
    """

    def __init__(self, folder: str | Path, cache: str | Path | None = None) -> None:
        """Open ``folder``; ``cache`` is a folder to use instead of the cache of ``datasets``.

        Raises:
            DataError: not a store, or files of it are missing or cut off.
        """
        self.folder = Path(folder)
        about = _read_about(self.folder)
        self._root = str(about["root"])
        files = [str(self.folder / shard["file"]) for shard in about["shards"]]
        self._table = _memory_mapped(files, cache)
        if len(self._table) != about["records"]:
            raise DataError(
                f"{self.folder}: store.json promises {about['records']} records, the files hold "
                f"{len(self._table)}; build the store again"
            )

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> TruthRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[TruthRecord]: ...
    def __getitem__(self, index: int | slice) -> TruthRecord | list[TruthRecord]:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        return from_row(self._table[range(len(self))[index]])

    def __iter__(self) -> Iterator[TruthRecord]:
        return (from_row(row) for row in self._table)

    def column(self, name: str) -> list[Any]:
        """One field of every record, without reading the others; names are those of ``SCHEMA``."""
        return list(self._table[name])

    @property
    def root(self) -> Path:
        """The folder that the paths of the records are relative to."""
        return Path(os.path.normpath(self.folder / self._root))

    def path(self, record: TruthRecord) -> Path:
        """Where the video, frames or picture of a record lie."""
        return Path(os.path.normpath(self.folder / self._root / record.video))


def write_store(folder: Path, records: Iterable[TruthRecord], root: str = ".") -> None:
    """Write all of ``records`` as a store into an existing folder; see :class:`StoreWriter`."""
    with StoreWriter(folder, root) as writer:
        for record in records:
            writer.add(record)


def _read_about(folder: Path) -> dict[str, Any]:
    """The content of ``store.json``, after a look at the files it names."""
    path = folder / "store.json"
    cure = "copy the store again or build it again"
    missing = "make a store with: bridge-stg data build"
    about = read_description(path, STORE_SCHEMA, ("root", "records", "shards"), missing, cure)
    try:
        shards = [(folder / str(shard["file"]), int(shard["bytes"])) for shard in about["shards"]]
    except (ValueError, KeyError, TypeError) as problem:
        raise DataError(f"{path}: is not a {STORE_SCHEMA}; {cure}") from problem
    if not shards:
        raise DataError(f"{path}: names no shards; {cure}")

    for path, size in shards:
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes instead of {size}"
            raise DataError(f"{path}: {state}; {cure}")
    return about


def _memory_mapped(files: list[str], cache: str | Path | None) -> Any:
    """The shards as one ``datasets.Dataset``; its progress bar is kept off the terminal."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        return datasets.Dataset.from_parquet(
            files, cache_dir=str(cache) if cache else None, keep_in_memory=False
        )
    except (OSError, datasets.exceptions.DatasetGenerationError, pa.ArrowException) as problem:
        raise DataError(
            f"{Path(files[0]).parent}: cannot be read as records ({problem}); build the store again"
        ) from problem
    finally:
        if shown:
            datasets.enable_progress_bars()
