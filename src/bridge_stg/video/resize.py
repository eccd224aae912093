"""Resize a frame the way the vision-language model's own preprocessing does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resize_frame(frame: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Bicubic with antialiasing, computed and rounded on uint8.

    The vision tower was trained on frames resized on uint8; resizing in float and rounding later differs by up
    to one grey level per pixel.

    Args:
        frame: (H, W, 3) uint8.
        width, height: pixels of the result.

    Returns:
        (height, width, 3) uint8, contiguous; the frame itself if it has that size already.
    """
    if frame.shape[:2] == (height, width):
        return frame
    import torch
    from torch.nn.functional import interpolate

    pixels = torch.from_numpy(frame).permute(2, 0, 1).unsqueeze(0)
    resized = interpolate(pixels, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())
