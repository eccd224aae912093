"""How stored pictures are meant to be shown: turned, stretched, in which light."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.reformatter import ColorTrc
from numpy.typing import NDArray

HDR = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}


@dataclass(frozen=True)
class Orientation:
    """How stored pixels are turned for display: swap the axes, then flip rows and columns."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) as stored -> (H', W', 3) as shown, contiguous."""
        if self.transpose:
            pixels = pixels.transpose(1, 0, 2)
        rows = slice(None, None, -1 if self.flip_rows else 1)
        columns = slice(None, None, -1 if self.flip_columns else 1)
        return np.ascontiguousarray(pixels[rows, columns])


def orientation_of(frame: av.VideoFrame) -> tuple[Orientation, bool]:
    """What the display matrix asks for, and whether it asks for an angle between the right ones.

    The matrix (ISO/IEC 14496-12, 8.3.2) sends a stored point (x, y) to (a x + c y, b x + d y), y pointing down.
    """
    side = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return Orientation(), False

    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(cast(SideData, side)), dtype=np.int32)[:5])
    odd_angle = min(abs(a), abs(b)) > 0.02 * max(abs(a), abs(b))
    if abs(a) >= abs(b):
        return Orientation(False, flip_rows=d < 0, flip_columns=a < 0), odd_angle
    return Orientation(True, flip_rows=b < 0, flip_columns=c < 0), odd_angle


def pixel_aspect(stored: Fraction | None, turned: bool) -> Fraction:
    """Width of a pixel by its height as shown, of that as stored; 1 where the file does not say."""
    if not stored or stored <= 0:
        return Fraction(1)
    return 1 / Fraction(stored) if turned else Fraction(stored)


def display_notes(frame: av.VideoFrame, aspect: Fraction, tracks: int, has_alpha_track: bool) -> list[str]:
    """What a person should know of how the file is meant to be shown, of its first frame."""
    notes = []
    if aspect != 1:
        notes.append(
            f"its pixels are shown {aspect.numerator}:{aspect.denominator} wide; boxes and sizes are in stored "
            "pixels, and an annotated video is shown as wide as the source"
        )

    # Light, fields and transparency.
    if (light := HDR.get(int(frame.color_trc or 0))) is not None:
        notes.append(f"the video is HDR ({light}); it is read without tone mapping and looks paler than shown")
    if frame.interlaced_frame:
        notes.append("the video is interlaced; it is read as it is stored, with both fields in a frame")
    if has_alpha_track or _is_transparent(frame):
        notes.append("the video is partly transparent; it is read as if it were opaque")

    if tracks > 1:
        notes.append(f"the file holds {tracks} video tracks; the default one is read")
    return notes


def _is_transparent(frame: av.VideoFrame) -> bool:
    """Whether anything can be seen through it; most frames that could be transparent are not."""
    if not any(component.is_alpha for component in frame.format.components):
        return False
    return bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)
