"""Still images as a video: one image, or a folder of images whose times are given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bridge_stg.errors import VideoError
from bridge_stg.types import VideoInfo
from bridge_stg.video.picture_times import TIMES_FILE, describe_pictures, read_times

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


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
            return to_rgb(ImageOps.exif_transpose(image), str(path))
    except VideoError:
        raise
    except Image.DecompressionBombError as problem:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise VideoError(f"{path}: has more than {most:,} pixels; give a smaller picture") from problem
    except (OSError, ValueError, SyntaxError) as problem:
        raise VideoError(f"{path}: not an image that can be read; remove it or give a JPEG or PNG") from problem


def to_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a picture of any kind; 16-bit grey is scaled, a float picture is in [0, 1].

    Raises:
        VideoError: a picture of numbers that lie elsewhere.
    """
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        top = 1.0 if image.mode == "F" else 65535.0
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
            raise VideoError(
                f"{name}: its values are not within [0, {top:g}], so it is not known what is white; "
                "save it with 8 bits per channel"
            )

        grey = np.rint(values * (255 / top)).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    # A copy: torch warns of arrays that cannot be written to.
    return np.array(image.convert("RGB"))


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order of their names, without files that begin with a dot.

    Such a file is what a Mac keeps beside each picture on foreign disks; it is none.
    """
    files = (file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    return sorted((file for file in files if not file.name.startswith(".")), key=_natural)


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

    Without ``times`` the folder must hold a ``times.txt`` with one second per line.

    Raises:
        VideoError: no images, no times, as many times as images not given, or times that do not increase.
    """
    files = tuple(picture_files(path))
    if not files:
        raise VideoError(f"{path}: folder holds no images; give a video file or a folder of JPEG or PNG images")

    seconds = read_times(path) if times is None else [float(second) for second in times]
    height, width = _load(files[0]).shape[:2]
    info, relative = describe_pictures(str(path), (width, height), len(files), seconds)
    return ImageSequence(info, relative, files)
