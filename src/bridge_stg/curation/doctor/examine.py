"""All checks of a folder: its records, its files, and the records that a person should see."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

import bridge_stg
from bridge_stg.curation.doctor.annotations import Annotations, BadLine, RecordFolder, read_annotations
from bridge_stg.curation.doctor.comparison import compare
from bridge_stg.curation.doctor.findings import KINDS, SEVERITIES, Finding, Severity
from bridge_stg.curation.doctor.leakage import OtherFolder, check_against, compare_with_folder
from bridge_stg.curation.doctor.videos import OpenedFiles, open_videos
from bridge_stg.errors import InputError
from bridge_stg.records.record import TruthRecord

DOCTOR_SCHEMA = "bridge-stg/doctor/1"


@dataclass(frozen=True)
class ShownRecord:
    """A record to be shown as a sample, where its video is, and what was found about either."""

    record: TruthRecord
    path: Path
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    ``left_out`` is how many items ``data build`` could not use (None: not built by it); ``against`` are the
    folders in which its videos must not be.
    """

    folder: Path
    annotations: Annotations
    files: OpenedFiles
    findings: tuple[Finding, ...]
    samples: tuple[ShownRecord, ...]
    left_out: int | None
    against: tuple[OtherFolder, ...] = ()

    @property
    def kinds(self) -> dict[str, int]:
        """How many of each kind, errors first."""
        counts = Counter(finding.kind for finding in self.findings)
        return {kind: counts[kind] for kind in KINDS if counts[kind]}

    def count(self, severity: Severity) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def healthy(self) -> bool:
        """No finding is an error."""
        return self.count("error") == 0

    def to_json(self) -> dict[str, Any]:
        notes = self.annotations
        return {
            "schema": DOCTOR_SCHEMA,
            "version": bridge_stg.__version__,
            "records": notes.records,
            "unusable_lines": notes.unusable,
            "left_out_by_build": self.left_out,
            "tasks": dict(sorted(notes.tasks.items())),
            "splits": dict(sorted(notes.splits.items())),
            "videos": len(notes.videos),
            "videos_opened": len(self.files.by_path),
            "videos_missing": len(self.files.missing),
            "against": [other.to_json() for other in self.against],
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "kinds": self.kinds,
            "findings": [finding.to_json() for finding in self.findings],
        }


def examine(
    place: Path,
    out: Path,
    videos: Path | None = None,
    workers: int = 1,
    samples: int = 24,
    against: tuple[Path, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Check the records of a folder and every video they name.

    Args:
        place: a folder with a store or a truth.jsonl, or a .jsonl file.
        out: where ``videos.jsonl`` is kept, so that a second run goes on.
        videos: what the paths of the records are relative to; None as the folder says.
        workers: processes that open videos.
        samples: records to show.
        against: folders of other splits; videos that are there too are leaks.
        progress: told (videos done, videos in all).

    Raises:
        DataError: no records here, or the store is cut off.
        InputError: a folder is not there, or ``out`` cannot be written.
    """
    if videos is not None and not videos.is_dir():
        raise InputError(f"{videos}: no such folder; give --videos the folder that paths are relative to")

    folder = RecordFolder(place, videos)
    check_against(place, against)
    annotations = read_annotations(folder)
    files = open_videos(annotations.videos, out, workers, progress)

    others = tuple(compare_with_folder(annotations.videos, other) for other in against)
    leaks = [finding for other in others for finding in other.findings]
    findings = sorted(
        [*annotations.findings, *compare(annotations.videos, files), *leaks],
        key=lambda finding: list(KINDS).index(finding.kind),
    )

    shown = _samples(folder, annotations, findings, samples)
    left_out = _left_out(folder.folder)
    return Diagnosis(folder.folder, annotations, files, tuple(findings), shown, left_out, others)


def _samples(
    folder: RecordFolder, annotations: Annotations, findings: list[Finding], count: int
) -> tuple[ShownRecord, ...]:
    """Up to half of them have findings, kind after kind; the others are spread evenly over the videos."""
    flagged = _flagged(annotations, findings, max(count // 2, 1))[:count]
    wanted = [*flagged, *_spread(annotations, flagged, max(count - len(flagged), 0))]
    records: dict[int, TruthRecord] = {}
    for number, record in enumerate(folder):
        if number in wanted:
            assert not isinstance(record, BadLine)
            records[number] = record
            if len(records) == len(wanted):
                break

    of_record: dict[str | None, list[Finding]] = defaultdict(list)
    of_video: dict[str | None, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.record is not None:
            of_record[finding.record].append(finding)
        else:
            of_video[finding.video].append(finding)
    return tuple(
        ShownRecord(record, folder.path(record), (*of_record[record.id], *of_video[record.video]))
        for record in (records[number] for number in wanted)
    )


def _flagged(annotations: Annotations, findings: list[Finding], most: int) -> list[int]:
    """Numbers of records with findings: the first of each kind, then the second of each, and so on."""
    first_of = {video.name: video.numbers[0] for video in annotations.videos.values()}
    by_kind: dict[str, list[int]] = {}
    for finding in findings:
        if finding.record is not None:
            by_kind.setdefault(finding.kind, []).append(annotations.numbers[finding.record])
        elif finding.video is not None:
            by_kind.setdefault(finding.kind, []).append(first_of[finding.video])

    in_turns = chain.from_iterable(zip_longest(*by_kind.values()))
    return list(dict.fromkeys(number for number in in_turns if number is not None))[:most]


def _spread(annotations: Annotations, flagged: list[int], room: int) -> list[int]:
    """Numbers of records without findings, as many of each video as fit, evenly over all of them."""
    videos = annotations.videos.values()
    each = -(-room // len(videos)) if videos else 0
    others = [
        number for video in videos for number in [one for one in video.numbers if one not in flagged][:each]
    ]
    places = np.linspace(0, len(others) - 1, min(room, len(others))).round().astype(int)
    return sorted(others[place] for place in places)


def _left_out(folder: Path) -> int | None:
    """What the build that made the folder skipped, without what it left out by design."""
    try:
        counts = json.loads((folder / "counts.json").read_bytes())
        return sum(int(split["skipped"]) for split in counts["splits"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
