"""Which part of a video is read, and what a given window means in it."""

from __future__ import annotations

from bridge_stg.errors import InputError
from bridge_stg.types import Task, TimeSpan, VideoInfo


def span_to_sample(task: Task, extent: TimeSpan) -> TimeSpan:
    """The part of the video to sample; of a referring expression the frame shown when the clip begins."""
    # A span without length holds that frame and nothing else.
    return TimeSpan(extent.start, extent.start) if task == "rec" else extent


def clip_extent(info: VideoInfo, clip: TimeSpan | None) -> TimeSpan:
    """What is read of a video, on the clock of its file.

    Raises:
        InputError: the clip is empty or lies outside the video.
    """
    whole = TimeSpan(0.0, info.duration)
    if clip is None:
        return whole
    inside = clip.cut_to(whole)
    if inside is None:
        raise InputError(
            f"clip [{clip.start:.2f}, {clip.end:.2f}) s is empty or outside the video of {whole.length:.2f} s"
        )
    return inside


def given_window(window: TimeSpan, extent: TimeSpan) -> TimeSpan:
    """A window that the caller gave, cut to the clip.

    Raises:
        InputError: it is empty or outside the clip.
    """
    inside = window.cut_to(extent)
    if inside is None:
        what = "video" if extent.start == 0 else f"clip [{extent.start:.2f}, {extent.end:.2f}) s of the video"
        raise InputError(
            f"window [{window.start:.2f}, {window.end:.2f}) s is empty or outside the {what} of "
            f"{extent.length:.2f} s"
        )
    return inside
