"""Tubes into the files of annotation tools: stored records, or what ``ground`` found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from bridge_stg.curation.annotations import coco_vid, cvat, labelstudio, mot
from bridge_stg.curation.annotations.drawn_tubes import DrawnTube, DrawnVideo, Format
from bridge_stg.errors import DataError, InputError, unwritable
from bridge_stg.geometry.clock import VideoClock
from bridge_stg.records.open import open_truth
from bridge_stg.records.record import TruthRecord

_WRITERS = {"cvat": cvat.write, "labelstudio": labelstudio.write, "mot": mot.write, "coco-vid": coco_vid.write}
# What --out has to end in; None is a folder.
SUFFIXES: dict[Format, str | None] = {"cvat": None, "labelstudio": ".json", "mot": None, "coco-vid": ".json"}
# Rates of cameras and of television that a number with few digits stands for.
_RATE_LIMIT = 1001


@dataclass
class ExportReport:
    """What an export wrote; ``left_out`` counts reasons, ``notes`` counts what changed on the way."""

    files: list[Path]
    videos: int = 0
    tubes: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


def export_records(place: Path, name: Format, out: Path) -> ExportReport:
    """Write the boxes of all records of a store or truth file.

    Raises:
        DataError: the records cannot be read, contradict each other, or none has boxes.
        InputError: ``out`` exists or does not fit the format.
    """
    report = ExportReport([])
    videos = list(_by_video(open_truth(place).records, report))
    if not videos:
        raise DataError(f"{place}: no record has boxes to export")
    return _write(videos, name, out, report)


def export_videos(videos: list[DrawnVideo], name: Format, out: Path) -> ExportReport:
    """Write ``videos``, in particular those of :func:`read_results`.

    Raises:
        DataError, InputError: as :func:`export_records`.
    """
    return _write(videos, name, out, ExportReport([]))


def _write(videos: list[DrawnVideo], name: Format, out: Path, report: ExportReport) -> ExportReport:
    if out.exists():
        raise InputError(f"{out}: exists already; give another name with --out")
    suffix = SUFFIXES[name]
    if suffix is not None and out.suffix != suffix:
        raise InputError(f"{out}: {name} is one file; give a name that ends in {suffix}")

    try:
        report.files = _WRITERS[name](videos, out)
    except OSError as problem:
        raise unwritable(out, problem) from problem

    # Label Studio places boxes by their seconds.
    if name != "labelstudio":
        report.notes.update(_time_note(video, name) for video in videos if video.frame_times is not None)
    report.videos, report.tubes = len(videos), sum(len(video.tubes) for video in videos)
    return report


def _time_note(video: DrawnVideo, name: Format) -> str:
    """How far off seconds will be in a format that holds frames without their times."""
    late = video.clock.furthest(VideoClock(video.fps, video.frame_count))
    return (
        f"{video.video}: its frame rate varies, which {name} cannot hold; frame numbers are right, "
        f"seconds reckoned from {float(video.fps):.4g} per second are up to {late:.2f} s off"
    )


def _by_video(records: Iterable[TruthRecord], report: ExportReport) -> Iterator[DrawnVideo]:
    """Records in groups of one video, in the order in which the videos first come."""
    first: dict[str, TruthRecord] = {}
    tubes: dict[str, list[DrawnTube]] = {}
    for record in records:
        if record.media == "image":
            report.left_out["about a picture, not a video"] += 1
            continue
        if not record.boxes:
            report.left_out[f"{record.task} record without boxes"] += 1
            continue

        # Records of one video must agree about it.
        known = first.setdefault(record.video, record)
        facts = ("fps", "frame_count", "width", "height", "frame_times")
        odd = next((fact for fact in facts if getattr(known, fact) != getattr(record, fact)), None)
        if odd is not None:
            raise DataError(
                f"records {known.id!r} and {record.id!r} give {record.video} another {odd}; build again"
            )

        seen = sorted(record.boxes)
        if record.window is not None and record.window != (seen[0], seen[-1] + 1):
            # The files say when only by the boxes that they hold.
            report.notes["first or last frame of the window has no box: the window comes back narrower"] += 1
        tubes.setdefault(record.video, []).append(DrawnTube(record.query, record.boxes))

    for video, record in first.items():
        yield DrawnVideo(
            video=video,
            fps=exact_rate(record.fps),
            frame_count=record.frame_count,
            width=record.width,
            height=record.height,
            tubes=tuple(tubes[video]),
            media=record.media,
            frame_times=record.frame_times,
        )


def exact_rate(fps: float) -> Fraction:
    """The simple fraction that a rate stored as a float came from.

    >>> exact_rate(30000 / 1001)
    Fraction(30000, 1001)
    """
    return Fraction(fps).limit_denominator(_RATE_LIMIT)
