"""Tracking (VOT): average overlap AO and success rates SR@R, counted as the GOT-10k toolkit does.

- The first annotated frame of the clip is left out: its box was given to the tracker.
- Of the others, frames in which the object is to be seen count: those that have a true box.
- Both boxes are brought into the image as the toolkit does (``bounded``). IoU is on continuous coordinates,
  without + 1.
- The frames of all queries are **pooled**: AO is the mean IoU of all frames, SR@R the share of all frames with
  IoU > R, strictly. A long video weighs more than a short one; object classes are not balanced.
- Between predicted boxes the box is interpolated linearly, before the first and after the last the nearest
  holds. A predicted window is not looked at.
- A query without a usable prediction (missing, status not ok, no boxes) has IoU 0 on all its frames.

The paper's Table 5 says SR@0.7 and its App. B.2 SR@0.75, GOT-10k's own; both are given.
Two boxes without area have IoU 0. The toolkit runs a tracker up to three times; a predictions file is one run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import DataError
from bridge_stg.metrics.overlap import box_iou
from bridge_stg.metrics.query_scores import QueryScores, threshold_names
from bridge_stg.metrics.tube_overlaps import boxes_on_frames
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord

PROTOCOL = "got10k"
OPERATOR = ">"
THRESHOLDS = (0.5, 0.7, 0.75)
METRICS = ("AO", *threshold_names("SR", THRESHOLDS))


def counted_frames(truth: TruthRecord) -> NDArray[np.int64]:
    """(F,) annotated frames of the clip, increasing, without the first.

    Raises:
        DataError: there is none left.
    """
    return _counted_tube(truth)[0]


def _counted_tube(truth: TruthRecord) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """``counted_frames`` (F,) and their true boxes (F, 4)."""
    frames, corners = truth.boxes_within(truth.clip)
    if len(frames) < 2:
        raise DataError(
            f"record {truth.id!r}: needs a box on two frames of its clip, because the first is given to the "
            f"tracker; it has {len(frames)}"
        )
    return frames[1:], corners[1:]


def frame_overlaps(truth: TruthRecord, prediction: PredictionRecord | None) -> NDArray[np.float64] | None:
    """IoU on each of ``counted_frames``, (F,); None if the prediction has no usable boxes."""
    frames, true = _counted_tube(truth)
    if prediction is None or prediction.status != "ok" or not len(prediction.times):
        return None
    predicted = boxes_on_frames(prediction, truth, frames)
    return box_iou(bounded(predicted, truth.width, truth.height), bounded(true, truth.width, truth.height))


def bounded(boxes: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Boxes (F, 4) xyxy brought into the image as the GOT-10k toolkit does.

    It moves the left upper corner into the image and keeps width and height; only then it cuts what still
    sticks out on the right and below. So a box that begins left of the image moves to the right.

    >>> bounded(np.array([[-10.0, 0.0, 20.0, 5.0]]), 100, 100).tolist()
    [[0.0, 0.0, 30.0, 5.0]]
    """
    image = np.array([width, height], dtype=np.float64)
    corner = np.clip(boxes[:, :2], 0, image)
    size = np.clip(boxes[:, 2:] - boxes[:, :2], 0, image - corner)
    return np.concatenate([corner, corner + size], axis=1)


def score_queries(
    records: Sequence[TruthRecord],
    predictions: Sequence[PredictionRecord | None],
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> QueryScores:
    """AO and SR@R per query, weighted by its frames, so that the mean over queries is the mean over frames.

    Raises:
        DataError: a true record with fewer than two boxes.
    """
    rows, failed, weights = [], [], []
    for record, prediction in zip(records, predictions, strict=True):
        count = len(counted_frames(record))
        overlaps = frame_overlaps(record, prediction)
        found = np.zeros(count) if overlaps is None else overlaps
        rows.append([found.mean(), *((found > threshold).mean() for threshold in thresholds)])
        failed.append(overlaps is None)
        weights.append(count)
    return QueryScores(
        ("AO", *threshold_names("SR", thresholds)),
        np.array(rows, dtype=np.float64),
        np.array(failed, dtype=np.bool_),
        np.array(weights, dtype=np.float64),
    )
