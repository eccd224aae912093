"""Positive/negative frame sampling (section 3.3, Fig. 5): which frames QGSL learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.types import TimeSpan


@dataclass(frozen=True)
class SelectedFrames:
    """Sorted sampled indices: (up to N_p,) inside the window with a box, (up to N_n,) outside the window."""

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]


def select_frames(
    times: NDArray[np.float64],
    has_box: NDArray[np.bool_],
    window: TimeSpan,
    num_positive: int,
    num_negative: int,
    seed: int,
) -> SelectedFrames:
    """Draw up to N_p positive and N_n negative frames without replacement; a pure function of its arguments.

    Frames inside the window that lack a box are neither: they are not sampled. A window between two sampled frames
    has no positive frame here; the frame nearest to its middle is one if it has a box.

    Args:
        times: (F,) seconds of the sampled frames.
        has_box: (F,) whether the target has a box there.
        window: the event.
    """
    inside = (times >= window.start) & (times < window.end)
    positive = np.flatnonzero(inside & has_box)
    if not inside.any():
        nearest = int(np.abs(times - (window.start + window.end) / 2).argmin())
        inside = inside.copy()
        inside[nearest] = True
        positive = np.array([nearest]) if has_box[nearest] else positive
    negative = np.flatnonzero(~inside)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(positive)[:num_positive]
    others = rng.permutation(negative)[:num_negative]
    return SelectedFrames(np.sort(chosen).astype(np.int64), np.sort(others).astype(np.int64))
