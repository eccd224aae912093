"""Writes the frames that training reads, once, so that no epoch has to decode them again.

The clips are dealt out to shards in the order of the records, and a shard is the unit of work: it appears whole
or not at all, and a run that was stopped goes on with those that are not there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bridge_stg.curation.doctor.annotations import BadLine, RecordFolder
from bridge_stg.errors import DataError, InputError, unwritable
from bridge_stg.files.descriptions import changed_plan
from bridge_stg.files.json_lines import to_line
from bridge_stg.files.output_files import whole_file, write_whole
from bridge_stg.files.worker_pool import Died, run_each
from bridge_stg.geometry.clock import VideoClock
from bridge_stg.records.part import asked_span
from bridge_stg.training.data.frame_cache import (
    CACHE_SCHEMA,
    INDEX_SCHEMA,
    KEY_FIELDS,
    ROW_SCHEMA,
    ClipKey,
    clip_key,
    to_row,
)
from bridge_stg.types import TimeSpan
from bridge_stg.video.sampling import sample_video

# Small enough that a stopped run loses little, large enough that 100,000 clips are not as many files.
CLIPS_PER_SHARD = 16


@dataclass(frozen=True)
class FrameSettings:
    """How frames are read: as a model with this rate, side of a visual token and tokens per frame reads them.

    ``jpeg_quality`` None keeps every pixel as it is.
    """

    fps: float = 2.0
    token_side: int = 32
    max_tokens: int = 192
    jpeg_quality: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.fps < float("inf"):
            raise InputError(f"--fps must be a positive number of frames per second, got {self.fps}")
        if min(self.token_side, self.max_tokens) < 1:
            raise InputError(
                f"--token-side and --max-tokens must be at least 1, got {self.token_side}, {self.max_tokens}"
            )
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality <= 100:
            raise InputError(f"--jpeg-quality must be within 1..100, got {self.jpeg_quality}")


@dataclass(frozen=True)
class ClipToExtract:
    """A part of a source to be read. ``pictures`` is the clock of a folder of pictures, which has none."""

    name: str
    path: Path
    span: TimeSpan | None
    pictures: VideoClock | None = None

    @property
    def times(self) -> list[float] | None:
        if self.pictures is None:
            return None
        times: list[float] = self.pictures.times.tolist()
        return times

    @property
    def key(self) -> ClipKey:
        return clip_key(self.name, self.span, self.times)


@dataclass(frozen=True)
class Extracted:
    """``failed`` is (video, reason) of each clip without frames; ``kept`` of the clips were there before."""

    clips: int
    frames: int
    kept: int
    bad_lines: int
    failed: tuple[tuple[str, str], ...]
    size: int


def clips_of(folder: RecordFolder) -> tuple[list[ClipToExtract], int]:
    """Each clip that the records ask about, once, in their order; and how many lines are no records.

    The parts are those that training reads: a record's clip, or the one frame of a rec record.
    """
    base = os.path.abspath(folder.folder)
    found: dict[Any, ClipToExtract] = {}
    bad = 0
    for record in folder:
        if isinstance(record, BadLine):
            bad += 1
            continue

        part = asked_span(record)
        pictures = record.clock if record.media == "frames" else None
        path = folder.path(record)
        name = os.path.relpath(os.path.abspath(path), base)
        # By path and not by what the record calls it: "a.mp4" and "./a.mp4" are one.
        found.setdefault((name, part, pictures), ClipToExtract(name, path, part, pictures))
    return list(found.values()), bad


def extract_frames(
    place: Path,
    out: Path,
    settings: FrameSettings,
    videos: Path | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Extracted:
    """Write the frames of all clips of a folder of records as a cache; see ``frame_cache``.

    Clips that cannot be read are written down in ``failed.jsonl``, and tried again by the next run.

    Args:
        place, videos: as for the doctor.
        out: a new folder, or one that the same command began.
        workers: processes that decode.
        progress: told (clips done, clips in all).

    Raises:
        DataError: no records.
        InputError: ``out`` was begun with other settings or records, or cannot be written.
    """
    if videos is not None and not videos.is_dir():
        raise InputError(f"{videos}: no such folder; give --videos the folder that paths are relative to")
    folder = RecordFolder(place, videos)
    clips, bad = clips_of(folder)
    if not clips:
        raise DataError(f"{place}: holds no records")
    _begin(out, settings, clips)

    # What an earlier run finished is kept.
    shards = [clips[first : first + CLIPS_PER_SHARD] for first in range(0, len(clips), CLIPS_PER_SHARD)]
    finished = {number for number, shard in enumerate(shards) if _is_finished(_shard_path(out, number), shard)}
    done = kept = sum(len(shards[number]) for number in finished)
    if progress is not None:
        progress(done, len(clips))

    failed: list[tuple[str, str]] = []
    jobs = [(number, shard) for number, shard in enumerate(shards) if number not in finished]
    for (_, shard), result in run_each(partial(_write_shard, out, settings), jobs, workers):
        if isinstance(result, Died):
            # Which of them it was is not known; none of them is in the cache.
            failed += [(clip.name, "the process that read its shard died") for clip in shard]
        else:
            failed += result
        done += len(shard)
        if progress is not None:
            progress(done, len(clips))

    written, frames = _write_index(out, len(shards))
    failed.sort()
    write_whole(
        out / "failed.jsonl", "".join(to_line({"video": video, "reason": reason}) for video, reason in failed)
    )
    about = {
        "schema": CACHE_SCHEMA,
        "root": os.path.relpath(folder.folder, out),
        **asdict(settings),
        "clips": written,
        "frames": frames,
        "failed": len(failed),
        "shards": len(shards),
    }
    write_whole(out / "cache.json", json.dumps(about, indent=1) + "\n")

    size = sum(file.stat().st_size for file in (out / "shards").iterdir())
    return Extracted(len(clips), frames, kept, bad, tuple(failed), size)


def _begin(out: Path, settings: FrameSettings, clips: Sequence[ClipToExtract]) -> None:
    """Write down what is to be extracted, or see that the same was begun before."""
    keys = json.dumps([clip.key for clip in clips]).encode()
    plan = {"schema": CACHE_SCHEMA, **asdict(settings), "of": hashlib.sha256(keys).hexdigest()}
    path = out / "plan.json"
    if not path.exists() and out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: holds other files; give --out a new folder")

    try:
        (out / "shards").mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise unwritable(out, problem) from problem
    if changed_plan(path, plan):
        raise InputError(f"{out}: was begun with other settings or other records; give --out a new folder")


def _write_shard(
    out: Path, settings: FrameSettings, job: tuple[int, Sequence[ClipToExtract]]
) -> list[tuple[str, str]]:
    """Write the clips of a shard, one row group each; returns (video, reason) of those that cannot be read."""
    # Here and not above: it brings torch, which only the processes that resize need.
    from bridge_stg.model.frames import fit_frame_size

    def frame_size(width: int, height: int) -> tuple[int, int]:
        return fit_frame_size(width, height, settings.token_side, settings.max_tokens)

    number, clips = job
    path = _shard_path(out, number)
    failed = []
    with (
        whole_file(path) as unfinished,
        # Pictures are compressed already.
        pq.ParquetWriter(unfinished, ROW_SCHEMA, compression="none", use_dictionary=False) as writer,
    ):
        for clip in clips:
            try:
                sampled = sample_video(clip.path, settings.fps, frame_size, clip.span, clip.times)
                size = clip.path.stat().st_size if clip.path.is_file() else 0
                row = to_row(clip.key, sampled, size, settings.jpeg_quality)
            except (InputError, OSError, ValueError) as problem:
                row = dict.fromkeys(ROW_SCHEMA.names) | dict(zip(_KEY_NAMES, clip.key, strict=True))
                row["problem"] = str(problem).removeprefix(f"{clip.path}: ")
                failed.append((clip.name, row["problem"]))
            writer.write_table(pa.Table.from_pylist([row], schema=ROW_SCHEMA))
    return failed


_KEY_NAMES = [name for name, _ in KEY_FIELDS]


def _is_finished(path: Path, clips: Sequence[ClipToExtract]) -> bool:
    """Whether a shard is there with the frames of all its clips."""
    if not path.is_file():
        return False
    try:
        rows = pq.read_table(path, columns=[*_KEY_NAMES, "problem"], use_threads=False).to_pydict()
    except (OSError, pa.ArrowException):
        return False  # it is written again
    found = list(zip(*(rows[name] for name in _KEY_NAMES), strict=True))
    return found == [clip.key for clip in clips] and not any(rows["problem"])


def _write_index(out: Path, shards: int) -> tuple[int, int]:
    """Where each clip is; returns the number of clips and of frames that the cache has."""
    index: dict[str, list[Any]] = {name: [] for name in INDEX_SCHEMA.names}
    frames = 0
    for shard in range(shards):
        path = _shard_path(out, shard)
        if not path.is_file():
            continue  # its process died; its clips are listed as failed

        columns = [*_KEY_NAMES, "problem", "source_frames"]
        rows = pq.read_table(path, columns=columns, use_threads=False).to_pylist()
        for number, row in enumerate(rows):
            if row["problem"] is not None:
                continue

            frames += len(row["source_frames"])
            for name in _KEY_NAMES:
                index[name].append(row[name])
            index["shard"].append(shard)
            index["row"].append(number)

    with whole_file(out / "index.parquet") as unfinished:
        pq.write_table(pa.table(index, schema=INDEX_SCHEMA), unfinished)
    return len(index["row"]), frames


def _shard_path(out: Path, number: int) -> Path:
    return out / "shards" / f"{number:05d}.parquet"
