"""Referring expressions (REC): Acc@0.5, the share of sentences whose box has IoU >= 0.5 with the true one.

- True IoU on continuous coordinates: no + 1 pixel, and not the generalised IoU that some evaluators compare.
- Exactly one box per sentence. Several boxes are a failure, not a choice for the scorer to make; so is none,
  and any status but ok. A failure is a miss and stays in the denominator.
- The time of the predicted box is not looked at: a sentence is about one image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bridge_stg.errors import DataError
from bridge_stg.metrics.overlap import box_iou
from bridge_stg.metrics.query_scores import QueryScores, threshold_names
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord

PROTOCOL = "refcoco"
OPERATOR = ">="
THRESHOLDS = (0.5,)
METRICS = threshold_names("Acc", THRESHOLDS)


def query_iou(truth: TruthRecord, prediction: PredictionRecord | None) -> float | None:
    """IoU of one sentence in [0, 1]; None unless exactly one box was predicted.

    Raises:
        DataError: the true record does not hold exactly one box.
    """
    if len(truth.boxes) != 1:
        raise DataError(
            f"record {truth.id!r}: a rec record holds exactly one box, this one has {len(truth.boxes)}"
        )
    if prediction is None or prediction.status != "ok" or len(prediction.boxes) != 1:
        return None
    return float(box_iou(prediction.boxes[0], truth.box_corners[0]))


def score_queries(
    records: Sequence[TruthRecord],
    predictions: Sequence[PredictionRecord | None],
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> QueryScores:
    """Acc@R for each threshold; a missing prediction (None) is a miss."""
    found = [query_iou(record, prediction) for record, prediction in zip(records, predictions, strict=True)]
    iou = np.array([value or 0.0 for value in found])
    failed = np.array([value is None for value in found])
    # A failure misses every threshold, also 0.
    hits = [(iou >= threshold) & ~failed for threshold in thresholds]
    return QueryScores(
        threshold_names("Acc", thresholds),
        np.stack(hits, axis=1).astype(np.float64),
        failed,
        np.ones(len(found)),
    )
