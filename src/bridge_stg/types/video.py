"""A video as it crosses rooms: what its file says of itself, and frames with their times."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge_stg.types.times import FrameTimes


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of itself, after rotation.

    ``fps`` is exact (30000/1001, not 29.97); for a variable frame rate it is the average rate, and
    ``frame_times`` says how long each frame is shown (None at a constant rate). ``duration`` is in seconds,
    ``frames`` counts the source frames. ``start_time`` is the container time of the first frame, which is
    subtracted from every time given to callers.
    """

    path: str
    width: int
    height: int
    fps: Fraction
    duration: float
    frames: int
    start_time: float = 0.0
    frame_times: FrameTimes | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"{self.path}: frame size must be positive, got {self.width}x{self.height}")
        if self.fps <= 0:
            raise ValueError(f"{self.path}: frame rate must be positive, got {self.fps}")
        if self.frame_times is not None and self.frame_times.frames != self.frames:
            raise ValueError(f"{self.path}: {self.frames} frames, times of {self.frame_times.frames}")

    def to_json(self) -> dict[str, Any]:
        about: dict[str, Any] = {
            "width": self.width,
            "height": self.height,
            "fps": str(self.fps),
            "duration": round(self.duration, 6),
            "frames": self.frames,
        }
        if self.frame_times is not None:
            about["frame_times"] = self.frame_times.to_json()
        return about


@dataclass(frozen=True)
class SampledVideo:
    """Frames read from a video, each with its time.

    Shapes: ``frames`` (F, H, W, 3) uint8 RGB, possibly smaller than the source; ``times`` (F,) float64 seconds;
    ``source_frames`` (F,) int64. ``sampled_fps`` is the rate that was asked for. ``notes`` holds what a person
    should know, such as how much of a truncated file was lost.
    """

    info: VideoInfo
    frames: NDArray[np.uint8]
    times: NDArray[np.float64]
    source_frames: NDArray[np.int64]
    sampled_fps: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.frames)
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise ValueError(f"frames must be (F, H, W, 3) uint8, got {self.frames.shape} {self.frames.dtype}")
        if count == 0:
            raise ValueError("a sampled video holds at least one frame")
        if self.times.shape != (count,) or self.source_frames.shape != (count,):
            raise ValueError(
                f"{count} frames need {count} times and source indices, "
                f"got {self.times.shape} and {self.source_frames.shape}"
            )
        if count > 1 and not (np.diff(self.times) > 0).all():
            raise ValueError("frame times must increase")

    def __len__(self) -> int:
        return len(self.frames)
