"""Tubes of several windows: put together, and taken apart again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bridge_stg.types import TimeSpan, Tube


def join_tubes(tubes: Sequence[Tube]) -> Tube | None:
    """The boxes of several windows in order of time; of two boxes in a frame the first one stands.

    None if there are no tubes.
    """
    if not tubes:
        return None
    _, first = np.unique(np.concatenate([tube.frames for tube in tubes]), return_index=True)
    return Tube(
        np.concatenate([tube.times for tube in tubes])[first],
        np.concatenate([tube.frames for tube in tubes])[first],
        np.concatenate([tube.boxes for tube in tubes])[first],
        np.concatenate([tube.scores for tube in tubes])[first],
    )


def part_of(tube: Tube, window: TimeSpan) -> Tube:
    """The boxes of one window; a window between two of them has the nearest one to its middle."""
    inside = (tube.times >= window.start) & (tube.times < window.end)
    if not inside.any():
        inside[np.abs(tube.times - (window.start + window.end) / 2).argmin()] = True
    return Tube(tube.times[inside], tube.frames[inside], tube.boxes[inside], tube.scores[inside])
