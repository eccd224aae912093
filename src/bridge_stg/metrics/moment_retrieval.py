"""Moment retrieval: R1@R and mAP of scored windows, as QVHighlights defines them.

An event may happen several times, and an answer may name several windows, each with a score.

- Windows are seconds, neither rounded nor clipped; tIoU as in ``bridge_stg.metrics.temporal``.
- *R1@R*: the share of queries whose best-scored window has tIoU >= R with one of the true windows.
- *Average precision* of one query at one threshold: its predicted windows, at most ``MOST_WINDOWS``, are taken
  in the order of their scores (of equals in the order of the file). Each is matched to the true window with the
  highest tIoU, among those that have tIoU >= threshold and are not matched yet; with none it is wrong.
  Precision is made monotone from the right, and averaged over the true windows.
- *mAP@R* is the mean over queries, *mAP@[.5:.95]* the mean of ten thresholds from 0.5 to 0.95.
- A query without a usable prediction has 0 everywhere.

The published evaluator computes tIoU with the sum of lengths in mAP and with the hull in R1; both are the same
number, and here the hull is used for both, so that they round alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bridge_stg.metrics.query_scores import QueryScores, threshold_names
from bridge_stg.metrics.temporal import windows_to_score
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types.times import interval_iou

RECALL_THRESHOLDS = (0.5, 0.7)
PRECISION_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
SHOWN_THRESHOLDS = (0.5, 0.75)
MEAN_NAME = "mAP@[.5:.95]"
METRICS = (
    *threshold_names("R1", RECALL_THRESHOLDS),
    *threshold_names("mAP", SHOWN_THRESHOLDS),
    MEAN_NAME,
)
MOST_WINDOWS = 10


def window_overlaps(truth: TruthRecord, prediction: PredictionRecord | None) -> NDArray[np.float64] | None:
    """tIoU of the predicted windows, best score first, with the true windows: (K, W); None without any.

    Raises:
        DataError: the true record has no window.
    """
    true = windows_to_score(truth)
    if prediction is None or prediction.status != "ok" or not prediction.windows:
        return None
    # sorted is stable: of equals the first stays first.
    ranked = sorted(prediction.windows, key=lambda candidate: -candidate[1])[:MOST_WINDOWS]
    return np.array(
        [
            [interval_iou((window.start, window.end), (one.start, one.end)) for one in true]
            for window, _ in ranked
        ]
    )


def average_precision(overlaps: NDArray[np.float64], threshold: float) -> float:
    """Average precision of one query in [0, 1]; ``overlaps`` (K, W) as ``window_overlaps`` gives them.

    >>> average_precision(np.array([[0.9, 0.0], [0.1, 0.2], [0.0, 0.8]]), 0.5)
    0.8333333333333333
    """
    free = np.ones(overlaps.shape[1], dtype=bool)
    hits = np.zeros(len(overlaps), dtype=bool)
    for rank, row in enumerate(overlaps):
        candidates = np.where(free & (row >= threshold), row, -1.0)
        match = int(candidates.argmax())
        if candidates[match] >= 0:
            hits[rank], free[match] = True, False

    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    # At each recall the best precision that is reached there or later.
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[hits].sum() / overlaps.shape[1])


def query_values(overlaps: NDArray[np.float64]) -> list[float]:
    """What one query adds to each of ``METRICS``, in [0, 1]."""
    best = float(overlaps[0].max())
    if len(overlaps) == 1:  # nothing to rank: right or wrong at each threshold
        precisions = [(best >= threshold) / overlaps.shape[1] for threshold in PRECISION_THRESHOLDS]
    else:
        precisions = [average_precision(overlaps, threshold) for threshold in PRECISION_THRESHOLDS]
    shown = [precisions[PRECISION_THRESHOLDS.index(threshold)] for threshold in SHOWN_THRESHOLDS]
    mean = sum(precisions) / len(precisions)
    return [*(float(best >= threshold) for threshold in RECALL_THRESHOLDS), *shown, mean]


def score_queries(
    records: Sequence[TruthRecord], predictions: Sequence[PredictionRecord | None]
) -> QueryScores:
    """All queries that have a true window, a missing prediction (None) scoring 0."""
    found = [
        window_overlaps(record, prediction) for record, prediction in zip(records, predictions, strict=True)
    ]
    nothing = [0.0] * len(METRICS)
    return QueryScores(
        METRICS,
        np.array([nothing if overlaps is None else query_values(overlaps) for overlaps in found]),
        np.array([overlaps is None for overlaps in found]),
        np.ones(len(found)),
    )
