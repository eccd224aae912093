"""Windows in seconds, and how long each frame of a video is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

# No video is longer; beyond it sums of seconds lose their meaning.
MOST_SECONDS = 10**9
# No container counts in smaller parts of a second; and so many of them still fit 64 bits.
FINEST_UNIT = Fraction(1, 2**32)


def interval_iou(first: tuple[float, float], second: tuple[float, float]) -> float:
    """IoU of two half-open intervals, in whatever unit they share (Eq. 10 for one query).

    Intervals that only touch share nothing, and an empty interval overlaps nothing.

    >>> interval_iou((0, 4), (2, 6))
    0.3333333333333333
    >>> interval_iou((0, 4), (4, 6))
    0.0
    """
    overlap = min(first[1], second[1]) - max(first[0], second[0])
    if overlap <= 0:
        return 0.0
    # Overlapping intervals fill their hull. The benchmarks' evaluators divide by it; the sum of lengths minus
    # the overlap is the same number but rounds more often, and [1.5, 12.9), [1.5, 7.2) would miss the threshold
    # 0.5.
    return overlap / (max(first[1], second[1]) - min(first[0], second[0]))


@dataclass(frozen=True)
class TimeSpan:
    """A half-open window ``[start, end)`` in seconds.

    Examples:
        >>> TimeSpan(2.0, 4.5).length
        2.5
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise ValueError(f"a window needs finite seconds, got [{self.start}, {self.end})")
        if self.end < self.start:
            raise ValueError(f"a window cannot end before it starts, got [{self.start}, {self.end})")

    @property
    def length(self) -> float:
        return self.end - self.start

    def cut_to(self, extent: TimeSpan) -> TimeSpan | None:
        """The part of the window inside ``extent``; None if none of it is.

        Examples:
            >>> TimeSpan(-1.0, 4.0).cut_to(TimeSpan(0.0, 3.0))
            TimeSpan(start=0.0, end=3.0)
            >>> TimeSpan(1.0, 1.0).cut_to(TimeSpan(0.0, 3.0)) is None
            True
        """
        start, end = max(self.start, extent.start), min(self.end, extent.end)
        return TimeSpan(start, end) if end > start else None

    def tiou(self, other: TimeSpan) -> float:
        """Temporal IoU: the time both share by the time that is in either (Eq. 10 for one query).

        Windows that only touch share nothing, and an empty one overlaps nothing.

        Examples:
            >>> TimeSpan(0.0, 3.0).tiou(TimeSpan(1.0, 4.0))
            0.5
            >>> TimeSpan(1.5, 12.9).tiou(TimeSpan(1.5, 7.2))
            0.5
        """
        return interval_iou((self.start, self.end), (other.start, other.end))

    def shifted(self, seconds: float) -> TimeSpan:
        """The same window ``seconds`` later.

        Examples:
            >>> TimeSpan(1.0, 2.0).shifted(0.5)
            TimeSpan(start=1.5, end=2.5)
        """
        return TimeSpan(self.start + seconds, self.end + seconds)


@dataclass(frozen=True)
class FrameTimes:
    """How long each frame of a video is shown, as runs of equally long ones.

    ``runs`` holds ``(frames, ticks)``: so many frames, each shown for so many ticks of ``unit`` seconds. It is
    the form of the time-to-sample table of an mp4 (ISO/IEC 14496-12, 8.6.1.2).

    Examples:
        >>> FrameTimes.from_stamps(np.array([0, 3, 6, 15, 24]), Fraction(1, 90), last=9)
        FrameTimes(unit=Fraction(1, 90), runs=((2, 3), (3, 9)))
    """

    unit: Fraction
    runs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not FINEST_UNIT <= self.unit <= MOST_SECONDS:
            raise ValueError(f"the unit of frame times must be positive seconds, got {self.unit}")
        if not self.runs or min(min(run) for run in self.runs) < 1:
            raise ValueError("frame times need runs of at least one frame and one tick")
        if sum(count * ticks for count, ticks in self.runs) * self.unit > MOST_SECONDS:
            raise ValueError(f"frame times can reach {MOST_SECONDS:g} s at most")

    @classmethod
    def from_stamps(cls, stamps: NDArray[np.int64], unit: Fraction, last: int) -> FrameTimes:
        """Of frames that appear at ``stamps`` (N,), increasing, in ``unit`` seconds; the last for ``last``."""
        ticks = np.append(np.diff(stamps), last)
        first = np.flatnonzero(np.append(True, ticks[1:] != ticks[:-1]))
        counts = np.diff(np.append(first, len(ticks)))
        return cls(unit, tuple(zip(counts.tolist(), ticks[first].tolist(), strict=True)))

    @classmethod
    def from_json(cls, value: Any) -> FrameTimes:
        """What ``to_json`` gives; ValueError if it is malformed."""
        if not isinstance(value, dict) or set(value) != {"unit", "runs"} or not isinstance(value["unit"], str):
            raise ValueError("frame_times must be an object of unit and runs")
        runs = value["runs"]
        if not isinstance(runs, list) or not all(_is_run(run) for run in runs):
            raise ValueError("frame_times.runs must be pairs of whole numbers, frames and ticks")
        try:
            unit = Fraction(value["unit"])
        except (ValueError, ZeroDivisionError) as problem:
            raise ValueError("frame_times.unit must be a fraction of a second such as 1/90000") from problem
        return cls(unit, tuple((count, ticks) for count, ticks in runs))

    @property
    def frames(self) -> int:
        return sum(count for count, _ in self.runs)

    def to_json(self) -> dict[str, Any]:
        return {"unit": str(self.unit), "runs": [list(run) for run in self.runs]}


def _is_run(run: object) -> bool:
    return isinstance(run, list) and len(run) == 2 and all(type(number) is int for number in run)
