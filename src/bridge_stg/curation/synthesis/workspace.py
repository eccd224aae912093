"""The folder in which synthetic data comes to be: what is finished there is not made again.

``plan.json`` says what is made; ``made.jsonl`` gets a line per video once its last byte is on the disk;
``data/`` is what becomes the result. A video without a line, or of another size than its line says, is none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import av

import bridge_stg
from bridge_stg.errors import InputError, unwritable
from bridge_stg.files.descriptions import changed_plan
from bridge_stg.files.json_lines import begin_lines, parse_object, read_whole_lines, to_line
from bridge_stg.files.one_writer import only_writer
from bridge_stg.records.record import TruthRecord
from bridge_stg.records.store import to_row

WORK_SCHEMA = "bridge-stg/synthesis-work/1"


class Workspace:
    """``made``: numbers of the videos that are finished; ``resumed``: how many of them an earlier run made."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self.made: set[int] = set()
        self.resumed = 0
        self._log: TextIO | None = None

    def path(self, number: int) -> Path:
        """Where a video is made."""
        return self.data / video_name(number)

    def resume(self) -> None:
        """Take over what is finished; what else a run left that was killed is removed."""
        sizes = {}
        for line in read_whole_lines(self.folder / "made.jsonl")[0]:
            with suppress(ValueError, KeyError, TypeError):  # a loss of power can leave anything
                value = parse_object(line)
                sizes[int(value["number"])] = int(value["bytes"])

        self.made = {number for number, size in sizes.items() if _has_bytes(self.path(number), size)}
        self.resumed = len(self.made)
        self.keep_only(self.made)

        lines = (_line(number, sizes[number]) for number in sorted(self.made))
        self._log = begin_lines(self.folder / "made.jsonl", lines)

    def finished(self, number: int, size: int) -> None:
        """Video ``number`` is finished and has ``size`` bytes."""
        assert self._log is not None
        self._log.write(_line(number, size))
        self._log.flush()
        self.made.add(number)

    def keep_only(self, numbers: Iterable[int]) -> None:
        """Remove everything from ``data/`` but these videos."""
        kept = {video_name(number) for number in numbers}
        for path in self.data.rglob("*"):
            if path.is_file() and path.relative_to(self.data).as_posix() not in kept:
                path.unlink()
        shutil.rmtree(self.data / "records", ignore_errors=True)

    def close(self) -> None:
        """Nothing more is noted."""
        if self._log is not None:
            self._log.close()

    def remove(self) -> None:
        """Nothing of it is needed any more."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def video_name(number: int) -> str:
    """Relative to the folder of the data. The number is the record's place in the drawn order."""
    return f"videos/{number:06d}.mp4"


@contextmanager
def begin(out: Path, records: Iterable[TruthRecord], seed: int) -> Iterator[Workspace]:
    """The folder beside ``out`` where its videos are made, new or resumed.

    Raises:
        InputError: ``out`` exists or cannot be written, another run makes it, or other data was begun there.
    """
    if out.exists():
        raise InputError(f"{out}: exists already; give a new folder with --out")

    work = Workspace(out.with_name(f".{out.name}.partial"))
    try:
        (work.data / "videos").mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise unwritable(out, problem) from problem

    with only_writer(out, work.folder / "lock"):
        try:
            _check_plan(work.folder, records, seed)
            work.resume()
            yield work
        finally:
            work.close()


def _check_plan(folder: Path, records: Iterable[TruthRecord], seed: int) -> None:
    """Write down what is to be made, or see that the same was begun; a limit is no part of it."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(json.dumps(to_row(record)).encode())
    # Another encoder may write other bytes: half of the videos of one and half of the other would be neither.
    made_by = f"{bridge_stg.__version__}, av {av.__version__}"
    plan = {"schema": WORK_SCHEMA, "by": made_by, "seed": seed, "records": digest.hexdigest()}

    if changed_plan(folder / "plan.json", plan):
        raise InputError(
            f"{folder}: holds an unfinished run with another seed, other records or another version; give that "
            "command again, or remove the folder"
        )


def _line(number: int, size: int) -> str:
    return to_line({"number": number, "bytes": size})


def _has_bytes(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def on_disk(path: Path) -> int:
    """Wait until a file is on the disk, so that not even a loss of power halves it; returns its bytes."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
        return os.fstat(handle.fileno()).st_size
