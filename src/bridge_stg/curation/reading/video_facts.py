"""What a record says about its video: rate, length and size."""

from __future__ import annotations

from dataclasses import dataclass

from bridge_stg.geometry.clock import VideoClock
from bridge_stg.types import FrameTimes, VideoInfo


@dataclass(frozen=True)
class VideoFacts:
    """Frames per second (the average at a variable rate), number of frames, and pixels as shown.

    ``frame_times`` says when each frame is shown at a variable rate.
    """

    fps: float
    frame_count: int
    width: int
    height: int
    frame_times: FrameTimes | None = None

    @classmethod
    def of(cls, info: VideoInfo) -> VideoFacts:
        """The facts of an opened video."""
        return cls(float(info.fps), info.frames, info.width, info.height, info.frame_times)

    @property
    def seconds(self) -> float:
        """How long the video is shown."""
        return self.clock.duration

    @property
    def clock(self) -> VideoClock:
        return VideoClock(self.fps, self.frame_count, self.frame_times)
