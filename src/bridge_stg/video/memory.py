"""Frames that are in memory already, with their times, read as a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bridge_stg.errors import InputError
from bridge_stg.types import VideoInfo
from bridge_stg.video.images import to_rgb
from bridge_stg.video.picture_times import describe_pictures

NAME = "frames in memory"


@dataclass(frozen=True)
class FramesInMemory:
    """Frames of one size; ``times`` is (N,) float64 seconds since the first one."""

    info: VideoInfo
    times: NDArray[np.float64]
    frames: Sequence[Any]
    notes: tuple[str, ...] = ()

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(index, (H, W, 3) uint8 RGB) of each wanted frame.

        Raises:
            InputError: a frame has another size than the first one, or is no picture.
        """
        size = self.info.width, self.info.height
        for number in wanted:
            pixels = _pixels(self.frames[number], number)
            if pixels.shape[1::-1] != size:
                raise InputError(
                    f"frame {number} is {pixels.shape[1]}x{pixels.shape[0]} but the first one is "
                    f"{size[0]}x{size[1]}; give frames of one size"
                )
            yield number, pixels


def frames_in_memory(frames: Any, times: Sequence[float] | None = None) -> FramesInMemory:
    """A video of frames that somebody has decoded already.

    Args:
        frames: (F, H, W, 3) uint8 RGB as an array or a tensor, a list of (H, W, 3) uint8 arrays or of PIL
            images, or one PIL image.
        times: (F,) seconds at which they are shown, increasing; they may be left out for a single frame.

    Raises:
        InputError: something else, or frames without times.
        VideoError: not one time per frame, or times that do not increase.

    >>> frames_in_memory(np.zeros((4, 48, 64, 3), np.uint8), times=[0.0, 0.5, 1.0, 1.5]).info.fps
    Fraction(2, 1)
    """
    if isinstance(frames, Image.Image):
        frames = [frames]
    if not isinstance(frames, list | tuple):
        frames = np.asarray(frames)
        if frames.ndim == 3:
            frames = frames[None]
        if frames.ndim != 4:
            raise InputError(
                f"frames must be (F, height, width, 3) uint8 RGB or a list of pictures, "
                f"got {frames.shape} {frames.dtype}"
            )

    if len(frames) == 0:
        raise InputError("there are no frames; give at least one")

    if times is None and len(frames) > 1:
        raise InputError(f"{len(frames)} frames need times: one second per frame, times=[...]")

    height, width = _pixels(frames[0], 0).shape[:2]
    seconds = [0.0] if times is None else [float(second) for second in times]
    info, relative = describe_pictures(NAME, (width, height), len(frames), seconds)

    # A clip cut out of a longer video: what is answered counts from its first frame, as for any file.
    late = (
        ()
        if seconds[0] == 0
        else (f"times are counted from the first frame, which was given {seconds[0]:.3f} s",)
    )
    return FramesInMemory(info, relative, frames, late)


def _pixels(frame: Any, number: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, contiguous."""
    if isinstance(frame, Image.Image):
        return to_rgb(frame, f"frame {number}")
    pixels = np.asarray(frame)
    if pixels.ndim != 3 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise InputError(
            f"frame {number} must be a PIL image or (height, width, 3) uint8 RGB, "
            f"got {pixels.shape} {pixels.dtype}; convert it, such as with (255 * x).astype('uint8')"
        )
    return np.ascontiguousarray(pixels)
