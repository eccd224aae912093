"""What can be wrong with one record by itself."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from bridge_stg.curation.doctor.findings import Finding
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import LOCATED_TASKS

# Annotations are rounded: what sticks out by less than this many pixels is the edge.
EDGE_PIXELS = 1.0


def check_record(record: TruthRecord) -> list[Finding]:
    """Its window against its clip, its boxes against the image; one finding of a kind, with the count in it."""
    found = _window_problems(record) + _box_problems(record)
    if not record.query.strip():
        found.append(("empty query", "the query is empty"))
    return [Finding(kind, detail, record.id, record.video) for kind, detail in found]


def question_key(record: TruthRecord) -> tuple[Hashable, ...]:
    """Equal for two records that ask the same of a video; letter case and spaces do not make a difference.

    The clip is part of it: data sets ask the same sentence about two segments of one video.
    """
    sentence = " ".join(record.query.casefold().split())
    return record.task, record.clip, sentence, record.window, record.seconds, record.choices


def _window_problems(record: TruthRecord) -> list[tuple[str, str]]:
    if record.window is None:
        return []
    (start, end), (first, last) = record.window, record.clip
    said = f"frames [{start}, {end}) of a clip [{first}, {last})"
    if end <= first or start >= last:
        return [("window outside clip", said)]
    return [("window beyond clip", said)] if start < first or end > last else []


def _box_problems(record: TruthRecord) -> list[tuple[str, str]]:
    if not record.boxes:
        wanted = record.task in LOCATED_TASKS and not record.absent
        return [("no boxes", f"task {record.task} without a box")] if wanted else []
    frames = np.array(list(record.boxes))
    corners = np.array(list(record.boxes.values()), dtype=np.float64)
    size = np.array([record.width, record.height], dtype=np.float64)

    # (boxes,) each: a box is at most one of the three.
    low, high = corners[:, :2], corners[:, 2:]
    flat = (high <= low).any(axis=1)
    outside = ((high <= 0) | (low >= size)).any(axis=1) & ~flat
    beyond = ((low < -EDGE_PIXELS) | (high > size + EDGE_PIXELS)).any(axis=1) & ~outside & ~flat

    found = []
    for kind, wrong in (
        ("box outside image", outside),
        ("box beyond edge", beyond),
        ("box without area", flat),
    ):
        if wrong.any():
            # The one that sticks out most says more than the first one.
            excess = np.maximum(-low, high - size).max(axis=1)
            worst = int(np.where(wrong, excess, -np.inf).argmax())
            box = ", ".join(f"{value:g}" for value in corners[worst])
            found.append(
                (
                    kind,
                    f"{int(wrong.sum())} of {len(frames)} boxes; frame {frames[worst]}: [{box}] "
                    f"in {record.width}x{record.height}",
                )
            )

    if record.task == "stvg" and record.window is not None:
        early_or_late = (frames < record.window[0]) | (frames >= record.window[1])
        if early_or_late.any():
            said = f"{int(early_or_late.sum())} of {len(frames)} boxes outside frames {list(record.window)}"
            found.append(("box outside window", said))
    return found
