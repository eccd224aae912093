"""The times of pictures, which have none of their own: read, checked, and as the rate of a video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import VideoError
from bridge_stg.types import MOST_SECONDS, FrameTimes, VideoInfo

TIMES_FILE = "times.txt"
# Uneven times are kept in microseconds where they travel with a description.
UNIT = Fraction(1, 10**6)
# Seconds by which times that were written with few digits may miss the end of a whole rate.
ROUNDING = Fraction(1, 1000)


def read_times(folder: Path) -> list[float]:
    """The seconds in the ``times.txt`` of a folder, one per line.

    Raises:
        VideoError: there is none, or it holds something else.
    """
    file = folder / TIMES_FILE
    if not file.is_file():
        raise VideoError(
            f"{folder}: a folder of images needs times; give them or write {TIMES_FILE} (a second per line)"
        )
    try:
        # Some editors begin a file with a mark that says it is UTF-8.
        return [float(line) for line in file.read_text(encoding="utf-8-sig").split()]
    except (OSError, ValueError) as problem:
        raise VideoError(f"{file}: must hold one number of seconds per line ({problem})") from problem


def describe_pictures(
    name: str, size: tuple[int, int], count: int, seconds: Sequence[float]
) -> tuple[VideoInfo, NDArray[np.float64]]:
    """What ``count`` pictures shown at ``seconds`` are as a video, and their times since the first one (N,).

    The rate is exact when the times are evenly spaced and the average otherwise; the last picture is shown for
    one average step.

    Args:
        name: what they are called in messages, a path where there is one.
        size: (width, height).

    Raises:
        VideoError: as many times as pictures are not given, they do not increase, or no video has such times.
    """
    if len(seconds) != count:
        raise VideoError(f"{name}: {count} images need {count} times, got {len(seconds)}")
    increasing = all(one < later for one, later in pairwise(seconds))
    if not increasing or not all(math.isfinite(second) for second in seconds):
        raise VideoError(f"{name}: times must be finite seconds that increase from image to image")

    # Until the end of the last picture. Python's floats become infinite where they are too large.
    length = (float(seconds[-1]) - float(seconds[0])) * count / max(count - 1, 1)
    if length >= MOST_SECONDS:
        raise VideoError(f"{name}: times span {length:.3g} s, and no video is longer than {MOST_SECONDS:g} s")

    relative = np.array(seconds, dtype=np.float64) - seconds[0]
    stamps = np.rint(relative / float(UNIT)).astype(np.int64)
    if (np.diff(stamps) <= 0).any():
        raise VideoError(f"{name}: times must be at least {float(UNIT):g} s apart")

    rate, even = _rate(seconds)
    frame_times = None if even else FrameTimes.from_stamps(stamps, UNIT, round(1 / rate / UNIT))
    duration = float(relative[-1]) + float(1 / rate)
    return VideoInfo(name, *size, rate, duration, count, seconds[0], frame_times), relative


def _rate(seconds: Sequence[float]) -> tuple[Fraction, bool]:
    """Pictures per second, and whether they are evenly spaced (within a tenth of a step)."""
    if len(seconds) == 1:
        return Fraction(1), True

    # The shortest decimal of a float is what the person wrote: 0.04 means 1/25, not the nearest binary number.
    length = Fraction(repr(seconds[-1])) - Fraction(repr(seconds[0]))
    average = _handy((len(seconds) - 1) / length)
    grid = seconds[0] + np.arange(len(seconds)) / float(average)
    if np.abs(grid - seconds).max() > 0.1 / float(average):
        return average, False

    # Times written with few digits still mean a whole rate: steps of 0.033 s are 30 per second.
    whole = Fraction(max(round(average), 1))
    return (whole if abs((len(seconds) - 1) / whole - length) < ROUNDING else average), True


def _handy(rate: Fraction) -> Fraction:
    """The nearest rate that a container can store: times with 16 digits make a fraction of 30.

    It is exact to about one in a million, and neither of its numbers is much larger than that.
    """
    if rate < 1:
        return 1 / _handy(1 / rate)
    return rate.limit_denominator(max(10**6 // math.ceil(rate), 1))
