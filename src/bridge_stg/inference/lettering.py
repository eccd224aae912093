"""Letters on pictures: lines of text as tiles, wrapped to a width, blended onto a frame.

The font is the one that ships with Pillow (Latin letters); letters it lacks appear as empty squares.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)
KEPT_LIGHT = 97  # of 256: how bright the picture stays behind text
MAX_LINES = 2


def darken(region: NDArray[np.uint8]) -> None:
    """Darken a part of a picture in place, so that white letters can be read on it."""
    region[:] = (region.astype(np.uint16) * KEPT_LIGHT) >> 8


def paste(canvas: NDArray[np.uint8], tile: NDArray[np.float32], x: int, y: int) -> None:
    """Blend an (h, w, 4) tile (RGB, then opacity in [0, 1]) with its corner at x, y; what sticks out is cut."""
    height, width = canvas.shape[:2]
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + tile.shape[0], height), min(x + tile.shape[1], width)
    if bottom <= top or right <= left:
        return
    part = tile[top - y : bottom - y, left - x : right - x]
    region = canvas[top:bottom, left:right]
    region[:] = (region * (1 - part[..., 3:]) + part[..., :3] * part[..., 3:] + 0.5).astype(np.uint8)


@lru_cache(maxsize=8)
def load_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font at ``size`` pixels."""
    return ImageFont.load_default(size)


def line_height(font: int) -> int:
    """Pixels from one line of text to the next."""
    return round(1.3 * font)


@lru_cache(maxsize=64)
def text_tile(text: str, font: int, color: Color, background: Color | None = None) -> NDArray[np.float32]:
    """One line of text as an (h, w, 4) tile, h one line height."""
    pad = font // 4 if background is not None else 0
    width = max(round(load_font(font).getlength(text)), 1) + 2 * pad
    mask = Image.new("L", (width, line_height(font)))
    # Anchored at the baseline, so that letters with and without tails line up.
    ImageDraw.Draw(mask).text((pad, font), text, fill=255, font=load_font(font), anchor="ls")
    ink = np.asarray(mask, dtype=np.float32)[..., None] / 255
    if background is None:
        solid = np.full((*ink.shape[:2], 3), color, np.float32)
        return np.concatenate([solid, ink], axis=2)
    blended = np.array(color, np.float32) * ink + np.array(background, np.float32) * (1 - ink)
    return np.concatenate([blended, np.ones_like(ink)], axis=2)


@lru_cache(maxsize=64)
def wrap(text: str, font: int, width: int) -> tuple[str, ...]:
    """At most ``MAX_LINES`` lines no wider than ``width`` pixels; what does not fit ends in an ellipsis."""
    # A line of n pixels never holds more than n letters; longer text need not be measured.
    words = " ".join(text.split())[: MAX_LINES * max(width, 1) + 1].split(" ")
    lines: list[str] = []
    while words and len(lines) < MAX_LINES:
        taken = _longest(words, font, width)
        if taken == 0:
            # A word wider than the line (or a script without spaces) breaks where it must.
            letters = max(_longest(list(words[0]), font, width, ""), 1)
            lines.append(words[0][:letters])
            words[0] = words[0][letters:]
            words = words if words[0] else words[1:]
        else:
            lines.append(" ".join(words[:taken]))
            words = words[taken:]
    if words:
        last = lines[-1]
        while last and load_font(font).getlength(last + "...") > width:
            last = last[:-1]
        lines[-1] = last.rstrip() + "..."
    return tuple(lines)


def _longest(pieces: list[str], font: int, width: int, joint: str = " ") -> int:
    """How many leading pieces fit on a line."""
    count = 0
    while count < len(pieces) and load_font(font).getlength(joint.join(pieces[: count + 1])) <= width:
        count += 1
    return count
