"""The records of a folder, whichever way it holds them: a store, or a ``truth.jsonl``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge_stg.errors import DataError
from bridge_stg.records.record import TruthRecord, read_truth


@dataclass(frozen=True)
class OpenedRecords:
    """Records, and ``videos``: the folder that their paths are relative to."""

    records: Sequence[TruthRecord]
    videos: Path

    def path(self, record: TruthRecord) -> Path:
        """Where the video, frames or picture of a record lie."""
        return Path(os.path.normpath(self.videos / record.video))


def open_truth(place: Path, videos: Path | None = None) -> OpenedRecords:
    """Open a folder, or a ``truth.jsonl`` itself.

    Args:
        place: a folder that holds a store (read record by record from the disk) or a truth.jsonl, or the file.
        videos: what paths are relative to, if not as the folder says.

    Raises:
        DataError: there are no records, or they cannot be read.
    """
    if not is_store(place):
        truth = truth_file(place)
        return OpenedRecords(read_truth(truth), videos or truth.parent)

    # Here only: a truth.jsonl can be used without the libraries that read Parquet.
    from bridge_stg.records.store import RecordStore

    store = RecordStore(place)
    return OpenedRecords(store, videos or store.root)


def is_store(place: Path) -> bool:
    """Whether a folder holds a store."""
    return (place / "store.json").is_file()


def truth_in(folder: Path, cure: str = "give the folder that holds it and the videos") -> Path:
    """The truth.jsonl of a folder of questions and their videos; DataError when there is none."""
    truth = folder / "truth.jsonl"
    if truth.is_file():
        return truth
    if folder.is_file():
        raise DataError(f"{folder}: is a file; give the folder with truth.jsonl")
    if is_store(folder):
        cure = "its records were built without; build them with: bridge-stg data build ... --truth"
    raise DataError(f"{folder}: no truth.jsonl; {cure}")


def truth_file(place: Path) -> Path:
    """The truth file of a place that is no store; DataError when there is none."""
    truth = place / "truth.jsonl" if place.is_dir() else place
    if truth.suffix != ".jsonl" or not truth.is_file():
        raise DataError(
            f"{place}: holds neither store.json nor truth.jsonl; give a folder made by bridge-stg data build"
        )
    return truth
