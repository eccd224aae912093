"""When each frame of a video is shown: the one place that converts between seconds and source frames.

At a constant rate frame ``f`` is shown during ``[f / rate, (f + 1) / rate)``. At a variable rate the frames'
own times count, which a record and a file's description carry as :class:`bridge_stg.types.FrameTimes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge_stg.types import FrameTimes, SampledVideo, TimeSpan, VideoInfo

# Seconds that decide a tie: what times with three digits may be off by.
TIE = 5e-4


@dataclass(frozen=True)
class VideoClock:
    """The clock of one video of ``frames`` source frames.

    ``rate`` is frames per second, the average at a variable rate. ``frame_times`` is None at a constant rate.

    >>> VideoClock(30, 90).span(30, 45)
    TimeSpan(start=1.0, end=1.5)
    >>> slow_end = FrameTimes(Fraction(1, 10), ((10, 1), (5, 20)))  # ten frames in 1 s, then one every 2 s
    >>> VideoClock(Fraction(15, 11), 15, slow_end).span(5, 11)
    TimeSpan(start=0.5, end=3.0)
    """

    rate: Fraction | float
    frames: int
    frame_times: FrameTimes | None = None

    @property
    def duration(self) -> float:
        """The second at which the last frame is gone."""
        return self.time(self.frames)

    @property
    def times(self) -> NDArray[np.float64]:
        """The second at which each frame appears. Shape (frames,)."""
        return self.seconds(np.arange(self.frames))

    def time(self, frame: int) -> float:
        """The second at which source frame ``frame`` appears; for ``frames``, at which the last one is gone."""
        return float(self.seconds(frame))

    def seconds(self, frames: ArrayLike) -> NDArray[np.float64]:
        """The seconds at which source frames (any shape) appear."""
        numbers = np.asarray(frames, dtype=np.int64)
        if self.frame_times is None:
            if isinstance(self.rate, Fraction):
                return np.asarray(numbers * self.rate.denominator / self.rate.numerator)
            return np.asarray(numbers / self.rate)

        # The run of each frame, and how far into it the frame is.
        first, start, ticks = self._runs
        run = (np.searchsorted(first, numbers, side="right") - 1).clip(0, len(ticks) - 1)
        stamps = start[run] + (numbers - first[run]) * ticks[run]
        return np.asarray(stamps.astype(np.float64) * float(self.frame_times.unit))

    def shown(self, frames: ArrayLike) -> NDArray[np.float64]:
        """For how many seconds source frames (any shape) are on screen."""
        numbers = np.asarray(frames, dtype=np.int64)
        if self.frame_times is None:
            return np.full(numbers.shape, float(1 / self.rate))
        return np.asarray(self.seconds(numbers + 1) - self.seconds(numbers))

    def position(self, times: ArrayLike) -> NDArray[np.float64]:
        """Seconds (any shape) as source frames with their fraction: 2.5 is half way from frame 2 to frame 3.

        Beyond the end of the video frames are counted at the average rate.
        """
        seconds = np.asarray(times, dtype=np.float64)
        if self.frame_times is None:
            return np.asarray(seconds * float(self.rate))

        # The run that is on screen then, and how many of its frames have gone by.
        first, start, ticks = self._runs
        stamps = seconds / float(self.frame_times.unit)
        run = (np.searchsorted(start, stamps, side="right") - 1).clip(0, len(ticks) - 1)
        inside = first[run] + (stamps - start[run]) / ticks[run]

        beyond = self.frames + (seconds - self.duration) * float(self.rate)
        return np.where(seconds > self.duration, beyond, inside)

    def nearest(self, times: ArrayLike) -> NDArray[np.int64]:
        """The source frames that appear nearest to seconds (any shape), clamped to the video.

        >>> int(VideoClock(30, 300).nearest(0.51))
        15
        """
        return np.rint(self.position(times)).clip(0, self.frames - 1).astype(np.int64)

    def span(self, start: int, end: int) -> TimeSpan:
        """Half-open source frames ``[start, end)`` as seconds."""
        return TimeSpan(self.time(start), self.time(end))

    def frames_in(self, span: TimeSpan) -> tuple[int, int]:
        """Seconds as half-open source frames, each end rounded to the nearest frame boundary; not clamped.

        At a variable rate an end half way between two boundaries goes outward: shortly after the begin of a
        frame that is shown for long, it is often meant to hold it.

        >>> VideoClock(30, 300).frames_in(TimeSpan(2.0, 4.02))
        (60, 121)
        """
        slack = 0.0
        if self.frame_times is not None:
            slack = min(
                TIE, float(min(ticks for _, ticks in self.frame_times.runs) * self.frame_times.unit) / 10
            )
        start, end = np.rint(self.position([span.start - slack, span.end + slack])).tolist()
        return int(start), int(end)

    def steady(self, frames: ArrayLike) -> NDArray[np.float64]:
        """Where source frames (any shape) lie on an axis on which steady motion is linear.

        At a constant rate these are their numbers, so that no rounding of seconds enters; else their seconds.
        """
        if self.frame_times is None:
            return np.asarray(frames, dtype=np.float64)
        return self.seconds(frames)

    def furthest(self, other: VideoClock) -> float:
        """The most seconds by which the two put a frame, or its end, of the shorter one at another time."""
        numbers = np.arange(min(self.frames, other.frames) + 1)
        return float(np.abs(self.seconds(numbers) - other.seconds(numbers)).max())

    @cached_property
    def _runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Per run its first frame and its first stamp (R,), and the stamps that each of its frames is shown."""
        assert self.frame_times is not None
        counts, ticks = np.array(self.frame_times.runs, dtype=np.int64).T
        ends, stamps = np.cumsum(counts), np.cumsum(counts * ticks)
        return ends - counts, stamps - counts * ticks, ticks


def clock_of(info: VideoInfo) -> VideoClock:
    """The clock of a video file, of what its description says."""
    return VideoClock(info.fps, info.frames, info.frame_times)


def shown_for(sampled: SampledVideo) -> NDArray[np.float64]:
    """For how many seconds the source shows each sampled frame. Shape (F,)."""
    return clock_of(sampled.info).shown(sampled.source_frames)
