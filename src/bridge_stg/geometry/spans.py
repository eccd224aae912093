"""The only place that converts between seconds, sampled indices and source frames.

Source frame ``f`` of a video with rate ``fps`` is shown during ``[f / fps, (f + 1) / fps)``.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bridge_stg.types import TimeSpan


def frame_time(frame: int, fps: Fraction | float) -> float:
    """The second at which source frame ``frame`` appears."""
    return float(Fraction(frame) / Fraction(fps))


def nearest_frame(time: float, fps: Fraction | float, frames: int) -> int:
    """The source frame that appears nearest to ``time``, clamped to the video.

    >>> nearest_frame(0.51, Fraction(30), 300)
    15
    """
    return int(min(max(round(time * float(fps)), 0), frames - 1))


def nearest_frames(times: NDArray[np.float64], fps: Fraction | float, frames: int) -> NDArray[np.int64]:
    """``nearest_frame`` of each of ``times`` (N,), the same numbers: (N,).

    >>> nearest_frames(np.array([0.51, 99.0]), 30, 300).tolist()
    [15, 299]
    """
    nearest: NDArray[np.int64] = np.clip(np.rint(times * float(fps)), 0, frames - 1).astype(np.int64)
    return nearest


def frames_to_span(start: int, end: int, fps: Fraction | float) -> TimeSpan:
    """Half-open source frames ``[start, end)`` as seconds.

    >>> frames_to_span(60, 120, Fraction(30))
    TimeSpan(start=2.0, end=4.0)
    """
    return TimeSpan(frame_time(start, fps), frame_time(end, fps))


def span_to_frames(span: TimeSpan, fps: Fraction | float) -> tuple[int, int]:
    """Seconds as half-open source frames, each end rounded to the nearest frame boundary.

    >>> span_to_frames(TimeSpan(2.0, 4.02), Fraction(30))
    (60, 121)
    """
    return round(span.start * float(fps)), round(span.end * float(fps))


def sampled_in_span(
    times: NDArray[np.float64], span: TimeSpan, shown: Fraction = Fraction(0)
) -> NDArray[np.int64]:
    """Indices of the sampled frames that appear inside ``span``; the one nearest to its middle if none does.

    A window shorter than the sampling step can hold no sampled frame; the event still needs a box, so the frame
    that is shown at the middle of the window stands for it, else the one that appears nearest to it.

    Args:
        times: (F,) increasing seconds at which the frames appear.
        shown: seconds for which each of them is shown, which matter where the source itself is slow.

    >>> sampled_in_span(np.array([0.0, 10.0]), TimeSpan(6.0, 8.0)).tolist()
    [1]
    >>> sampled_in_span(np.array([0.0, 10.0]), TimeSpan(6.0, 8.0), shown=Fraction(10)).tolist()
    [0]
    """
    inside = np.flatnonzero((times >= span.start) & (times < span.end))
    if len(inside):
        return inside.astype(np.int64)
    middle = (span.start + span.end) / 2
    on_screen = np.flatnonzero((times <= middle) & (middle < times + float(shown)))
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
