"""How a moment is written for the language model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge_stg.geometry.spans import pair_times


def timestamp_text(seconds: float) -> str:
    """Qwen3-VL's own wording, one decimal.

    >>> timestamp_text(12.25)
    '<12.2 seconds>'
    """
    return f"<{seconds:.1f} seconds>"


def pair_timestamps(times: NDArray[np.float64]) -> list[str]:
    """One timestamp per frame pair: the mean time of its two frames.

    >>> pair_timestamps(np.array([0.0, 0.5, 1.0]))
    ['<0.2 seconds>', '<1.0 seconds>']
    """
    return [timestamp_text(float(time)) for time in pair_times(times)]


def named_second(time: float) -> int:
    """The second by which a scan names a frame pair that begins at ``time``.

    Examples:
        >>> named_second(1.2), named_second(1.9)
        (1, 2)
    """
    return int(time + 0.25)
