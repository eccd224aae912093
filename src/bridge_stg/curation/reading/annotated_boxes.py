"""Boxes of annotation files: bad ones are left out, others are cut at the edge of the image, both are noted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.types import Box


def from_xywh(box: Sequence[float]) -> Box:
    """Left, top, width, height -> x1, y1, x2, y2."""
    left, top, width, height = (float(value) for value in box)
    return left, top, left + width, top + height


def clean_boxes(boxes: Iterable[tuple[int, Box]], width: int, height: int, notes: list[str]) -> dict[int, Box]:
    """The usable part of a tube, rounded to 0.01 pixel.

    Args:
        boxes: (frame, xyxy).
        width, height: of the image.
        notes: gets a line for each kind of change.

    Raises:
        Unusable: nothing is left.
    """
    kept: dict[int, Box] = {}
    changes: Counter[str] = Counter()
    for frame, box in boxes:
        if not all(math.isfinite(value) for value in box):
            changes["without numbers left out"] += 1
        elif box[2] <= box[0] or box[3] <= box[1]:
            changes["without size left out"] += 1
        else:
            # Cut at the edges of the image; rounding can leave nothing of a very thin box.
            low = (max(box[0], 0.0), max(box[1], 0.0))
            high = (min(box[2], float(width)), min(box[3], float(height)))
            x1, y1, x2, y2 = (round(value, 2) for value in (*low, *high))
            if x2 <= x1 or y2 <= y1:
                changes["outside the image left out"] += 1
                continue

            changes["cut at the edge of the image"] += (*low, *high) != box
            kept[frame] = (x1, y1, x2, y2)

    notes += [f"{count} box(es) {change}" for change, count in sorted(changes.items()) if count]
    if not kept:
        raise Unusable("no usable box", "; ".join(notes))
    return kept


def note_gaps(boxes: dict[int, Box], window: tuple[int, int], notes: list[str]) -> None:
    """Note how many frames of a half-open window have no box, if there are any."""
    frames = window[1] - window[0]
    if len(boxes) < frames:
        notes.append(f"{frames - len(boxes)} of {frames} frames have no box")
