"""Still images as a video: one image, or a folder of images whose times are given."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bridge_stg.errors import VideoError
from bridge_stg.types import FrameTimes, VideoInfo

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
TIMES_FILE = "times.txt"
# Uneven times are kept in microseconds where they travel with a description.
PICTURE_UNIT = Fraction(1, 10**6)


@dataclass(frozen=True)
class ImageSequence:
    """Images in the order they are shown; ``times`` is (N,) float64 seconds since the first one."""

    info: VideoInfo
    times: NDArray[np.float64]
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(index, (H, W, 3) uint8 RGB) of each wanted image, one in memory at a time.

        Raises:
            VideoError: an image cannot be decoded or has another size than the first one.
        """
        for number in wanted:
            image = _load(self.files[number])
            height, width = image.shape[:2]
            if (width, height) != (self.info.width, self.info.height):
                raise VideoError(
                    f"{self.files[number]}: is {width}x{height} but the first image is "
                    f"{self.info.width}x{self.info.height}; give images of one size"
                )
            yield number, image


def _load(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            if _moves(image):
                raise VideoError(
                    f"{path}: holds {_count(image)} pictures, not one, and cannot be read as a video; "
                    f"save them as an mp4 or gif, or as a folder of images with {TIMES_FILE}"
                )
            # Cameras store the rotation in EXIF, as phones store it in a video's display matrix.
            # A copy: torch warns of arrays that cannot be written to.
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except VideoError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise VideoError(f"{path}: not an image that can be read; remove it or give a JPEG or PNG") from problem


def _count(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1))


def _moves(image: Image.Image) -> bool:
    """More than one picture; the second one that some cameras put into a JPEG (MPO) is the same moment."""
    return _count(image) > 1 and image.format != "MPO"


def pictures(path: Path) -> int:
    """How many pictures an image file holds: more than one in an animated WebP or PNG, or a multi-page TIFF."""
    try:
        with Image.open(path) as image:
            return _count(image) if _moves(image) else 1
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 1  # whoever reads it says what is wrong with it


def is_still_image(path: Path) -> bool:
    """A file with the name of an image that holds one picture."""
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and pictures(path) == 1


def _natural(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sort key under which frame_2 comes before frame_10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def open_image(path: Path) -> ImageSequence:
    """A single image: one frame at 0.0 s; rate and duration are 1 by definition."""
    height, width = _load(path).shape[:2]
    info = VideoInfo(str(path), width, height, Fraction(1), 1.0, 1)
    return ImageSequence(info, np.zeros(1), (path,))


def open_folder(path: Path, times: Sequence[float] | None) -> ImageSequence:
    """The images of a folder in natural order of their names, shown at ``times`` seconds.

    Without ``times`` the folder must hold a ``times.txt`` with one second per line. The rate is exact when the
    times are evenly spaced and the average otherwise; the last image is shown for one average step.

    Raises:
        VideoError: no images, no times, as many times as images not given, or times that do not increase.
    """
    files = tuple(sorted((f for f in path.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES), key=_natural))
    if not files:
        raise VideoError(f"{path}: folder holds no images; give a video file or a folder of JPEG or PNG images")
    seconds = _read_times(path) if times is None else [float(second) for second in times]
    if len(seconds) != len(files):
        raise VideoError(f"{path}: {len(files)} images need {len(files)} times, got {len(seconds)}")
    if not all(math.isfinite(second) for second in seconds) or (np.diff(seconds) <= 0).any():
        raise VideoError(f"{path}: times must be finite seconds that increase from image to image")
    height, width = _load(files[0]).shape[:2]
    relative = np.array(seconds, dtype=np.float64) - seconds[0]
    rate, even = _rate(seconds)
    duration = float(relative[-1]) + float(1 / rate)
    frame_times = None
    if not even:
        stamps = np.rint(relative / float(PICTURE_UNIT)).astype(np.int64)
        if (np.diff(stamps) <= 0).any():
            raise VideoError(f"{path}: times must be at least {float(PICTURE_UNIT):g} s apart")
        frame_times = FrameTimes.from_stamps(stamps, PICTURE_UNIT, round(1 / rate / PICTURE_UNIT))
    info = VideoInfo(str(path), width, height, rate, duration, len(files), seconds[0], frame_times)
    return ImageSequence(info, relative, files)


def _read_times(path: Path) -> list[float]:
    file = path / TIMES_FILE
    if not file.is_file():
        raise VideoError(
            f"{path}: a folder of images needs times; give them or write {TIMES_FILE} with one second per line"
        )
    try:
        return [float(line) for line in file.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as problem:
        raise VideoError(f"{file}: must hold one number of seconds per line ({problem})") from problem


def _handy(rate: Fraction) -> Fraction:
    """The nearest rate that a container can store: times with 16 digits make a fraction of 30.

    It is exact to about one in a million, and neither of its numbers is much larger than that.
    """
    if rate < 1:
        return 1 / _handy(1 / rate)
    return rate.limit_denominator(max(10**6 // math.ceil(rate), 1))


def _rate(seconds: list[float]) -> tuple[Fraction, bool]:
    """Images per second, and whether the images are evenly spaced (within a tenth of a step)."""
    if len(seconds) == 1:
        return Fraction(1), True
    # The shortest decimal of a float is what the person wrote: 0.04 means 1/25, not the nearest binary number.
    length = Fraction(repr(seconds[-1])) - Fraction(repr(seconds[0]))
    average = _handy((len(seconds) - 1) / length)
    grid = seconds[0] + np.arange(len(seconds)) / float(average)
    even = bool(np.abs(grid - seconds).max() <= 0.1 / float(average))
    if not even:
        return average, False
    # Times written with few digits still name a usual rate: steps of 0.0334 s are 30000/1001, not 29.94.
    usual = (Fraction(max(round(average), 1)), Fraction(max(round(average * 1001 / 1000), 1) * 1000, 1001))
    near = min(usual, key=lambda rate: abs((len(seconds) - 1) / rate - length))
    return (near if abs((len(seconds) - 1) / near - length) < Fraction(1, 1000) else average), True
