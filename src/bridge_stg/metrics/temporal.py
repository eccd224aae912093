"""Temporal grounding (VTG): recall of the first answer, R1@R, and mIoU, as Charades-STA is scored.

- Both windows are seconds, neither is rounded or clipped. The predicted one is the one with the highest score;
  the true one is ``seconds`` of the record, as annotated, or else its frames on the record's clock.
- tIoU = shared seconds / seconds from the first start to the last end, in float64, as the published evaluators
  divide; windows that only touch share nothing. Of several true windows the one with the highest tIoU counts.
- R1@R = share of queries with tIoU >= R. Most published evaluators count R itself as a hit, as App. B.2 does;
  two of them (2D-TAN, LLaVA-ST) do not.
- mIoU = mean tIoU. A query without a usable prediction has tIoU 0 and stays in both means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bridge_stg.errors import DataError
from bridge_stg.metrics.query_scores import QueryScores, threshold_names
from bridge_stg.records.part import true_windows
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import TimeSpan
from bridge_stg.types.times import interval_iou

PROTOCOL = "charades-sta"
OPERATOR = ">="
THRESHOLDS = (0.3, 0.5, 0.7)
METRICS = (*threshold_names("R1", THRESHOLDS), "mIoU")


def windows_to_score(truth: TruthRecord) -> tuple[TimeSpan, ...]:
    """The true windows of a record in seconds.

    Raises:
        DataError: it has none.
    """
    true = true_windows(truth)
    if not true:
        raise DataError(f"record {truth.id!r}: has no window, so it cannot be scored; add one or drop it")
    return true


def query_tiou(truth: TruthRecord, prediction: PredictionRecord | None) -> float | None:
    """tIoU of one query in [0, 1]; None if the prediction has no usable window.

    Raises:
        DataError: the true record has no window.
    """
    true = windows_to_score(truth)
    if prediction is None or prediction.status != "ok" or prediction.best_window is None:
        return None
    window = prediction.best_window
    return max(interval_iou((one.start, one.end), (window.start, window.end)) for one in true)


def score_queries(
    records: Sequence[TruthRecord],
    predictions: Sequence[PredictionRecord | None],
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> QueryScores:
    """R1@R for each threshold, and mIoU; a missing prediction (None) is a miss."""
    found = [query_tiou(record, prediction) for record, prediction in zip(records, predictions, strict=True)]
    tiou = np.array([value or 0.0 for value in found])
    hits = [tiou >= threshold for threshold in thresholds]
    return QueryScores(
        (*threshold_names("R1", thresholds), "mIoU"),
        np.stack([*hits, tiou], axis=1).astype(np.float64),
        np.array([value is None for value in found]),
        np.ones(len(found)),
    )
