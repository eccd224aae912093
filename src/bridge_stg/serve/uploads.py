"""Files that clients send: told by their content, stored under our own names, looked at in another process."""

from __future__ import annotations

import multiprocessing
import secrets
import shutil
import signal
import time
import unicodedata
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pebble import ProcessExpired, ProcessPool

from bridge_stg.errors import VideoError
from bridge_stg.serve.job_store import JobStore, StoredVideo
from bridge_stg.serve.problems import ServiceError
from bridge_stg.serve.settings import Limits

HEAD_BYTES = 12
# Room that must be left on the disk beside the largest upload.
_SPARE_BYTES = 256 * 1024 * 1024
_LONGEST_NAME = 120


def suffix_of(head: bytes) -> str | None:
    """The ending that fits a file's first bytes; None for what is no video, moving image or picture.

    The client's name for the file is never asked: it decides neither how the file is read nor where it lies.

    >>> suffix_of(bytes.fromhex("1a45dfa3") + bytes(8)), suffix_of(b"#EXTM3U\\nfile")
    ('.mkv', None)
    """
    # ISO base media (mp4, mov): a box of a known kind comes first.
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        return ".mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return ".avi"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    starts = {b"\x1a\x45\xdf\xa3": ".mkv", b"GIF8": ".gif", b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}
    return next((suffix for start, suffix in starts.items() if head.startswith(start)), None)


def shown_name(given: str | None) -> str:
    """A client's file name as something to show: its last part, one line, no control characters."""
    last = PurePosixPath((given or "").replace("\\", "/")).name
    plain = "".join(letter for letter in last if unicodedata.category(letter)[0] != "C")
    return plain.strip()[:_LONGEST_NAME] or "video"


def side_pool() -> ProcessPool:
    """One process for work that may crash or hang, and is replaced when it does; Ctrl-C is the server's."""
    context = multiprocessing.get_context("spawn")
    ignore = [signal.SIGINT, signal.SIG_IGN]
    return ProcessPool(max_workers=1, initializer=signal.signal, initargs=ignore, context=context)


class Uploads:
    """The folder of stored videos and the process that looks at new ones."""

    def __init__(self, folder: Path, store: JobStore, limits: Limits) -> None:
        self.folder, self.store, self.limits = folder, store, limits
        folder.mkdir(parents=True, exist_ok=True)
        # A decoder can crash or hang on a hostile file: it does so in there.
        self._pool = side_pool()

        # What a killed server left half received belongs to nobody.
        known = store.video_files()
        for path in folder.iterdir():
            if path.is_file() and path.name not in known:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def path_of(self, video: StoredVideo) -> Path:
        return self.folder / video.file

    def add(self, received: IO[bytes], name: str | None) -> StoredVideo:
        """Store what was received and see that it is a video within the limits.

        Raises:
            ServiceError: 415 another kind of file, 413 too large or long, 422 unreadable, 507 no room.
        """
        head = received.read(HEAD_BYTES)
        received.seek(0)
        suffix = suffix_of(head)
        if suffix is None:
            raise ServiceError(415, "unsupported_media", "not a video: send an mp4, mov, mkv, webm, avi or gif")
        if shutil.disk_usage(self.folder).free < self.limits.upload_bytes + _SPARE_BYTES:
            raise ServiceError(507, "no_room", "no room for uploads on the server's disk; try again later")

        video_id = secrets.token_hex(12)
        path = self.folder / f"{video_id}{suffix}"
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(received, file, 1024 * 1024)
            info = self._probe(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        video = StoredVideo(video_id, shown_name(name), path.name, info, time.time())
        self.store.add_video(video)
        return video

    def remove(self, video: StoredVideo) -> None:
        """Forget a video; its jobs keep their results."""
        self.store.remove_video(video.id)
        self.path_of(video).unlink(missing_ok=True)
        for drawn in self.folder.glob(f"{video.id}-*.mp4"):
            drawn.unlink(missing_ok=True)

    def _probe(self, path: Path) -> dict[str, Any]:
        future = self._pool.schedule(_look_at, args=[str(path)], timeout=self.limits.probe_timeout)
        try:
            info: dict[str, Any] = future.result()
        except VideoError as problem:
            # Its message begins with the name of the file on this machine, which is nobody's business.
            said = str(problem).replace(f"{path}: ", "").replace(str(path), "the file")
            raise ServiceError(422, "unreadable_video", said) from problem
        except FutureTimeout:
            raise ServiceError(422, "unreadable_video", "looking at the file took too long") from None
        except ProcessExpired:
            raise ServiceError(422, "unreadable_video", "the file crashes the decoder; re-encode it") from None

        if info["duration"] > self.limits.video_seconds:
            raise ServiceError(
                413,
                "too_long",
                f"the video lasts {info['duration']:.0f} s, the limit is {self.limits.video_seconds:.0f} s",
            )
        if info["width"] * info["height"] > self.limits.frame_pixels:
            raise ServiceError(413, "too_large", f"frames of {info['width']}x{info['height']} are too large")
        return info


def _look_at(path: str) -> dict[str, Any]:
    """Runs in the other process."""
    from bridge_stg.video.decode import probe

    return probe(path).to_json()
