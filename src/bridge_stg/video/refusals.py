"""Why something that was given as a video cannot be read: the true cause, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

from bridge_stg.errors import VideoError
from bridge_stg.video.transport_streams import codecs_in_turn

# "http://..." as a path has lost one of its slashes.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+:/)(?!/)", re.IGNORECASE)
# An encrypted track is called this in the table of an mp4 (ISO/IEC 23001-7), at either end of the file.
_ENCRYPTED = b"encv"
_SEARCHED = 16 << 20


def check_path(path: Path) -> None:
    """Raise VideoError where nothing can be read as a video: an address, a pipe, a missing or empty file."""
    if not path.exists():
        if _ADDRESS.match(str(path)):
            address = _ADDRESS.sub(r"\1/", str(path), count=1)
            raise VideoError(f"{address}: is an address, not a file; download it and give the path of the file")
        raise VideoError(f"{path}: no such file; give the path of a video, an image, or a folder of images")
    if path.is_dir():
        return
    if not path.is_file():
        raise VideoError(f"{path}: is a pipe or a device, which cannot be read twice; write it to a file first")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: file is empty; copy or download it again")


def nothing_decoded(path: Path) -> VideoError:
    """What to say of a video of which none of the wanted frames could be decoded."""
    if path.is_file() and _is_encrypted(path):
        return VideoError(f"{path}: is encrypted; decrypt it first, with the key of whoever published it")
    codecs = codecs_in_turn(path) if path.is_file() else ()
    if len(codecs) > 1:
        return VideoError(
            f"{path}: changes from {codecs[0]} to {codecs[1]} on the way, and only the first part can be read; "
            "cut it there into two files"
        )
    # No program can decode it, so that re-encoding is no way out.
    return VideoError(
        f"{path}: none of the wanted frames can be decoded, the file is damaged; copy or download it again"
    )


def _is_encrypted(path: Path) -> bool:
    size = path.stat().st_size
    with path.open("rb") as file:
        if _ENCRYPTED in file.read(_SEARCHED):
            return True
        file.seek(max(size - _SEARCHED, 0))
        return _ENCRYPTED in file.read(_SEARCHED)
