"""How much two boxes overlap: float64 NumPy, used by every metric.

Deliberately independent of the torch code the losses use, so that a mistake there cannot hide in the score.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def box_iou(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """IoU of boxes paired by broadcasting, on continuous coordinates (no +1 pixel).

    Args:
        first, second: (..., 4) xyxy in one unit.

    Returns:
        (...) in [0, 1]; 0 where both boxes have no area.

    >>> float(box_iou([0, 0, 2, 2], [1, 0, 3, 2]))
    0.3333333333333333
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    # Side by side and not in pairs: loops over an axis of length 2 cost more than the arithmetic.
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    overlap = np.maximum(width, 0) * np.maximum(height, 0)
    union = _area(a) + _area(b) - overlap
    # Two boxes without area are no evidence of agreement: 0/0 is 0, not NaN.
    iou: NDArray[np.float64] = np.divide(overlap, union, out=np.zeros_like(union), where=union > 0)
    return iou


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    area: NDArray[np.float64] = np.maximum(width, 0) * np.maximum(height, 0)
    return area
