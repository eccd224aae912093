"""Videos of one folder that are in another one too: each split can be built into a folder of its own.

No video is decoded. Files of the same size are compared by a hash of their first and last MiB, so that files of
other folders are read only where there is something to compare.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from bridge_stg.curation.doctor.annotations import AnnotatedVideo, BadLine, RecordFolder
from bridge_stg.curation.doctor.findings import Finding
from bridge_stg.curation.doctor.videos import state_of
from bridge_stg.errors import DataError, InputError
from bridge_stg.records.record import Media
from bridge_stg.video.images import picture_files

COMPARED_BYTES = 1 << 20


@dataclass(frozen=True)
class _OtherVideo:
    """A video of another folder: as a record there names it, one such record, and that record's split."""

    name: str
    media: Media
    record: str
    split: str | None


@dataclass
class OtherFolder:
    """A folder that was compared with: ``missing`` of its ``videos`` are not there, ``shared`` are in both."""

    folder: Path
    records: int = 0
    unusable: int = 0
    videos: int = 0
    missing: int = 0
    shared: int = 0
    findings: list[Finding] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "records": self.records,
            "unusable_lines": self.unusable,
            "videos": self.videos,
            "videos_missing": self.missing,
            "videos_shared": self.shared,
        }


def check_against(place: Path, others: tuple[Path, ...]) -> None:
    """Look whether the other folders can be compared with, before hours are spent on the first one.

    Raises:
        InputError: one of them is not there, given twice, or ``place`` itself.
        DataError: one of them holds no records.
    """
    seen = {_records_file(place)}
    for other in others:
        if not other.exists():
            raise InputError(f"{other}: no such folder; give --against a folder made by bridge-stg data build")
        if _records_file(other) in seen:
            raise InputError(f"{other}: given twice; give --against the folders of other splits")
        seen.add(_records_file(other))
        RecordFolder(other)


def _records_file(place: Path) -> Path:
    """The same for a folder and for its own truth.jsonl, which holds the same records as its store."""
    return (place / "truth.jsonl" if place.is_dir() else place).resolve()


def compare_with_folder(videos: dict[str, AnnotatedVideo], other: Path) -> OtherFolder:
    """Find which of ``videos`` (by real path) the records of ``other`` name as well, or have a copy of.

    Raises:
        DataError: ``other`` holds no record.
    """
    report = OtherFolder(other)
    theirs = _videos_of(RecordFolder(other), report)
    sizes = {path: _size(path) for path in [*videos, *theirs]}
    report.videos = len(theirs)
    report.missing = sum(sizes[path] is None for path in theirs)

    # By path, then by content under another name.
    copies = _copies(videos, theirs, sizes)
    shared: dict[str, str] = {}
    for path, found in theirs.items():
        if path in videos:
            shared.setdefault(path, f"the same file as {_in_words(found)}")
        for own in copies.get(path, ()):
            shared.setdefault(own, f"the same content as {_in_words(found)}")

    report.shared = sum(path in videos or path in copies for path in theirs)
    report.findings = [
        Finding("leak", f"also in {other}: {shared[path]}", video=video.name)
        for path, video in videos.items()
        if path in shared
    ]
    rest = {path: video for path, video in theirs.items() if path not in videos and path not in copies}
    report.findings += _namesakes(videos, rest, sizes, other)
    return report


def _copies(
    videos: dict[str, AnnotatedVideo], theirs: dict[str, _OtherVideo], sizes: dict[str, int | None]
) -> dict[str, list[str]]:
    """Path of one of ``theirs`` -> paths of its copies among ``videos``; only those that have copies."""
    by_size: dict[tuple[Media, int], list[str]] = defaultdict(list)
    for path, video in videos.items():
        if (size := sizes[path]) is not None:
            by_size[video.media, size].append(path)

    # A file is read only when another one has its size.
    contents: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for path, other in theirs.items():
        size = sizes[path]
        alike = by_size.get((other.media, size), []) if path not in videos and size is not None else []
        for one in [*alike, path] if alike else []:
            if one not in contents:
                contents[one] = _content(Path(one))

        same = [own for own in alike if contents[own] and contents[own] == contents[path]]
        if same:
            found[path] = same
    return found


def _namesakes(
    videos: dict[str, AnnotatedVideo],
    theirs: dict[str, _OtherVideo],
    sizes: dict[str, int | None],
    other: Path,
) -> list[Finding]:
    """Videos that share a name and nothing else: a name alone is no proof, so there is one finding for all."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for path, video in videos.items():
        by_name[_plain_name(video.name, video.media)].append(path)

    differ: list[str] = []
    unknown: list[str] = []
    for path, found in theirs.items():
        if own := by_name.get(_plain_name(found.name, found.media)):
            missing = any(sizes[one] is None for one in (path, *own))
            (unknown if missing else differ).append(found.name)

    findings = []
    gone = sum(sizes[path] is None for path in theirs)
    if gone or unknown:
        said = f"{gone} of {other} are not there: compared by path and name only"
        alike = f"; {_listed(unknown)} have the name of one here" if unknown else ""
        findings.append(Finding("not compared", said + alike))
    if differ:
        said = f"{len(differ)} of {other} have the name of one here, the content differs: {_listed(differ)}"
        findings.append(Finding("same name", said))
    return findings


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _size(path: str) -> int | None:
    state = state_of(Path(path))
    return state[0] if state is not None else None


def _videos_of(folder: RecordFolder, report: OtherFolder) -> dict[str, _OtherVideo]:
    """By real path, in the order of the records; counts records and lines that are none."""
    found: dict[str, _OtherVideo] = {}
    real: dict[Path, str] = {}
    for record in folder:
        if isinstance(record, BadLine):
            report.unusable += 1
            continue

        report.records += 1
        path = folder.path(record)
        if path not in real:
            real[path] = os.path.realpath(path)
            found.setdefault(real[path], _OtherVideo(record.video, record.media, record.id, record.split))
    if not report.records:
        raise DataError(f"{folder.place}: holds no records to compare with")
    return found


def _plain_name(name: str, media: Media) -> str:
    """Without folders and, as videos are often stored in another container, without the suffix."""
    path = PurePosixPath(name)
    return path.name if media == "frames" else path.stem


def _in_words(video: _OtherVideo) -> str:
    split = f", split {video.split}" if video.split else ""
    return f"{video.name} (record {video.record}{split})"


def _content(path: Path) -> str:
    """Hash of the size in bytes and the first and last MiB; of a folder, of its first and last picture.

    Empty for nothing to compare: no bytes, or bytes that cannot be read.
    """
    digest = hashlib.sha256()
    try:
        files = picture_files(path) if path.is_dir() else [path]
        size = sum(file.stat().st_size for file in files)
        if not size:
            return ""

        digest.update(f"{len(files)} {size} ".encode())
        with files[0].open("rb") as handle:
            digest.update(handle.read(COMPARED_BYTES))
        with files[-1].open("rb") as handle:
            handle.seek(max(files[-1].stat().st_size - COMPARED_BYTES, 0))
            digest.update(handle.read(COMPARED_BYTES))
    except OSError:
        return ""
    return digest.hexdigest()
