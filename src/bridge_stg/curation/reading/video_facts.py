"""What a record says about its video: rate, length and size."""

from __future__ import annotations

from dataclasses import dataclass

from bridge_stg.types import VideoInfo


@dataclass(frozen=True)
class VideoFacts:
    """Frames per second, number of frames, and pixels as shown."""

    fps: float
    frame_count: int
    width: int
    height: int

    @classmethod
    def of(cls, info: VideoInfo) -> VideoFacts:
        """The facts of an opened video."""
        return cls(float(info.fps), info.frames, info.width, info.height)

    @property
    def seconds(self) -> float:
        """How long the video is shown."""
        return self.frame_count / self.fps
