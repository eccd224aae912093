"""Write frames to an mp4 that plays in a browser."""

from __future__ import annotations

import math
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.codec.context import Flags as CodecFlags
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from bridge_stg.errors import InputError, unwritable

# Ticks per second, if there is room: fine enough to keep variable frame times within 12 microseconds.
MIN_TIMESCALE = 90_000
# What an mp4 has room for: ticks per second, and ticks that one frame is shown for.
MAX_TICKS = 2**31 - 1


class VideoWriter:
    """An H.264 mp4, one frame at a time; it appears under its name only when it is complete.

    H.264 in the 4:2:0 form that browsers play needs even sizes: an odd width or height is padded by one pixel,
    a copy of the last column or row. Audio is not written. Use it as a context manager: leaving it with an
    exception removes the unfinished file.

    Args:
        path: ends in ``.mp4``; missing folders are made.
        width, height: pixels of the frames to come.
        fps: exact frames per second; for a variable rate, the average.
        longest: seconds that no frame is shown longer than, if some are shown longer than ``1 / fps``.
        pixel_aspect: width of a pixel by its height, which players then stretch.
        reproducible: the same frames give the same bytes, for some more time and larger files.

    Raises:
        InputError: the path is not an .mp4 or cannot be written, or no mp4 has room for the rate.
    """

    def __init__(
        self,
        path: str | Path,
        width: int,
        height: int,
        fps: Fraction,
        longest: float = 0.0,
        reproducible: bool = False,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        self.path = Path(path)
        self.width, self.height, self.fps = width, height, Fraction(fps)
        if self.path.suffix.lower() != ".mp4":
            raise InputError(f"{self.path}: the annotated video is an mp4; give a name that ends in .mp4")
        self._partial = self.path.with_name(f".{self.path.stem}.{os.getpid()}.partial.mp4")

        # A whole number of ticks per frame keeps rates such as 24000/1001 exact.
        # The encoder holds up to three frames back, and their times are stored as distances too.
        shown = max(math.ceil(4 * longest * self.fps.numerator), self.fps.denominator)
        finest = MAX_TICKS // max(self.fps.numerator, shown)
        if not finest:
            raise InputError(
                f"{self.path}: an mp4 has no room for {self.fps} frames per second that are shown for up to "
                f"{max(longest, float(1 / self.fps)):.6g} s; give other times"
            )
        multiple = min(-(-MIN_TIMESCALE // self.fps.numerator), finest)
        self._timescale = self.fps.numerator * multiple
        self._frame_ticks = self.fps.denominator * multiple
        self._last = -1

        # The unfinished file, under another name.
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._partial.touch()
        except OSError as problem:
            raise unwritable(self.path, problem, "give a folder you can write to") from problem
        self._container = av.open(
            f"file:{self._partial}", "w", format="mp4", options={"movflags": "+faststart"}
        )

        # What browsers play.
        options = {"crf": "20", "preset": "veryfast"}
        if reproducible:
            # The encoder's look ahead gave other bytes in some of many runs, even with one thread.
            options |= {"bf": "0", "mbtree": "0", "rc-lookahead": "0"}
        self._stream = self._container.add_stream("libx264", rate=self.fps, options=options)
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = Fraction(1, self._timescale)
        context = self._stream.codec_context
        context.time_base = Fraction(1, self._timescale)
        context.flags |= CodecFlags.frame_duration
        if pixel_aspect != 1:
            context.sample_aspect_ratio = self._stream.sample_aspect_ratio = pixel_aspect
        if reproducible:
            context.thread_count = 1

        # Untagged HD video is read as BT.709 and small video as BT.601 by different players: say which it is.
        context.colorspace = Colorspace.ITU709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        context.color_range = ColorRange.MPEG

    def write(self, frame: NDArray[np.uint8], time: float | None = None, duration: float | None = None) -> None:
        """Append (height, width, 3) uint8 RGB shown at ``time`` seconds; None is one frame after the last one.

        ``duration`` in seconds matters for the last frame only and defaults to ``1 / fps``.
        """
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"frames must be ({self.height}, {self.width}, 3) uint8, got {frame.shape} {frame.dtype}"
            )
        if self.width % 2 or self.height % 2:
            frame = np.pad(frame, ((0, self.height % 2), (0, self.width % 2), (0, 0)), mode="edge")

        # When it is shown.
        next_tick = 0 if self._last < 0 else self._last + self._frame_ticks
        tick = next_tick if time is None else round(time * self._timescale)
        if tick <= self._last:
            raise ValueError(f"frame times must increase, got {time} s")
        self._last = tick

        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        picture.pts = tick
        picture.time_base = Fraction(1, self._timescale)
        picture.duration = self._frame_ticks if duration is None else max(round(duration * self._timescale), 1)
        self._container.mux(self._stream.encode(picture))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if kind is None:
                os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)
