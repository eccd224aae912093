"""How sure a mean is: percentile bootstrap that draws whole videos.

Queries about one video are not independent (they share its scene and its mistakes), so resampling single
queries would give intervals that are too narrow. Each resample draws as many videos as there are, with
replacement, and keeps every query of a drawn video.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def clustered_interval(
    values: NDArray[np.float64],
    clusters: Sequence[str],
    *,
    weights: NDArray[np.float64] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> NDArray[np.float64]:
    """The interval that holds the mean of each column in ``level`` of the resamples.

    Args:
        values: (N, K), one row per query, N >= 1.
        clusters: the video of each row.
        weights: (N,) how much a row counts in the mean; None is 1 each.
        resamples: how many sets of videos are drawn.
        level: share of the resampled means inside the interval.
        seed: of the draw; the same seed gives the same interval.

    Returns:
        (K, 2) low and high, in the unit of ``values``. With a single video both equal its mean.
    """
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    share = np.ones(len(values)) if weights is None else weights
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, member, values * share[:, None])
    sizes = np.bincount(member, weights=share, minlength=len(names))
    # A resample only needs to know how often each video was drawn: (R, V) counts turn it into two products.
    drawn = _draws(len(names), resamples, seed)
    means = (drawn @ sums) / (drawn @ sizes)[:, None]
    tail = (1 - level) / 2
    return np.quantile(means, [tail, 1 - tail], axis=0).T


@lru_cache(maxsize=2)
def _draws(videos: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each of V videos is in each of R resamples: (R, V). The same for every set of predictions."""
    draws = np.random.default_rng(seed).multinomial(videos, np.full(videos, 1 / videos), resamples)
    drawn = draws.astype(np.float64)
    drawn.flags.writeable = False
    return drawn
