"""Sampled frames: which of them a window holds, how they pair up, and boxes between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge_stg.types import TimeSpan


def sampled_in_span(
    times: NDArray[np.float64], span: TimeSpan, shown: NDArray[np.float64] | float = 0.0
) -> NDArray[np.int64]:
    """Indices of the sampled frames that appear inside ``span``; the one nearest to its middle if none does.

    A window shorter than the sampling step can hold no sampled frame; the event still needs a box, so the frame
    that is shown at the middle of the window stands for it, else the one that appears nearest to it.

    Args:
        times: (F,) increasing seconds at which the frames appear.
        shown: seconds for which each of them is shown, (F,) or one for all; a slow source needs them.

    >>> sampled_in_span(np.array([0.0, 10.0]), TimeSpan(6.0, 8.0)).tolist()
    [1]
    >>> sampled_in_span(np.array([0.0, 10.0]), TimeSpan(6.0, 8.0), shown=10.0).tolist()
    [0]
    """
    inside = np.flatnonzero((times >= span.start) & (times < span.end))
    if len(inside):
        return inside.astype(np.int64)

    # Between two sampled frames: the one on screen, else the nearest.
    middle = (span.start + span.end) / 2
    on_screen = np.flatnonzero((times <= middle) & (middle < times + shown))
    nearest = on_screen[-1] if len(on_screen) else np.abs(times - middle).argmin()
    return np.array([nearest], dtype=np.int64)


def frame_pairs(count: int) -> NDArray[np.int64]:
    """Group ``count`` sampled frames in twos; an odd last frame is repeated. Shape (P, 2).

    >>> frame_pairs(3).tolist()
    [[0, 1], [2, 2]]
    """
    indices = np.arange(count, dtype=np.int64)
    if count % 2:
        indices = np.append(indices, count - 1)
    return indices.reshape(-1, 2)


def pair_times(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean time of each frame pair, which is what a pair's timestamp says. Shape (P,).

    >>> pair_times(np.array([0.0, 0.5, 1.0])).tolist()
    [0.25, 1.0]
    """
    means: NDArray[np.float64] = times[frame_pairs(len(times))].mean(axis=1)
    return means


def boxes_at(
    times: NDArray[np.float64], boxes: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Boxes at ``wanted`` seconds: linear between the given ones, the nearest one before and after them.

    Args:
        times: (F,) increasing seconds.
        boxes: (F, 4) boxes at those times.
        wanted: (N,) seconds.

    Returns:
        (N, 4) boxes.

    Raises:
        ValueError: there are no boxes.
    """
    if len(times) == 0:
        raise ValueError("no boxes to interpolate between")
    return np.stack([np.interp(wanted, times, boxes[:, side]) for side in range(4)], axis=1)
