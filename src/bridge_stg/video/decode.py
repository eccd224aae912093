"""Where every frame of a video file is, and the pixels of the frames that are wanted.

A file is read in two passes. The first demuxes it (``packets.py``) and learns the exact time of every frame.
The second decodes, for each wanted frame, from the keyframe before it up to the packet that carries it, and
converts only the wanted frames to RGB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.stream import VideoStream
from numpy.typing import NDArray

from bridge_stg.errors import VideoError
from bridge_stg.types import FrameTimes, VideoInfo
from bridge_stg.video.images import (
    IMAGE_SUFFIXES,
    ImageSequence,
    is_still_image,
    open_folder,
    open_image,
    pictures,
)
from bridge_stg.video.memory import FramesInMemory
from bridge_stg.video.packets import PacketTable, frame_rate, header_length, scan_packets

# Cut-off files are told by a missing end; a container may round its own length by up to one frame.
LENGTH_SLACK_FRAMES = 1.5


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


@dataclass(frozen=True)
class VideoFile:
    """A video file whose frames can be read by index.

    ``times`` is (N,) float64 seconds since the first frame. Where ``info.frame_times`` is None, frame ``i`` is
    shown at ``i / fps`` as exactly as the container can store it.
    """

    info: VideoInfo
    times: NDArray[np.float64]
    packets: PacketTable
    orientation: Orientation
    notes: tuple[str, ...] = ()

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(index, (H, W, 3) uint8 RGB as shown) of the wanted frames, one in memory at a time.

        A damaged frame is left out; callers compare what came with what they wanted.

        Args:
            wanted: increasing frame indices.

        Raises:
            VideoError: a frame has another size than the first one.
        """
        stored = (self.info.width, self.info.height)
        if self.orientation.transpose:
            stored = stored[::-1]
        for number, frame in _decode(Path(self.info.path), self.packets, wanted):
            if (frame.width, frame.height) != stored:
                raise VideoError(
                    f"{self.info.path}: its frames change from {stored[0]}x{stored[1]} to "
                    f"{frame.width}x{frame.height} at {self.times[number]:.2f} s; re-encode it at one size"
                )
            yield number, self.orientation.apply(np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8))


Source = VideoFile | ImageSequence | FramesInMemory


def open_source(source: str | Path | FramesInMemory, times: Sequence[float] | None = None) -> Source:
    """Open a video file, a folder of images (``times`` in seconds, or its ``times.txt``), or a single image.

    Frames in memory are open already.

    Raises:
        VideoError: missing, empty, not a video, without video frames, or without a known frame rate.
    """
    if isinstance(source, FramesInMemory):
        if times is not None:
            raise VideoError("frames in memory have their times; give times only once")
        return source
    path = Path(source)
    if not path.exists():
        raise VideoError(f"{path}: no such file; give the path of a video, an image, or a folder of images")
    if path.is_dir():
        return open_folder(path, times)
    if times is not None:
        raise VideoError(f"{path}: times are only for a folder of images; a video file has its own")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: file is empty; copy or download it again")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return _open_video(path)
    if is_still_image(path):
        return open_image(path)
    # The libraries that read videos know some moving images (PNG), and of others only the first picture; of a
    # TIFF they hand out side data that they have no name for (ValueError).
    with suppress(VideoError, ValueError):
        moving = _open_video(path)
        if moving.info.frames == pictures(path):
            return moving
    return open_image(path)  # which says what to do


def probe(path: str | Path, times: Sequence[float] | None = None) -> VideoInfo:
    """Size (after rotation), exact rate, duration and frame count of a source; decodes one frame.

    Raises:
        VideoError: as :func:`open_source`.
    """
    return open_source(path, times).info


def _open_video(path: Path) -> VideoFile:
    with _container(path) as container:
        stream = _video_stream(container, path)
        table = scan_packets(container, stream)
        header_rate, length, header_frames = stream.average_rate, header_length(stream), stream.frames
        cut = container.format.name == "gif" and not _is_whole_gif(path)
    if len(table.stamps) == 0:
        raise VideoError(f"{path}: holds no video frames; copy or download it again")
    found_rate = frame_rate(table, header_rate)
    if found_rate is None:
        raise VideoError(f"{path}: its frame rate is unknown; re-encode it as mp4 with a frame rate")
    rate, constant = found_rate
    notes: list[str] = []
    # The display matrix travels with decoded frames, so the size as shown is known only after one of them.
    for _, first in _decode(path, table, range(len(table.stamps))):
        orientation, odd_angle = _orientation(first)
        width, height = (first.height, first.width) if orientation.transpose else (first.width, first.height)
        break
    else:
        raise VideoError(f"{path}: no frame could be decoded; re-encode it as H.264 mp4")
    if odd_angle:
        notes.append("the file asks for a rotation that is not a multiple of 90 degrees; it was rounded to one")
    ticks = int(table.stamps[-1] - table.stamps[0])
    shown = Fraction(table.last_duration) * table.time_base if table.last_duration else 1 / rate
    duration = ticks * table.time_base + shown
    missing = length is not None and length - duration > LENGTH_SLACK_FRAMES / rate
    if missing or table.broken or cut:
        notes.append(_loss_note(len(table.stamps), float(duration), header_frames, length))
    start = float(int(table.stamps[0]) * table.time_base)
    frame_times = None
    if not constant:
        frame_times = FrameTimes.from_stamps(
            table.stamps, table.time_base, max(round(shown / table.time_base), 1)
        )
    info = VideoInfo(str(path), width, height, rate, float(duration), len(table.stamps), start, frame_times)
    times = (table.stamps - table.stamps[0]).astype(np.float64) * float(table.time_base)
    return VideoFile(info, times, table, orientation, tuple(notes))


def _container(path: Path) -> InputContainer:
    """Open for reading, local files only: a playlist named .mp4 must not send the reader to a network."""
    try:
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="ignore")
    except av.error.FFmpegError as problem:
        raise VideoError(
            f"{path}: not a video that can be read ({problem.strerror}); "
            "it may be another kind of file or cut short: give an mp4, mkv, webm, mov or gif"
        ) from problem
    except OSError as problem:
        raise VideoError(f"{path}: cannot be opened ({problem.strerror})") from problem
    if container.format.name == "tty":
        # FFmpeg renders plain text as a terminal recording; nobody means that.
        container.close()
        raise VideoError(f"{path}: is a text file, not a video; give an mp4, mkv, webm, mov or gif")
    return container


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first moving picture; cover art of a music file is not one."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic and stream.codec_context is not None:
            stream.thread_type = "AUTO"
            return stream
    raise VideoError(f"{path}: holds no video stream (audio only?); give a file with moving pictures")


def _decode(path: Path, table: PacketTable, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """(index, frame) of the wanted frames, in order; frames that fail to decode are left out."""
    ranges = table.ranges(wanted)
    if not ranges:
        return
    waiting = {int(table.stamps[number]): number for number in wanted}
    newest = -1
    with _container(path) as container:
        stream = _video_stream(container, path)
        number = -1
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            number += 1
            first, last = ranges[0]
            if number < first:
                continue
            frames: list[av.VideoFrame] = []
            if not packet.is_corrupt:
                # One damaged packet is not the end; later ones may still decode.
                with suppress(av.error.FFmpegError):
                    frames += stream.codec_context.decode(packet)
            if number == last:
                frames += _drain(stream)
                ranges.pop(0)
            for frame in frames:
                stamp = frame.pts if frame.pts is not None else frame.dts
                found = waiting.pop(stamp, None) if stamp is not None else None
                # After damage a decoder may hand out an older frame than the last one: it is of no use here.
                if found is not None and found > newest:
                    newest = found
                    yield found, frame
            if not ranges:
                return


def _drain(stream: VideoStream) -> list[av.VideoFrame]:
    """The frames that the decoder still holds for reordering; afterwards it can start at another keyframe."""
    frames: list[av.VideoFrame] = []
    # If what was held is damaged, the caller sees that it is missing.
    with suppress(av.error.FFmpegError):
        frames += stream.codec_context.decode(None)
    stream.codec_context.flush_buffers()
    return frames


def _is_whole_gif(path: Path) -> bool:
    """Whether its blocks lead to the last one (GIF89a, section 27); a GIF says nowhere how long it is.

    What other programs wrote after the last block does not matter.
    """
    with path.open("rb") as file:
        _skip_colours(file, file.read(13)[10:11])
        while (kind := file.read(1)) != b";":
            if kind == b",":
                _skip_colours(file, file.read(9)[8:9])
            elif kind != b"!":
                return False
            file.read(1)  # of an image its code size, of an extension its label
            while size := ord(file.read(1) or b"\0"):
                file.seek(size, os.SEEK_CUR)
    return True


def _skip_colours(file: BinaryIO, flags: bytes) -> None:
    """Go past a table of colours, if the flags before it say that there is one."""
    if flags and flags[0] & 0x80:
        file.seek(3 << (flags[0] & 7) + 1, os.SEEK_CUR)


def _loss_note(frames: int, seconds: float, header_frames: int, header_seconds: Fraction | None) -> str:
    count = f"{frames} of {header_frames} frames" if header_frames > frames else f"{frames} frames"
    read = f"{seconds:.1f}"
    whole = read if header_seconds is None else f"{float(header_seconds):.1f}"
    length = read if float(whole) <= float(read) else f"{read} of {whole}"
    return f"file is truncated: {count} ({length} s) could be read"


def _orientation(frame: av.VideoFrame) -> tuple[Orientation, bool]:
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
