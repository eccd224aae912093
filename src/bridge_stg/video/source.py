"""Whatever a caller calls a video, opened once: a path, a picture, or frames in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from bridge_stg.errors import InputError
from bridge_stg.types import VideoInfo
from bridge_stg.video.decode import FrameSource, open_source
from bridge_stg.video.images import is_still_image
from bridge_stg.video.memory import NAME, FramesInMemory, frames_in_memory

# What is taken as a video; frames in memory are (H, W, 3) uint8 RGB, with one second each.
VideoInput = (
    str | Path | NDArray[Any] | Image.Image | Sequence[NDArray[Any]] | Sequence[Image.Image] | FramesInMemory
)


@dataclass(frozen=True)
class VideoSource:
    """An open video, what results call it, and whether it is one picture, which has no time."""

    name: str
    video: FrameSource
    still: bool

    @property
    def info(self) -> VideoInfo:
        return self.video.info


def open_video(video: VideoInput, times: Sequence[float] | None = None) -> VideoSource:
    """Open a path, a picture or frames; ``times`` are the seconds of pictures that have no clock of their own.

    Raises:
        VideoError: a file that cannot be read.
        InputError: nothing that can be a video.
    """
    if isinstance(video, str | Path):
        return VideoSource(str(video), open_source(video, times), is_still_image(Path(video)))
    if isinstance(video, FramesInMemory):
        return VideoSource(NAME, open_source(video, times), still=False)
    if isinstance(video, list | tuple) and video and all(isinstance(one, str | Path) for one in video):
        raise InputError(
            f"one video is wanted, got {len(video)} paths; ground_videos takes pairs of a video and sentences"
        )
    if not isinstance(video, list | tuple | Image.Image) and not hasattr(video, "__array__"):
        hint = "; write it to a file first" if hasattr(video, "read") else ""
        raise InputError(
            f"a video is a path, a picture, or frames (H, W, 3) uint8 RGB with times=, "
            f"got {type(video).__name__}{hint}"
        )
    return VideoSource(NAME, frames_in_memory(video, times), still=times is None)
