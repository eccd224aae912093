"""Whether a tube begins where an object to track was given: of all tasks this one can check its answer."""

from __future__ import annotations

import numpy as np
import torch

from bridge_stg.geometry.boxes import paired_giou
from bridge_stg.prompting.given_box import read_given
from bridge_stg.types import TimeSpan, Tube, VideoInfo

# Below it a tube follows something else, or very loosely what was given.
AGREES = 0.5


def given_overlap(query: str, tube: Tube, info: VideoInfo, clip: TimeSpan) -> float:
    """IoU of the box that a query gives and the tube's box nearest to that time.

    Args:
        clip: the part of the file that is asked about; the query counts seconds from its start.

    Returns:
        In [0, 1].

    Raises:
        InputError: as ``read_given``.
    """
    given = read_given(query, clip.length)
    nearest = int(np.abs(tube.times - (clip.start + given.second)).argmin())
    sides = np.array([info.width, info.height] * 2, dtype=np.float64)
    overlap, _ = paired_giou(torch.from_numpy(given.box * sides), torch.from_numpy(tube.boxes[nearest]))
    return float(overlap)
