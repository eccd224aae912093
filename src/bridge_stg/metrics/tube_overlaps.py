"""Predicted tubes on source frames, and their overlap with true ones: one by one, and many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.geometry.spans import boxes_at
from bridge_stg.metrics.overlap import box_iou
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import MOST_FRAMES, TruthRecord

# Small enough for a processor's cache, large enough that calls cost less than arithmetic.
TUBES_AT_ONCE = 64
# Frames of different tubes are kept apart by this much on one axis; sums of these are exact in float64.
_APART = 2.0 * MOST_FRAMES


@dataclass(frozen=True)
class TubeQuestion:
    """A predicted tube with at least one box, and the true boxes (G, 4) on ``frames`` (G,) beside it."""

    truth: TruthRecord
    prediction: PredictionRecord
    frames: NDArray[np.int64]
    corners: NDArray[np.float64]


def tube_overlaps(questions: Sequence[TubeQuestion]) -> list[NDArray[np.float64]]:
    """IoU of the predicted with the true box on each frame of each question: (G,) each."""
    found: list[NDArray[np.float64]] = []
    for first in range(0, len(questions), TUBES_AT_ONCE):
        some = questions[first : first + TUBES_AT_ONCE]
        predicted = _many_boxes_on_frames(some)
        overlaps = box_iou(predicted, np.concatenate([one.corners for one in some]))
        ends = np.cumsum([len(one.frames) for one in some])
        found += np.split(overlaps, ends[:-1])
    return found


def boxes_on_frames(
    prediction: PredictionRecord, truth: TruthRecord, frames: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The predicted tube on source frames (N,): (N, 4) xyxy. Needs at least one predicted box."""
    own, boxes = _own_frames(prediction, truth)
    return boxes_at(truth.clock.steady(own), boxes, truth.clock.steady(frames))


def _own_frames(
    prediction: PredictionRecord, truth: TruthRecord
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The frames (F,) that predicted boxes belong to, increasing, and those boxes (F, 4)."""
    clock = truth.clock
    own = clock.nearest(prediction.times)
    boxes = prediction.boxes
    if not (own[1:] > own[:-1]).all():
        # Denser than the video: keep, per frame, the box whose time is nearest to it (the earlier on a tie).
        order = np.lexsort((np.abs(clock.position(prediction.times) - own), own))
        own, first = np.unique(own[order], return_index=True)
        boxes = boxes[order][first]
    return own, boxes


def _many_boxes_on_frames(questions: Sequence[TubeQuestion]) -> NDArray[np.float64]:
    """``boxes_on_frames`` of every question, one after the other: the same numbers in one interpolation."""
    if any(one.truth.clock.frame_times is not None for one in questions):
        # Seconds of a variable rate are no whole numbers, and would round otherwise beside each other.
        return np.concatenate([boxes_on_frames(one.prediction, one.truth, one.frames) for one in questions])

    tubes = [_own_frames(one.prediction, one.truth) for one in questions]
    places = [number * _APART for number in range(len(questions))]
    known = np.concatenate([own + place for (own, _), place in zip(tubes, places, strict=True)])
    wanted = np.concatenate(
        [
            # Before the first and after the last box the nearest one holds.
            np.minimum(np.maximum(one.frames, own[0]), own[-1]) + place
            for one, (own, _), place in zip(questions, tubes, places, strict=True)
        ]
    )
    return boxes_at(known, np.concatenate([boxes for _, boxes in tubes]), wanted)
