"""Scores of parts of a set: by temporal IoU (Table 15), by video length and by event length (Table 16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bridge_stg.evaluation.report.scored_queries import ScoredQueries, true_window

# Table 15: half-open bins, the last one closed.
TIOU_EDGES = (0.0, 0.3, 0.5, 0.7, 1.0)
# Seconds. The paper's Table 16 names "under 3 s" and "over 90 s" for videos and "under 1 s" for events; what
# lies between is split further, because it holds nearly every query. Exactly 90 s counts as long here.
VIDEO_EDGES = (0.0, 3.0, 10.0, 30.0, 90.0, float("inf"))
EVENT_EDGES = (0.0, 1.0, 3.0, 10.0, float("inf"))


@dataclass(frozen=True)
class Slice:
    """One part of a set of queries.

    ``mean`` is the mean of what the set is cut by: tIoU in percent, or seconds. ``metrics`` is percent by name.
    Both are empty (None, {}) for a part without queries.
    """

    name: str
    n: int
    mean: float | None
    metrics: dict[str, float]


def tiou_bins(queries: ScoredQueries) -> list[Slice]:
    """How well boxes do where the window is bad, fair and good (Table 15); a failed query has tIoU 0."""
    names = [f"[{low:.1f}, {high:.1f})" for low, high in pairwise(TIOU_EDGES[:-1])]
    names.append(f"[{TIOU_EDGES[-2]:.1f}, {TIOU_EDGES[-1]:.1f}]")
    member = np.searchsorted(np.array(TIOU_EDGES[1:-1]), queries.tiou, side="right")
    return _slices(queries, names, member, 100 * queries.tiou)


def video_slices(queries: ScoredQueries) -> list[Slice]:
    """By the length of the part of the video that the question is about (Table 16)."""
    lengths = np.array([record.clock.span(*record.clip).length for record in queries.records])
    return _slices(queries, _names(VIDEO_EDGES), _member(lengths, VIDEO_EDGES), lengths)


def event_slices(queries: ScoredQueries) -> list[Slice]:
    """By the length of the true window (Table 16)."""
    lengths = np.array([true_window(record).length for record in queries.records])
    return _slices(queries, _names(EVENT_EDGES), _member(lengths, EVENT_EDGES), lengths)


def _names(edges: Sequence[float]) -> list[str]:
    middle = [f"{low:g} to {high:g} s" for low, high in pairwise(edges[1:-1])]
    return [f"under {edges[1]:g} s", *middle, f"{edges[-2]:g} s and over"]


def _member(lengths: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.int64]:
    """Index of the half-open part that each length falls into."""
    # Frames over a rate such as 30000/1001 miss a whole second by a rounding error; it still counts as reached.
    return np.searchsorted(np.array(edges[1:-1]) - 1e-9, lengths, side="right").astype(np.int64)


def _slices(
    queries: ScoredQueries, names: Sequence[str], member: NDArray[np.int64], cut_by: NDArray[np.float64]
) -> list[Slice]:
    parts = []
    for number, name in enumerate(names):
        inside = member == number
        mean = float(cut_by[inside].mean()) if inside.any() else None
        parts.append(Slice(name, int(inside.sum()), mean, queries.means(inside)))
    return parts
