"""Frames to tensors: the sizes the model sees, Qwen3-VL's patches, and the detector's normalised images.

Torch only. The patches equal those of the stock Qwen3-VL video processor on frames of the same size.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge_stg.geometry.spans import frame_pairs

# Qwen3-VL's normalisation: [0, 255] -> [-1, 1].
VISION_MEAN = 0.5
VISION_STD = 0.5


def fit_frame_size(width: int, height: int, factor: int, max_tokens: int) -> tuple[int, int]:
    """The (width, height) at which a frame is read: multiples of ``factor``, about the same aspect ratio,
    at most ``max_tokens`` squares of side ``factor``.

    Frames are never enlarged beyond the next multiple. A side already at its minimum caps the other one.

    >>> fit_frame_size(640, 480, 32, 192)
    (512, 384)
    """
    columns, rows = max(round(width / factor), 1), max(round(height / factor), 1)
    if columns * rows > max_tokens:
        # Never below 1: rounding up alone can exceed the budget, and then rounding down is enough.
        shrink = max(math.sqrt(width * height / (max_tokens * factor * factor)), 1.0)
        columns = max(math.floor(width / shrink / factor), 1)
        rows = max(math.floor(height / shrink / factor), 1)
        columns, rows = min(columns, max_tokens // rows), min(rows, max_tokens // min(columns, max_tokens))
        columns, rows = max(columns, 1), max(rows, 1)
    return columns * factor, rows * factor


def patchify(
    frames: NDArray[np.uint8] | Tensor, patch_size: int, merge_size: int, temporal_size: int = 2
) -> tuple[Tensor, tuple[int, int, int]]:
    """Frames (F, H, W, 3) -> patches (N, 3 * T * p * p) in Qwen3-VL's order, and their grid (P, H/p, W/p).

    Patches that merge into one visual token are neighbours in the sequence. An odd last frame is repeated.

    Raises:
        ValueError: the frame size is not a multiple of patch_size * merge_size.
    """
    height, width = frames.shape[1:3]
    side = patch_size * merge_size
    if height % side or width % side:
        raise ValueError(f"frames of {width}x{height} must have sides that are multiples of {side}")
    images = torch.as_tensor(frames)
    paired = images[torch.from_numpy(frame_pairs(len(frames)).reshape(-1)).to(images.device)]
    pixels = (paired.float() / 255 - VISION_MEAN) / VISION_STD
    pairs, rows, columns = len(paired) // temporal_size, height // side, width // side
    pixels = pixels.view(pairs, temporal_size, rows, merge_size, patch_size, columns, merge_size, patch_size, 3)
    # (pair, row, column, merge row, merge column | channel, time, patch row, patch column)
    ordered = pixels.permute(0, 2, 5, 3, 6, 8, 1, 4, 7)
    patches = ordered.reshape(pairs * rows * columns * merge_size**2, -1)
    return patches, (pairs, rows * merge_size, columns * merge_size)


def resize_frames(frames: NDArray[np.uint8], short_side: int | None = None) -> Tensor:
    """Frames (F, H, W, 3) -> (F, 3, h, w) uint8, resized to ``short_side`` if one is given."""
    images = torch.from_numpy(frames).permute(0, 3, 1, 2)
    if short_side is None:
        return images
    size = spatial_size(images.shape[-2], images.shape[-1], short_side)
    return torch.nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True)


def spatial_size(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """(h, w) in pixels of what QGSL reads of frames of ``height`` x ``width``.

    Examples:
        >>> spatial_size(720, 1280, 360)
        (360, 640)
    """
    scale = 1.0 if short_side is None else short_side / min(height, width)
    return round(height * scale), round(width * scale)


def normalise_frames(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Frames (F, 3, h, w) uint8 -> float32 of the mean 0 and the deviation 1 that a detector expects."""
    shift = torch.tensor(mean, device=images.device).view(3, 1, 1)
    scale = torch.tensor(std, device=images.device).view(3, 1, 1)
    return (images.float() / 255 - shift) / scale
