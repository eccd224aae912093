"""What the doctor found as one page: figures, the table, frames with their boxes, and the findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

import bridge_stg
from bridge_stg.curation.doctor.examine import Diagnosis, ShownRecord
from bridge_stg.curation.doctor.findings import KINDS, Finding
from bridge_stg.errors import VideoError
from bridge_stg.evaluation.report.document import (
    Block,
    Document,
    Fact,
    Facts,
    Heading,
    Items,
    Paragraph,
    Picture,
    Table,
    row,
)
from bridge_stg.evaluation.report.strips import TRUTH_COLOR, Lane, draw_strip, read_frames
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import TimeSpan

SHOWN_PER_KIND = 12


def doctor_page(diagnosis: Diagnosis, progress: Callable[[int, int], None] | None = None) -> Document:
    """The page; every sample is opened for its pictures. ``progress`` is told (samples done, in all)."""
    return Document(
        (
            *_head(diagnosis),
            *_kinds(diagnosis),
            *_samples(diagnosis.samples, progress),
            *_findings(diagnosis),
        )
    )


def _head(diagnosis: Diagnosis) -> list[Block]:
    notes, files = diagnosis.annotations, diagnosis.files
    tasks = ", ".join(f"{count:,} {task}" for task, count in sorted(notes.tasks.items()))
    splits = ", ".join(f"{count:,} {split}" for split, count in sorted(notes.splits.items()))
    verdict = "No errors" if diagnosis.healthy else f"{diagnosis.count('error'):,} errors"

    facts = [
        Fact("errors", f"{diagnosis.count('error'):,}", "unusable records, false scores"),
        Fact("warnings", f"{diagnosis.count('warning'):,}", "to be looked at"),
        Fact("records", f"{notes.records:,}", f"{notes.unusable:,} more lines cannot be read"),
        Fact("videos opened", f"{len(files.by_path):,}", f"of {len(notes.videos):,} that records name"),
    ]
    if diagnosis.left_out is not None:
        facts.append(Fact("left out when built", f"{diagnosis.left_out:,}", "reasons in skipped.jsonl"))

    for other in diagnosis.against:
        missing = f", {other.missing:,} of them missing" if other.missing else ""
        about = f"of {other.videos:,} videos there{missing}"
        facts.append(Fact(f"also in {other.folder.absolute().name}", f"{other.shared:,}", about))

    name = diagnosis.folder.absolute().name
    return [
        Heading(1, f"Data doctor: {name}"),
        Paragraph(
            f"{verdict}. Tasks: {tasks or 'none'}. Splits: {splits or 'none'}. Made by bridge-stg "
            f"{bridge_stg.__version__}.",
            "note",
        ),
        Facts(tuple(facts)),
    ]


def _kinds(diagnosis: Diagnosis) -> list[Block]:
    rows = [
        row(kind, KINDS[kind].severity, KINDS[kind].meaning, f"{count:,}")
        for kind, count in diagnosis.kinds.items()
    ]
    if not rows:
        return [
            Heading(2, "What was found"),
            Paragraph("Nothing: every check passed on every record and video."),
        ]
    return [Heading(2, "What was found"), Table(("kind", "severity", "meaning", "count"), tuple(rows), 3)]


def _samples(samples: Sequence[ShownRecord], progress: Callable[[int, int], None] | None) -> list[Block]:
    if not samples:
        return []
    flagged = [sample for sample in samples if sample.findings]
    clean = [sample for sample in samples if not sample.findings]
    blocks: list[Block] = []
    done = 0
    for title, about, group in (
        ("Records with findings", "One or more of every kind that has a record.", flagged),
        ("Records without findings", "Spread evenly over the videos, to see that they are read right.", clean),
    ):
        if not group:
            continue

        blocks.append(Heading(2, title))
        blocks.append(
            Paragraph(
                f"{about} Each shows the first, the middle and the last frame of the event; the green box is "
                "the annotation, drawn where it is used, cut at the edge of the image.",
                "note",
            )
        )
        for sample in group:
            blocks += _sample(sample)
            done += 1
            if progress is not None:
                progress(done, len(samples))
    return blocks


def _sample(sample: ShownRecord) -> list[Block]:
    record = sample.record
    window = record.clock.span(*record.window) if record.window is not None else None
    clip = record.clock.span(*record.clip)
    said = [record.task, record.split or "no split"]
    if window is not None and record.window is not None:
        said.append(f"event {window.start:.2f}-{window.end:.2f} s, frames {_frames(record.window)}")
    said.append(f"clip {clip.start:.2f}-{clip.end:.2f} s, frames {_frames(record.clip)}")
    said.append(f"{record.width}x{record.height} at {record.fps:g} per second, boxes: {len(record.boxes):,}")

    blocks: list[Block] = [
        Heading(3, record.id),
        Paragraph(record.query, "quote"),
        Paragraph("; ".join(said) + f"; {record.video}", "note"),
    ]

    if record.choices or record.answer:
        options = "; ".join(
            f"{letter}. {text}" for letter, text in zip(record.letters, record.choices, strict=True)
        )
        right = (
            record.choice
            or record.answer
            or ", ".join(letter for letter, label in zip(record.letters, record.labels, strict=True) if label)
        )
        blocks.append(Paragraph(f"{options} Answer: {right}".strip(), "note"))

    if sample.findings:
        blocks.append(Items(tuple(f"{one.severity}: {one.kind}: {one.detail}" for one in sample.findings)))

    frames = frames_to_show(record)
    try:
        pictures = read_frames(sample.path, frames, record)
    except (VideoError, OSError, ValueError) as problem:
        reason = str(problem).replace(str(sample.path), record.video)
        return [*blocks, Paragraph(f"No picture: {reason}", "note")]

    if lost := [frame for frame in frames if frame not in pictures]:
        blocks.append(Paragraph(f"Not in the file: frames {', '.join(map(str, lost))}.", "note"))
    return [*blocks, _strip(record, pictures, window)]


def frames_to_show(record: TruthRecord) -> list[int]:
    """First, middle and last source frame of the event; without one, of the boxes or the clip.

    A frame without a box gives way to the nearest one that has, as long as that lies in the event.
    """
    boxed = sorted(record.boxes)
    if record.window is not None:
        start, end = record.window
    elif boxed:
        start, end = boxed[0], boxed[-1] + 1
    else:
        start, end = record.clip

    inside = [frame for frame in boxed if start <= frame < end]
    wanted = {start, (start + end) // 2, end - 1}
    if inside:
        wanted = {min(inside, key=lambda frame: abs(frame - one)) for one in wanted}
    return sorted(wanted)


def _strip(record: TruthRecord, pictures: dict[int, NDArray[np.uint8]], window: TimeSpan | None) -> Picture:
    boxes = {frame: np.asarray(record.boxes[frame]) for frame in pictures if frame in record.boxes}
    lane = Lane("annotation", TRUTH_COLOR, window, boxes)
    alt = f"Frames {', '.join(map(str, sorted(pictures)))} of {record.video}: {record.query}"
    return Picture(f"{len(boxes)}.jpg", draw_strip(record, pictures, [lane]), alt, wide=True)


def _findings(diagnosis: Diagnosis) -> list[Block]:
    if not diagnosis.findings:
        return []
    blocks: list[Block] = [Heading(2, "All findings")]
    by_kind: dict[str, list[Finding]] = {}
    for finding in diagnosis.findings:
        by_kind.setdefault(finding.kind, []).append(finding)

    for kind, found in by_kind.items():
        blocks.append(Heading(3, f"{kind}: {len(found):,}"))
        rows = [row(one.record or one.video or "-", one.detail) for one in found[:SHOWN_PER_KIND]]
        blocks.append(Table(("record or video", "what was seen"), tuple(rows), 2))
        if len(found) > SHOWN_PER_KIND:
            blocks.append(Paragraph(f"{len(found) - SHOWN_PER_KIND:,} more in doctor.json.", "note"))
    return blocks


def _frames(span: tuple[int, int]) -> str:
    return f"[{span[0]}, {span[1]})"
