"""Sample a video at a steady rate on its real timestamps.

Peak memory grows with the frames kept, not with the source: each chosen frame is resized as soon as it is
decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import InputError
from bridge_stg.types import SampledVideo, TimeSpan, VideoInfo
from bridge_stg.video.decode import FrameSource
from bridge_stg.video.resize import resize_frame
from bridge_stg.video.source import VideoInput, VideoSource, open_video
from bridge_stg.video.watched import WatchedFrames

# Seconds that decide a tie: far below any container's unit, far above float64 noise on hours of video.
TIE = 1e-6
# Frames per second that may be asked for. More are in no file, and their times alone would fill the memory.
MAX_FPS = 1000.0
# Wanted times that are all written down: of 5.8 days at 2 frames per second, 8 MB.
MOST_WANTED = 1_000_000


def wanted_times(start: float, end: float, fps: float) -> NDArray[np.float64]:
    """``start, start + 1/fps, ...`` while before ``end``; always at least ``start``. Shape (F,) seconds.

    >>> wanted_times(0.0, 2.0, 2.0).tolist()
    [0.0, 0.5, 1.0, 1.5]
    """
    return start + np.arange(_count(start, end, fps)) / fps


def _count(start: float, end: float, fps: float) -> int:
    return max(int(np.ceil((end - start) * fps - TIE)), 1)


def choose_frames(
    times: NDArray[np.float64], wanted: NDArray[np.float64], tolerance: float
) -> NDArray[np.int64]:
    """The frame being shown at each wanted time, without duplicates.

    A frame that appears less than ``tolerance`` after a wanted time counts as shown then: at 23.976 fps the
    frame for 0.5 s appears at 0.5005 s.

    Args:
        times: (N,) increasing seconds at which the source frames appear.
        wanted: (F,) increasing seconds.
        tolerance: seconds, half a source frame (``frame_tolerance``).

    Returns:
        At most F increasing indices into ``times``.
    """
    shown = np.searchsorted(times, wanted + (tolerance - TIE), side="left") - 1
    return np.unique(np.maximum(shown, 0)).astype(np.int64)


def frame_tolerance(times: NDArray[np.float64], info: VideoInfo) -> float:
    """Half a source frame in seconds, at a variable rate half the shortest one.

    Half an average frame would be far too much there: in a recorded screen that stands still for seconds and
    then moves at 30 fps, it takes a frame for shown long before it is.
    """
    half = 0.5 / float(info.fps)
    if info.frame_times is None or len(times) < 2:
        return half
    return min(half, float(np.diff(times).min()) / 2)


def frames_to_sample(
    video: FrameSource, fps: float, start: float = 0.0, end: float | None = None
) -> NDArray[np.int64]:
    """Indices of the frames on screen ``fps`` times a second in [start, end); None is the end of the video.

    Nothing is decoded.

    Raises:
        InputError: a rate that is not positive or over MAX_FPS.
    """
    if not 0 < fps <= MAX_FPS:
        raise InputError(
            f"the sampling rate must be a positive number of frames per second up to {MAX_FPS:.0f}, got {fps}"
        )
    end = video.info.duration if end is None else end
    tolerance = frame_tolerance(video.times, video.info)
    count = _count(start, end, fps)
    if count <= MOST_WANTED:
        return choose_frames(video.times, wanted_times(start, end, fps), tolerance)

    # Pictures that are shown for days: of the wanted times, the first after each frame appears decides.
    before = np.floor((video.times - tolerance - start) * fps)
    near = np.unique(np.clip(before[:, None] + np.arange(-1, 3), 0, count - 1))
    return choose_frames(video.times, start + near / fps, tolerance)


def sample_video(
    source: VideoInput | VideoSource,
    fps: float = 2.0,
    frame_size: Callable[[int, int], tuple[int, int]] | None = None,
    span: TimeSpan | None = None,
    times: Sequence[float] | None = None,
    known: SampledVideo | None = None,
) -> SampledVideo:
    """Frames of a video file (mp4, mkv, webm, mov, gif), a folder of images, a single image, or of memory.

    Args:
        source: path of the file or folder, frames in memory, or any of them opened already.
        fps: frames wanted per second.
        frame_size: maps (width, height) of the source as shown to the (width, height) kept; None keeps it.
        span: only this window, in seconds since the first frame; None samples everything.
        times: one second per image, for a folder without ``times.txt``.
        known: another span of the same video, at the same size: frames that it holds are not decoded again.

    Returns:
        The chosen frames with their real times since the first frame. What could not be read is in ``notes``.

    Raises:
        VideoError: the source cannot be read.
        InputError: a rate that is not positive or over MAX_FPS, or a window outside the video.
    """
    video = source.video if isinstance(source, VideoSource) else open_video(source, times).video

    info = video.info
    start, end = (0.0, info.duration) if span is None else (max(span.start, 0.0), min(span.end, info.duration))
    if start >= info.duration or end < 0:
        asked = f"[{start:.2f}, {end:.2f})" if span is None else f"[{span.start:.2f}, {span.end:.2f})"
        raise InputError(
            f"{info.path}: window {asked} s lies outside the video, which lasts {info.duration:.2f} s"
        )

    chosen = frames_to_sample(video, fps, start, end)
    width, height = (info.width, info.height) if frame_size is None else frame_size(info.width, info.height)

    # One block for all frames: stacking a list at the end would need the memory twice.
    frames = np.empty((len(chosen), height, width, 3), dtype=np.uint8)
    kept: list[int] = []
    there = {} if known is None else {frame: row for row, frame in enumerate(known.source_frames.tolist())}
    wanted = [number for number in chosen.tolist() if number not in there]
    coming = WatchedFrames(video, wanted, some_needed=len(wanted) == len(chosen))
    decoded = iter(coming)
    fresh = next(decoded, None)
    for number in chosen.tolist():
        if known is not None and number in there:
            frames[len(kept)] = known.frames[there[number]]
        elif fresh is not None and fresh[0] == number:
            frames[len(kept)] = resize_frame(fresh[1], width, height)
            fresh = next(decoded, None)
        else:
            continue  # damaged
        kept.append(number)

    notes = (*video.notes, *coming.notes("sampled frames"))
    indices = np.array(kept, dtype=np.int64)
    return SampledVideo(
        info=info,
        frames=frames[: len(kept)],
        times=video.times[indices],
        source_frames=indices,
        sampled_fps=float(fps),
        notes=notes,
    )
