"""What the files say of themselves: each is opened once, several at a time, and what was seen is kept.

``videos.jsonl`` gets a line per file as soon as it was looked at; a run that was stopped goes on from there. A
line holds nothing of the annotation, so it stays true when only that changes; a file whose size or time of
change differs is looked at again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from bridge_stg.curation.doctor.annotations import AnnotatedVideo
from bridge_stg.errors import InputError, VideoError
from bridge_stg.files.json_lines import begin_lines, read_whole_lines, to_line
from bridge_stg.files.worker_pool import Died, run_each
from bridge_stg.geometry.clock import VideoClock
from bridge_stg.records.record import Media
from bridge_stg.types import FrameTimes
from bridge_stg.video.decode import VideoFile, open_source
from bridge_stg.video.images import picture_files

OPENED_SCHEMA = "bridge-stg/doctor-videos/1"
HASHED_BYTES = 1 << 20
# Frames of a video that are decoded to see whether they can be.
FRAMES_TRIED = 9


@dataclass(frozen=True)
class OpenedFile:
    """One file as it was found. ``problem`` says why it could not be read; then only the first fields hold.

    ``size`` and ``modified`` (nanoseconds) tell whether it is still the same file; ``content`` is a hash of its
    first MiB; ``duration`` in seconds; ``width`` and ``height`` as shown; ``turned`` is how the stored picture
    is turned for that; ``damaged`` are the frames that were tried and could not be decoded.
    """

    path: str
    media: Media
    size: int
    modified: int
    content: str = ""
    problem: str | None = None
    width: int = 0
    height: int = 0
    fps: str = ""
    frames: int = 0
    duration: float = 0.0
    turned: str = ""
    notes: tuple[str, ...] = ()
    damaged: tuple[int, ...] = ()
    frame_times: FrameTimes | None = None

    @property
    def clock(self) -> VideoClock:
        return VideoClock(Fraction(self.fps), self.frames, self.frame_times)

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> OpenedFile:
        values = {entry.name: line[entry.name] for entry in fields(cls)}
        lists = {"notes": tuple(line["notes"]), "damaged": tuple(line["damaged"])}
        times = line["frame_times"]
        return cls(**values | lists | {"frame_times": FrameTimes.from_json(times) if times else None})


@dataclass(frozen=True)
class OpenedFiles:
    """``by_path`` has every file there is; ``missing`` those that are not; ``kept`` were looked at before."""

    by_path: dict[str, OpenedFile]
    missing: frozenset[str]
    kept: int


def open_videos(
    videos: dict[str, AnnotatedVideo],
    out: Path,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> OpenedFiles:
    """Open every video, or take what an earlier run wrote into ``out`` about it.

    Args:
        videos: by real path.
        progress: told (files done, files in all).

    Raises:
        InputError: ``out/videos.jsonl`` is another file or cannot be written.
    """
    before = _read_opened(out / "videos.jsonl", out)
    states = {path: state_of(Path(path)) for path in videos}
    present = {path: state for path, state in states.items() if state is not None}
    found = {
        path: before[path]
        for path, state in present.items()
        if path in before
        and (before[path].size, before[path].modified) == state
        and before[path].media == videos[path].media
    }
    kept = len(found)

    jobs = [
        _FileToOpen(path, videos[path].media, *present[path]) for path in sorted(present) if path not in found
    ]
    # Written anew without the lines that no longer hold, then added to.
    with begin_lines(out / "videos.jsonl", (_line(opened, out) for opened in found.values())) as handle:
        if progress is not None:
            progress(kept, len(present))

        for job, result in run_each(_open, jobs, workers):
            opened = _died(job) if isinstance(result, Died) else result
            found[job.path] = opened
            handle.write(_line(opened, out))
            handle.flush()
            if progress is not None:
                progress(len(found), len(present))
    return OpenedFiles(found, frozenset(set(videos) - set(present)), kept)


@dataclass(frozen=True)
class _FileToOpen:
    path: str
    media: Media
    size: int
    modified: int


def _open(job: _FileToOpen) -> OpenedFile:
    """Open, and decode frames spread evenly from the first to the last: damage shows where the data is read."""
    path = Path(job.path)
    about = (job.path, job.media, job.size, job.modified)
    content = ""
    try:
        content = _content(path)
        # Pictures have no clock of their own; one per second does to open them.
        times = [float(number) for number in range(len(picture_files(path)))] if path.is_dir() else None
        source = open_source(path, times)
        last = len(source.times) - 1
        wanted = np.unique(np.linspace(0, last, FRAMES_TRIED).round().astype(int)).tolist()
        decoded = {number for number, _ in source.read(wanted)}
    except VideoError as problem:
        # The finding names the video; its folder and its name need not be said again.
        return OpenedFile(
            *about, content, str(problem).removeprefix(f"{job.path}: ").replace(job.path, path.name)
        )
    except (OSError, ValueError, MemoryError) as problem:
        return OpenedFile(*about, content, f"{type(problem).__name__}: {problem}".replace(job.path, path.name))

    info = source.info
    return OpenedFile(
        *about,
        content,
        None,
        info.width,
        info.height,
        str(info.fps),
        info.frames,
        info.duration,
        _turned(source) if isinstance(source, VideoFile) else "",
        tuple(source.notes),
        tuple(number for number in wanted if number not in decoded),
        info.frame_times,
    )


def _died(job: _FileToOpen) -> OpenedFile:
    return OpenedFile(job.path, job.media, job.size, job.modified, problem="the process that read it died")


def _turned(source: VideoFile) -> str:
    """How the stored picture is turned, in words; empty for not at all."""
    turn = source.orientation
    if turn.transpose:
        return "by a quarter turn" if turn.flip_rows != turn.flip_columns else "mirrored along its diagonal"
    if turn.flip_rows and turn.flip_columns:
        return "upside down"
    return "mirrored" if turn.flip_rows or turn.flip_columns else ""


def _content(path: Path) -> str:
    """Hash of the first MiB of a file, or of the pictures of a folder in a row; empty for no bytes."""
    digest, left = hashlib.sha256(), HASHED_BYTES
    for file in picture_files(path) if path.is_dir() else [path]:
        with file.open("rb") as handle:
            block = handle.read(left)
        digest.update(block)
        left -= len(block)
        if not left:
            break
    return digest.hexdigest() if left < HASHED_BYTES else ""


def state_of(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of change; of a folder the number of its pictures. None when it is not there."""
    try:
        about = path.stat()
        return (len(picture_files(path)) if path.is_dir() else about.st_size), about.st_mtime_ns
    except OSError:
        return None


def _line(opened: OpenedFile, out: Path) -> str:
    # Relative, so that the data can be moved together with what was found about it.
    times = opened.frame_times.to_json() if opened.frame_times else None
    values = asdict(opened) | {"path": os.path.relpath(opened.path, out), "frame_times": times}
    return to_line({"schema": OPENED_SCHEMA, **values})


def _read_opened(path: Path, out: Path) -> dict[str, OpenedFile]:
    """What an earlier run wrote; a last line that is cut off is left out.

    Raises:
        InputError: the file is something else.
    """
    lines, _ = read_whole_lines(path)
    found: dict[str, OpenedFile] = {}
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
            if value.pop("schema") != OPENED_SCHEMA:
                raise ValueError("another schema")
            opened = OpenedFile.from_json(value)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise InputError(f"{path}:{number}: not written by data doctor; give another --out") from problem

        real = os.path.realpath(out / opened.path)
        found[real] = replace(opened, path=real)
    return found
