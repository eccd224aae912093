"""Opening the container of a video file, and choosing what of it is read."""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition
from av.video.stream import VideoStream

from bridge_stg.errors import VideoError


def open_container(path: Path) -> InputContainer:
    """Open for reading, local files only: a playlist named .mp4 must not send the reader to a network.

    Raises:
        VideoError: not a video, a text file, or a bare stream without times.
    """
    try:
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="ignore")
    except av.error.FFmpegError as problem:
        raise VideoError(
            f"{path}: not a video that can be read ({problem.strerror}); "
            "it may be another kind of file or cut short: give an mp4, mkv, webm, mov or gif"
        ) from problem
    except (OSError, ValueError) as problem:
        said = getattr(problem, "strerror", None) or problem
        raise VideoError(f"{path}: cannot be opened ({said})") from problem

    name = container.format.name
    if name == "tty":
        # FFmpeg renders plain text as a terminal recording; nobody means that.
        container.close()
        raise VideoError(f"{path}: is a text file, not a video; give an mp4, mkv, webm, mov or gif")
    # Raw streams say nowhere when a picture is shown, and readers invent 25 per second.
    if Flags.no_timestamps in Flags(container.format.flags) or name.endswith("_pipe"):
        container.close()
        kind = name.removesuffix("_pipe")
        timed = path.with_suffix(".mp4")
        # A bare stream may be called .mp4 already, and the way out must not write over it.
        out = timed.name if timed != path else f"{path.stem}-timed.mp4"
        raise VideoError(
            f"{path}: is a bare {kind} stream, which does not say when its pictures are shown; give it a rate, "
            f"here 25 per second: ffmpeg -r 25 -f {name} -i {path.name} {out}"
        )
    return container


def has_jumps(container: InputContainer) -> bool:
    """Whether the clock of this kind of file may jump (MPEG streams); such files state no length either."""
    return Flags.ts_discont in Flags(container.format.flags)


def moving_pictures(container: InputContainer) -> list[VideoStream]:
    """The video streams, the one to read first; cover art of a music file is not one.

    Of several, the one that the file marks as its default is read, else the first.
    """
    found = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None
    ]
    return sorted(found, key=lambda stream: not stream.disposition & Disposition.default)


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream to read.

    Raises:
        VideoError: there is none.
    """
    streams = moving_pictures(container)
    if not streams:
        raise VideoError(f"{path}: holds no video stream (audio only?); give a file with moving pictures")
    streams[0].thread_type = "AUTO"
    return streams[0]
