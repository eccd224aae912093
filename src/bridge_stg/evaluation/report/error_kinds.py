"""Where the error is: what is wrong with a predicted window, and what with the boxes inside of it.

Every query gets exactly one kind of each. The kinds describe single queries; they are no metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bridge_stg.evaluation.report.scored_queries import ScoredQueries, true_window, window_of
from bridge_stg.metrics.overlap import box_iou
from bridge_stg.metrics.tube_overlaps import boxes_on_frames
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types.times import interval_iou

WindowKind = Literal["good", "too long", "too short", "early", "late", "disjoint", "no window"]
BoxKind = Literal["good", "loose", "wrong object", "no box", "no shared frame"]
WINDOW_KINDS: tuple[WindowKind, ...] = get_args(WindowKind)
BOX_KINDS: tuple[BoxKind, ...] = get_args(BoxKind)

# The paper calls a case good from tIoU 0.7 on (Appendix F); the same bound as the last bin of Table 15.
GOOD_TIOU = 0.7
# Two boxes on neighbouring objects, or a big one around a small one, still share a little: under 0.1 the box is
# on something else. From 0.5 on it is the usual hit of detection.
WRONG_IOU, GOOD_IOU = 0.1, 0.5

WINDOW_MEANING: dict[WindowKind, str] = {
    "good": f"tIoU of {GOOD_TIOU} or more",
    "too long": "holds the whole true window and more",
    "too short": "lies inside the true window",
    "early": "starts before the true window and ends inside of it",
    "late": "starts inside the true window and ends after it",
    "disjoint": "shares nothing with the true window",
    "no window": "the prediction is missing, failed, or names no window",
}
BOX_MEANING: dict[BoxKind, str] = {
    "good": f"median box IoU of {GOOD_IOU} or more on the shared frames",
    "loose": f"median from {WRONG_IOU} to under {GOOD_IOU}",
    "wrong object": f"median under {WRONG_IOU}: on half of the frames or more the box is elsewhere",
    "no box": "a window, but no box",
    "no shared frame": "the windows share no frame with a true box: boxes cannot be judged",
}


@dataclass(frozen=True)
class WindowErrors:
    """The queries of one kind; times in seconds, predicted minus true, None where nothing can be averaged."""

    kind: WindowKind
    n: int
    start_error: float | None
    end_error: float | None


@dataclass(frozen=True)
class BoxErrors:
    """The queries of one kind; ``mean_iou`` over their shared frames, None where there are none."""

    kind: BoxKind
    n: int
    mean_iou: float | None


def window_kind(true: tuple[float, float], predicted: tuple[float, float]) -> WindowKind:
    """What is wrong with a predicted window; both are half-open and in one unit.

    >>> window_kind((20, 40), (10, 50))
    'too long'
    """
    tiou = interval_iou(true, predicted)
    if tiou >= GOOD_TIOU:
        return "good"
    if tiou == 0:
        return "disjoint"
    if predicted[0] <= true[0] and predicted[1] >= true[1]:
        return "too long"
    if predicted[0] >= true[0] and predicted[1] <= true[1]:
        return "too short"
    return "early" if predicted[0] < true[0] else "late"


def window_kinds(queries: ScoredQueries) -> list[WindowKind]:
    """One kind per query, on source frames where boxes are scored and in seconds where only windows are."""
    kinds: list[WindowKind] = []
    for record, window in zip(queries.records, queries.predicted_windows(), strict=True):
        if window is None:
            kinds.append("no window")
        elif queries.viou is None:
            true = true_window(record)
            kinds.append(window_kind((true.start, true.end), (window.start, window.end)))
        else:
            assert record.window is not None
            kinds.append(window_kind(record.window, record.clock.frames_in(window)))
    return kinds


def box_kind(overlaps: NDArray[np.float64]) -> BoxKind:
    """What is wrong with the boxes of a query, by their IoU with the truth on the shared frames (F,).

    The median, because a tube that jumps to another object half way is a matter of frames, not of an average
    that no frame has.
    """
    if not len(overlaps):
        return "no shared frame"
    median = float(np.median(overlaps))
    if median < WRONG_IOU:
        return "wrong object"
    return "good" if median >= GOOD_IOU else "loose"


def box_kinds(queries: ScoredQueries) -> list[tuple[BoxKind, NDArray[np.float64]]]:
    """One kind per query, with the box IoU of each shared frame (F,)."""
    kinds: list[tuple[BoxKind, NDArray[np.float64]]] = []
    for record, answer in zip(queries.records, queries.answers, strict=True):
        window = window_of(answer)
        if answer is None or window is None:
            kinds.append(("no shared frame", np.zeros(0)))
        elif not len(answer.times):
            kinds.append(("no box", np.zeros(0)))
        else:
            overlaps = shared_overlaps(record, answer, record.clock.frames_in(window))
            kinds.append((box_kind(overlaps), overlaps))
    return kinds


def shared_overlaps(
    record: TruthRecord, answer: PredictionRecord, window: tuple[int, int]
) -> NDArray[np.float64]:
    """Box IoU on each frame that has a true box and lies in both windows, in order. Shape (F,).

    Args:
        answer: with at least one box.
        window: the predicted one, half-open source frames.
    """
    assert record.window is not None
    low, high = max(record.window[0], window[0]), min(record.window[1], window[1])
    frames = np.array(sorted(frame for frame in record.boxes if low <= frame < high), dtype=np.int64)
    if not len(frames):
        return np.zeros(0)
    true_boxes = np.array([record.boxes[frame] for frame in frames.tolist()], dtype=np.float64)
    return box_iou(boxes_on_frames(answer, record, frames), true_boxes)


def edge_errors(queries: ScoredQueries) -> NDArray[np.float64]:
    """Predicted minus true start and end of each query that has a window, seconds. Shape (M, 2)."""
    return np.array([errors for errors in _window_errors(queries) if errors is not None]).reshape(-1, 2)


def window_errors(queries: ScoredQueries, kinds: Sequence[WindowKind]) -> list[WindowErrors]:
    """Counts and mean errors per kind, in the order of ``WINDOW_KINDS``."""
    both = _window_errors(queries)
    table = []
    for kind in WINDOW_KINDS:
        mine = [errors for errors, its in zip(both, kinds, strict=True) if its == kind]
        known = np.array([errors for errors in mine if errors is not None])
        means = known.mean(axis=0).tolist() if len(known) else [None, None]
        table.append(WindowErrors(kind, len(mine), *means))
    return table


def box_errors(kinds: Sequence[tuple[BoxKind, NDArray[np.float64]]]) -> list[BoxErrors]:
    """Counts and mean IoU per kind, in the order of ``BOX_KINDS``."""
    table = []
    for kind in BOX_KINDS:
        mine = [overlaps for its, overlaps in kinds if its == kind]
        pooled = np.concatenate(mine) if mine else np.zeros(0)
        table.append(BoxErrors(kind, len(mine), float(pooled.mean()) if len(pooled) else None))
    return table


def _window_errors(queries: ScoredQueries) -> list[tuple[float, float] | None]:
    """Start and end error in seconds of each query; None without a usable window."""
    errors: list[tuple[float, float] | None] = []
    for record, window in zip(queries.records, queries.predicted_windows(), strict=True):
        true = true_window(record)
        errors.append(None if window is None else (window.start - true.start, window.end - true.end))
    return errors
