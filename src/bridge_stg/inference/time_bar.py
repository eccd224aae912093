"""The time bar: where a second lies on it, and the bar below a drawn frame.

The strips of a report have several rows of their own on the same scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.inference.lettering import BLACK, WHITE, Color, paste, text_tile
from bridge_stg.types import TimeSpan

ACCENT: Color = (255, 176, 0)
TRACK: Color = (150, 150, 150)


@dataclass(frozen=True)
class TimeScale:
    """A bar from column ``left`` to column ``right``, both inclusive, for ``start`` to ``end`` seconds."""

    left: int
    right: int
    start: float
    end: float

    def column(self, second: float) -> int:
        """The column of a second; a second outside the bar is drawn at the bar's end."""
        part = (second - self.start) / max(self.end - self.start, 1e-9)
        return self.left + round(min(max(part, 0.0), 1.0) * (self.right - self.left))

    def columns(self, window: TimeSpan, least: int) -> tuple[int, int]:
        """First and last column of a window, at least ``least`` apart, so that a short window is seen."""
        first, last = self.column(window.start), self.column(window.end)
        return first, max(last, first + least)


def draw_time_bar(
    strip: NDArray[np.uint8], windows: Sequence[TimeSpan], marks: Sequence[float], duration: float, font: int
) -> None:
    """A track along the strip: the windows coloured, and a playhead at each mark (seconds)."""
    strip_height, width = int(strip.shape[0]), int(strip.shape[1])
    margin = font // 2 if width > 8 * font else 0
    left, right = margin, width - 1 - margin
    if strip_height >= 1.5 * font and width > 12 * font:
        # Room for the widest label there will be, so that the track does not move from frame to frame.
        total = f"{duration:.1f} s"
        widest = f"{duration:.1f} / {total}" if len(marks) == 1 else total
        label = text_tile(f"{marks[0]:.1f} / {total}" if len(marks) == 1 else total, font, WHITE)
        paste(strip, label, right - label.shape[1] + 1, (strip_height - label.shape[0]) // 2)
        right -= int(text_tile(widest, font, WHITE).shape[1]) + font // 2

    scale = TimeScale(left, right, 0.0, duration)
    middle, half = strip_height // 2, max(strip_height // 10, 0)
    strip[middle - half : middle + half + 1, left : right + 1] = TRACK
    bulge = max(half + 1, strip_height // 5)
    for window in windows:
        first, last = scale.columns(window, least=1)
        strip[max(middle - bulge, 0) : middle + bulge + 1, first : last + 1] = ACCENT

    reach, thick = max(half + 1, round(0.4 * strip_height)), max(font // 10, 1)
    for mark in marks:
        x = scale.column(mark)
        rows = slice(max(middle - reach, 0), middle + reach + 1)
        strip[rows, max(x - thick, 0) : x + thick + 1] = BLACK
        strip[rows, max(x - thick + 1, 0) : max(x + thick, x + 1)] = WHITE
