"""Boxes as text: what a model writes that answers when and where in the same words (Fig. 3, left)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from bridge_stg.prompting.templates import GRID, box_text
from bridge_stg.types import Box

_NUMBER = r"\s*(\d+(?:\.\d+)?)\s*"
_WRITTEN = re.compile(rf"at{_NUMBER}:?\s*\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")


def boxes_text(boxes: Iterable[tuple[float, Box]]) -> str:
    """A box per frame, in the order of time: seconds of the clip and xyxy in [0, 1].

    >>> boxes_text([(1.0, (0.1, 0.25, 0.5, 1.0)), (1.5, (0.2, 0.25, 0.6, 1.0))])
    'at 1.0: [100, 250, 500, 1000] at 1.5: [200, 250, 600, 1000]'
    """
    return " ".join(f"at {second:.1f}: {box_text(box)}" for second, box in boxes)


def read_boxes(text: str) -> list[tuple[float, Box]]:
    """The boxes in an answer: seconds of the clip and xyxy in [0, 1]; what is no box is left out.

    >>> read_boxes("It starts. at 1.0: [100, 250, 500, 1000] at 1.5: [900, 0, 100, 1000] at 2: [1,")
    [(1.0, (0.1, 0.25, 0.5, 1.0))]
    """
    found = []
    for match in _WRITTEN.finditer(text):
        second, *corners = (float(number) for number in match.groups())
        x1, y1, x2, y2 = (min(corner / GRID, 1.0) for corner in corners)
        if math.isfinite(second) and x1 < x2 and y1 < y2:
            found.append((second, (x1, y1, x2, y2)))
    return found
