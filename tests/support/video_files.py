"""Writes the videos of these tests. Each frame carries its own number in its pixels, as eight stripes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from bridge_stg.types import SampledVideo

STRIPES = 8


def numbered_frame(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """(H, W, 3) grey stripes from left to right: bit k of ``number`` is bright or dark in stripe k."""
    bits = np.array([(number >> bit) & 1 for bit in range(STRIPES)])
    columns = bits[np.arange(width) * STRIPES // width]
    row = np.where(columns == 1, 220, 36).astype(np.uint8)
    return np.repeat(np.tile(row, (height, 1))[:, :, None], 3, axis=2)


def number_in(frame: NDArray[np.uint8]) -> int:
    """The number that a frame carries; asserts that its stripes are unmistakable."""
    width = frame.shape[1]
    value = 0
    for bit in range(STRIPES):
        low, high = -(-bit * width // STRIPES), -(-(bit + 1) * width // STRIPES)
        inner = frame[:, low:high].astype(float).mean()
        assert inner < 80 or inner > 176, f"stripe {bit} is neither dark nor bright: {inner}"
        value |= int(inner > 128) << bit
    return value


def numbers(sampled: SampledVideo) -> list[int]:
    """The numbers that the frames of a video carry."""
    return [number_in(frame) for frame in sampled.frames]


def write_file(
    path: Path,
    codec: str = "libx264",
    stamps: Sequence[int] = tuple(range(20)),
    time_base: Fraction = Fraction(1, 30),
    rate: Fraction = Fraction(30),
    size: tuple[int, int] = (64, 48),
    pixel_format: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    turn: int = 0,
) -> Path:
    """Frames 0, 1, ... at ``stamps`` (units of ``time_base``).

    ``turn``: degrees counterclockwise that a player must turn the stored pixels; they are stored turned back.
    """
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.pix_fmt = pixel_format
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.time_base = stream.codec_context.time_base = time_base
        stored = np.rot90(numbered_frame(0, *size), -turn // 90)
        stream.height, stream.width = stored.shape[:2]
        if turn:
            stream.set_display_rotation(turn)
        for number, stamp in enumerate(stamps):
            pixels = np.ascontiguousarray(np.rot90(numbered_frame(number, *size), -turn // 90))
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decode_everything(path: Path) -> tuple[list[Fraction], list[NDArray[np.uint8]]]:
    """Every frame from the first to the last, the plain way: (seconds since the first frame, stored pixels)."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        times = [frame.pts * stream.time_base for frame in frames]
        return [time - times[0] for time in times], [frame.to_ndarray(format="rgb24") for frame in frames]
