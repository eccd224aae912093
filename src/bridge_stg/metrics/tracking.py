"""Tracking (VOT): average overlap AO and success rates SR@R, counted as the GOT-10k toolkit does.

- The first annotated frame of the clip is left out: its box was given to the tracker.
- Of the others, frames in which the object is to be seen count: those that have a true box.
- Both boxes are clipped to the image; IoU is on continuous coordinates, no + 1.
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
from bridge_stg.metrics.stvg import boxes_on_frames
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord

PROTOCOL = "got10k"
OPERATOR = ">"
THRESHOLDS = (0.5, 0.7, 0.75)


def counted_frames(truth: TruthRecord) -> NDArray[np.int64]:
    """(F,) annotated frames of the clip, increasing, without the first.

    Raises:
        DataError: there is none left.
    """
    start, end = truth.clip
    frames = sorted(frame for frame in truth.boxes if start <= frame < end)
    if len(frames) < 2:
        raise DataError(
            f"record {truth.id!r}: needs a box on two frames of its clip, because the first is given to the "
            f"tracker; it has {len(frames)}"
        )
    return np.array(frames[1:], dtype=np.int64)


def frame_overlaps(truth: TruthRecord, prediction: PredictionRecord | None) -> NDArray[np.float64] | None:
    """IoU on each of ``counted_frames``, (F,); None if the prediction has no usable boxes."""
    frames = counted_frames(truth)
    if prediction is None or prediction.status != "ok" or not len(prediction.times):
        return None
    true = np.array([truth.boxes[frame] for frame in frames.tolist()], dtype=np.float64)
    image = np.array([truth.width, truth.height] * 2, dtype=np.float64)
    predicted = boxes_on_frames(prediction, truth, frames)
    return box_iou(np.clip(predicted, 0, image), np.clip(true, 0, image))


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
