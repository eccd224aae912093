"""Spatio-temporal grounding scores of one query and of a set: m_tIoU, m_vIoU, vIoU@R, gt_vIoU (Eq. 10-12).

What is computed, in both protocols
-----------------------------------
Everything is counted on the **original frames** of the video, windows half-open.

- *Window.* The predicted seconds become frames by rounding each end to the nearest frame boundary. A window
  that rounds to no frame overlaps nothing. A window is not clipped to the video: time claimed past the end is
  wrong.
- *Boxes.* A predicted box belongs to the frame nearest to its time (of two boxes on one frame, the nearer in
  time). Between predicted boxes the box is interpolated linearly; before the first and after the last the
  nearest holds.
- *tIoU* = frames shared by both windows / frames in either.
- *vIoU* = sum of box IoU over the shared frames / frames in either window. A true frame without an annotated
  box adds 0 to the sum and stays in the denominator.
- *gt_vIoU* = mean box IoU over the annotated frames of the true window, whatever the predicted window is. A
  tube predicted for one window only is held at its ends outside of it, so this is not the score of a model that
  was told the true window.
- A query without a usable prediction (missing, status not ok, no window) scores 0 in every metric. A prediction
  with a window but no boxes keeps its tIoU and has vIoU 0.
- *Summary*: plain means over queries, in percent.

The protocols differ in the comparison of vIoU@R only
-----------------------------------------------------
``stcat``
    vIoU > R, strictly, as in the evaluator that STCAT wrote and CG-STVG and TA-STVG use.
``paper``
    vIoU >= R, as Eq. 12 is printed. Eq. 10-11 leave the frame grid and the ends of a window open; the same
    original frames and half-open windows are used.

Where ``stcat`` differs from the published evaluator, because predictions are seconds and records are uniform
--------------------------------------------------------------------------------------------------------------
- There, a prediction is a pair of sampled frame indices (merged from two passes over even and odd frames, at
  least two frames long, never outside the clip). Here it is seconds, of any length.
- There, boxes exist for every sampled frame of the clip and interpolate between neighbours. Here they exist
  inside the predicted window, so only gt_vIoU meets frames beyond the predicted boxes.
- There, HC-STVG stores the last true frame as included and scores the window half-open, which drops that frame,
  and VidSTG windows ending at the last frame of the video lose it. Here a true window is exact and half-open.
- There, a lacking prediction raises for one data set and is skipped for another. Here it counts as 0.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bridge_stg.data.predictions import PredictionRecord
from bridge_stg.data.records import TruthRecord
from bridge_stg.errors import DataError, InputError
from bridge_stg.geometry.spans import boxes_at, nearest_frame, span_to_frames
from bridge_stg.metrics.overlap import box_iou, interval_iou

Protocol = Literal["stcat", "paper"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
METRICS = ("m_tIoU", "m_vIoU", "vIoU@0.3", "vIoU@0.5", "gt_vIoU")

_COMPARE: dict[Protocol, tuple[str, Callable[[Any, float], Any]]] = {
    "stcat": (">", operator.gt),
    "paper": (">=", operator.ge),
}


@dataclass(frozen=True)
class QueryOverlap:
    """The overlaps of one query, each in [0, 1]; ``failed`` when the prediction named no usable window."""

    tiou: float
    viou: float
    gt_viou: float
    failed: bool = False


FAILED = QueryOverlap(0.0, 0.0, 0.0, failed=True)


def parse_protocol(name: str) -> Protocol:
    """``name`` as a protocol; InputError naming the known ones otherwise."""
    for known in PROTOCOLS:
        if name == known:
            return known
    raise InputError(f"unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}")


def comparison(protocol: Protocol) -> str:
    """The operator of vIoU@R, as printed with every score."""
    return _COMPARE[protocol][0]


def query_overlap(truth: TruthRecord, prediction: PredictionRecord) -> QueryOverlap:
    """tIoU, vIoU and gt_vIoU of one query, as the module text defines them.

    Raises:
        DataError: the true record has no window or no boxes inside it, so nothing can be scored.
    """
    if truth.window is None:
        raise DataError(f"record {truth.id!r}: has no window; only stvg records can be scored here")
    start, end = truth.window
    true_frames = np.array(sorted(frame for frame in truth.boxes if start <= frame < end), dtype=np.int64)
    if not len(true_frames):
        raise DataError(
            f"record {truth.id!r}: has no box inside its window {[start, end]}; add boxes or drop it"
        )

    window = prediction.best_window
    if prediction.status != "ok" or window is None:
        return FAILED
    predicted = span_to_frames(window, truth.fps)
    tiou = interval_iou((start, end), predicted)
    if not len(prediction.times):
        return QueryOverlap(tiou, 0.0, 0.0)

    true_boxes = np.array([truth.boxes[int(frame)] for frame in true_frames], dtype=np.float64)
    overlaps = box_iou(boxes_on_frames(prediction, truth, true_frames), true_boxes)
    gt_viou = float(overlaps.mean())
    shared = (true_frames >= predicted[0]) & (true_frames < predicted[1])
    either = max(end, predicted[1]) - min(start, predicted[0])
    # For windows apart from each other `either` spans the gap too; no frame is shared then and the sum is 0.
    return QueryOverlap(tiou, float(overlaps[shared].sum() / either), gt_viou)


def boxes_on_frames(
    prediction: PredictionRecord, truth: TruthRecord, frames: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The predicted tube on source frames (N,): (N, 4) xyxy. Needs at least one predicted box."""
    own = np.array([nearest_frame(time, truth.fps, truth.frame_count) for time in prediction.times.tolist()])
    boxes = prediction.boxes
    if len(own) > 1 and not (np.diff(own) > 0).all():
        # Denser than the video: keep, per frame, the box whose time is nearest to it (the earlier on a tie).
        order = np.lexsort((np.abs(prediction.times * truth.fps - own), own))
        own, first = np.unique(own[order], return_index=True)
        boxes = boxes[order][first]
    return boxes_at(own.astype(np.float64), boxes, frames.astype(np.float64))


def query_values(overlaps: Sequence[QueryOverlap], protocol: Protocol) -> NDArray[np.float64]:
    """What each query adds to each metric: (N, 5) in [0, 1], columns in the order of ``METRICS``."""
    compare = _COMPARE[protocol][1]
    tiou = np.array([one.tiou for one in overlaps], dtype=np.float64)
    viou = np.array([one.viou for one in overlaps], dtype=np.float64)
    gt_viou = np.array([one.gt_viou for one in overlaps], dtype=np.float64)
    return np.stack([tiou, viou, compare(viou, 0.3), compare(viou, 0.5), gt_viou], axis=1).astype(np.float64)


def summarize(values: NDArray[np.float64]) -> dict[str, float]:
    """Means over queries in percent, by metric name. ``values`` is (N, 5) with N >= 1."""
    return dict(zip(METRICS, (100 * values.mean(axis=0)).tolist(), strict=True))
