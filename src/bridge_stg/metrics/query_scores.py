"""What a metric hands on: one row per query, one column per metric, before anything is averaged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class QueryScores:
    """The values of N queries in K metrics.

    ``names`` are the K metrics. Shapes: ``values`` (N, K) in [0, 1]; ``failed`` (N,) True where there was no
    usable prediction, missing ones included; ``weights`` (N,) how much a query counts in the mean: 1, except in
    tracking, where frames are pooled and a query counts by its frames.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    failed: NDArray[np.bool_]
    weights: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.values)
        if self.values.shape != (count, len(self.names)):
            raise ValueError(f"{len(self.names)} metrics need (N, {len(self.names)}), got {self.values.shape}")
        if self.failed.shape != (count,) or self.weights.shape != (count,):
            raise ValueError(
                f"{count} queries, but {self.failed.shape} failed and {self.weights.shape} weights"
            )

    def means(self, rows: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Each metric in percent over ``rows`` (all by default); there must be at least one."""
        kept = slice(None) if rows is None else rows
        weights = self.weights[kept]
        if (weights == 1).all():
            # The plain mean, not a sum of products: the last digit of a published number stays what it was.
            found = 100 * self.values[kept].mean(axis=0)
        else:
            found = 100 * (weights @ self.values[kept]) / weights.sum()
        return dict(zip(self.names, found.tolist(), strict=True))


def threshold_names(prefix: str, thresholds: tuple[float, ...]) -> tuple[str, ...]:
    """Metric names of a share of queries above each threshold.

    >>> threshold_names("vIoU", (0.3, 0.5))
    ('vIoU@0.3', 'vIoU@0.5')
    """
    return tuple(f"{prefix}@{threshold:g}" for threshold in thresholds)
