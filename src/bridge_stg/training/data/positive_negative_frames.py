"""Positive/negative frame sampling (section 3.3, Fig. 5): which frames QGSL learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.geometry.spans import sampled_in_span
from bridge_stg.types import TimeSpan


@dataclass(frozen=True)
class DrawnFrames:
    """Sorted sampled indices: (up to N_p,) inside the window with a box, (up to N_n,) outside the window."""

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]


def draw_frames(
    times: NDArray[np.float64],
    has_box: NDArray[np.bool_],
    window: TimeSpan,
    num_positive: int,
    num_negative: int,
    seed: int,
) -> DrawnFrames:
    """Draw up to N_p positive and N_n negative frames without replacement; a pure function of its arguments.

    One order of all frames follows from the seed, and the first ones of it are drawn: each sentence of a clip
    by itself gets a uniform draw, and sentences that are given the same seed share frames where their windows
    let them. QGSL encodes a frame once for all of them.

    Which frames are inside is what inference decides too: a window between two sampled frames is stood for by
    the frame nearest to its middle. Frames inside that lack a box are neither positive nor negative.

    Args:
        times: (F,) seconds of the sampled frames.
        has_box: (F,) whether the target has a box there.
        window: the event.
        num_positive, num_negative: N_p and N_n; 8 and 2 in the paper.
    """
    inside = sampled_in_span(times, window)
    positive = inside[has_box[inside]]
    negative = np.setdiff1d(np.arange(len(times)), inside)
    place = np.random.default_rng(seed).permutation(len(times))
    return DrawnFrames(_first(place, positive, num_positive), _first(place, negative, num_negative))


def _first(place: NDArray[np.int64], indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The ``count`` of ``indices`` that stand first when frame i has the place ``place[i]``."""
    return np.sort(indices[np.argsort(place[indices])][:count]).astype(np.int64)
