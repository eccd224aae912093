"""Spatio-temporal grounding scores of one query and of a set: m_tIoU, m_vIoU, vIoU@R, gt_vIoU (Eq. 10-12).

What all protocols share
------------------------
- *Window.* The predicted seconds become source frames by rounding each end to the nearest frame boundary on
  the clock of the video, at a variable rate that of its frames' own times; windows are half-open. A window that
  rounds to no frame overlaps nothing. A window is not clipped to the video: time claimed past the end is wrong.
- *Boxes.* A predicted box belongs to the frame nearest to its time (of two boxes on one frame, the nearer in
  time). Between predicted boxes the box is interpolated linearly; before the first and after the last the
  nearest holds. Boxes are not clipped to the image; IoU is on continuous coordinates.
- *Several true windows.* An event that happens several times is judged by the true window that overlaps the
  predicted one most, the first of equals, and by the boxes in it.
- A true frame without an annotated box adds 0 to the sum of vIoU and stays in its denominator.
- *gt_vIoU* is the mean over true frames whatever the predicted window is. A tube predicted for one window only
  is held at its ends outside of it, so this is not the score of a model that was told the true window.
- A query without a usable prediction (missing, status not ok, no window) scores 0 in every metric. A prediction
  with a window but no boxes has vIoU 0.
- *Summary*: plain means over queries, in percent.

What they differ in
-------------------
=========== ============================= =========================== ========
protocol    frames counted for boxes      tIoU                        vIoU@R
=========== ============================= =========================== ========
tubedetr    5 per second, at most 200     windows, in source frames   vIoU > R
stcat       all source frames             windows, in source frames   vIoU > R
hcstvg      all source frames             frames with both boxes      vIoU > R
paper       all source frames             windows, in source frames   vIoU >= R
=========== ============================= =========================== ========

``paper`` reads Eq. 12 as it is printed; Eq. 10-11 leave the frame grid and the ends of a window open. Every
published evaluator compares strictly, so ``stcat`` is the headline. The exact text, and where each differs from
the evaluator it is named after, is at its function in ``bridge_stg.metrics.protocols``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import DataError, InputError
from bridge_stg.metrics.protocols import QueryOverlap, TubePair, hcstvg, stcat, tubedetr
from bridge_stg.metrics.query_scores import QueryScores, threshold_names
from bridge_stg.metrics.tube_overlaps import TubeQuestion, tube_overlaps
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types.times import interval_iou

Protocol = Literal["tubedetr", "stcat", "hcstvg", "paper"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
THRESHOLDS = (0.3, 0.5)
# What published tables show, in their order; ``gt_vIoU`` is ours beside it.
METRICS = ("m_tIoU", "m_vIoU", *threshold_names("vIoU", THRESHOLDS))
FAILED = QueryOverlap(0.0, 0.0, 0.0, failed=True)

_RULES: dict[Protocol, Callable[[TubePair], QueryOverlap]] = {
    "tubedetr": tubedetr,
    "stcat": stcat,
    "hcstvg": hcstvg,
    "paper": stcat,
}


def parse_protocol(name: str) -> Protocol:
    """``name`` as a protocol; InputError naming the known ones otherwise."""
    for known in PROTOCOLS:
        if name == known:
            return known
    raise InputError(f"unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}")


def comparison(protocol: Protocol) -> str:
    """The operator of vIoU@R, as printed with every score."""
    return ">=" if protocol == "paper" else ">"


def query_overlap(
    truth: TruthRecord, prediction: PredictionRecord | None, protocol: Protocol = "stcat"
) -> QueryOverlap:
    """tIoU, vIoU and gt_vIoU of one query, as the module text and the protocol define them.

    Raises:
        DataError: the true record has no window or no boxes inside it, so nothing can be scored.
    """
    return query_overlaps([truth], [prediction], protocol)[0]


def query_overlaps(
    records: Sequence[TruthRecord], predictions: Sequence[PredictionRecord | None], protocol: Protocol
) -> list[QueryOverlap]:
    """``query_overlap`` of every query, of which boxes are compared many at a time."""
    matches = [_match(record, prediction) for record, prediction in zip(records, predictions, strict=True)]
    boxed = [one.question for one in matches if one is not None and one.question is not None]
    overlaps = iter(tube_overlaps(boxed))

    found = []
    for match in matches:
        if match is None:
            found.append(FAILED)
        else:
            pair = replace(match.pair, overlaps=None if match.question is None else next(overlaps))
            found.append(_RULES[protocol](pair))
    return found


@dataclass(frozen=True)
class _Match:
    """A predicted window beside the true one that it is judged by; ``question`` is None without boxes."""

    pair: TubePair
    question: TubeQuestion | None


def _match(truth: TruthRecord, prediction: PredictionRecord | None) -> _Match | None:
    """What a query is judged by, without the overlaps of its boxes; None without a usable prediction."""
    if not truth.all_windows:
        raise DataError(f"record {truth.id!r}: has no window; only stvg records can be scored here")
    true_tubes = [truth.boxes_within(window) for window in truth.all_windows]
    for window, (frames, _) in zip(truth.all_windows, true_tubes, strict=True):
        if not len(frames):
            raise DataError(
                f"record {truth.id!r}: has no box inside its window {list(window)}; add boxes or drop it"
            )
    if prediction is None or prediction.status != "ok" or prediction.best_window is None:
        return None

    predicted = truth.clock.frames_in(prediction.best_window)
    tious = [interval_iou(window, predicted) for window in truth.all_windows]
    nearest = tious.index(max(tious))
    frames, corners = true_tubes[nearest]
    pair = TubePair(truth.clip, truth.clock, truth.all_windows[nearest], predicted, frames, None)
    return _Match(pair, TubeQuestion(truth, prediction, frames, corners) if len(prediction.times) else None)


def query_values(
    overlaps: Sequence[QueryOverlap], protocol: Protocol, thresholds: tuple[float, ...] = THRESHOLDS
) -> NDArray[np.float64]:
    """What each query adds to each metric: (N, 3 + thresholds) in [0, 1].

    Columns: m_tIoU, m_vIoU, vIoU@R for each of ``thresholds``, gt_vIoU.
    """
    compare: Callable[[Any, float], Any] = operator.ge if comparison(protocol) == ">=" else operator.gt
    tiou = np.array([one.tiou for one in overlaps], dtype=np.float64)
    viou = np.array([one.viou for one in overlaps], dtype=np.float64)
    gt_viou = np.array([one.gt_viou for one in overlaps], dtype=np.float64)
    passed = [compare(viou, threshold) for threshold in thresholds]
    return np.stack([tiou, viou, *passed, gt_viou], axis=1).astype(np.float64)


def score_queries(
    records: Sequence[TruthRecord],
    predictions: Sequence[PredictionRecord | None],
    protocol: Protocol,
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> QueryScores:
    """All queries, a missing prediction (None) scoring 0.

    Raises:
        DataError: a true record that cannot be scored, see ``query_overlap``.
    """
    overlaps = query_overlaps(records, predictions, protocol)
    return QueryScores(
        ("m_tIoU", "m_vIoU", *threshold_names("vIoU", thresholds), "gt_vIoU"),
        query_values(overlaps, protocol, thresholds),
        np.array([one.failed for one in overlaps], dtype=np.bool_),
        np.ones(len(overlaps)),
    )
