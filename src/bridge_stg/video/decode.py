"""Video files: where every frame is, and the pixels of the frames that are wanted.

A file is read in two passes. The first demuxes it (``packets.py``) and learns the exact time of every frame.
The second decodes, for each wanted frame, from the keyframe before it up to the packet that carries it
(``frame_reader.py``), and converts only the wanted frames to RGB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import VideoError
from bridge_stg.types import FrameTimes, VideoInfo
from bridge_stg.video.container import moving_pictures, open_container, video_stream
from bridge_stg.video.display import Orientation, display_notes, orientation_of, pixel_aspect
from bridge_stg.video.frame_reader import count_frames, read_frames
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
from bridge_stg.video.refusals import check_path, nothing_decoded

# A missing end shows that a file is cut off; a container may round its own length by up to one frame.
LENGTH_SLACK_FRAMES = 1.5


@dataclass(frozen=True)
class VideoFile:
    """A video file whose frames can be read by index.

    ``times`` is (N,) float64 seconds since the first frame. Where ``info.frame_times`` is None, frame ``i`` is
    shown at ``i / fps`` as exactly as the container can store it. ``pixel_aspect`` is the width of a pixel by
    its height, as shown.
    """

    info: VideoInfo
    times: NDArray[np.float64]
    packets: PacketTable
    orientation: Orientation
    notes: tuple[str, ...] = ()
    pixel_aspect: Fraction = Fraction(1)

    def read(
        self, wanted: Sequence[int], on_damage: Callable[[float], None] | None = None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(index, (H, W, 3) uint8 RGB as shown) of the wanted frames, one in memory at a time.

        A damaged frame is left out; callers compare what came with what they wanted.

        Args:
            wanted: increasing frame indices.
            on_damage: called with the second of each place where the file is damaged: what is shown from there
                to the next keyframe may be a guess.

        Raises:
            VideoError: a frame has another size than the first one.
        """
        stored = (self.info.width, self.info.height)
        if self.orientation.transpose:
            stored = stored[::-1]

        def report(stamp: int) -> None:
            if on_damage is not None:
                on_damage(float((stamp - int(self.packets.stamps[0])) * self.packets.time_base))

        for number, frame in read_frames(Path(self.info.path), self.packets, wanted, report):
            if (frame.width, frame.height) != stored:
                raise VideoError(
                    f"{self.info.path}: its frames change from {stored[0]}x{stored[1]} to "
                    f"{frame.width}x{frame.height} at {self.times[number]:.2f} s; re-encode it at one size"
                )
            yield number, self.orientation.apply(np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8))


FrameSource = VideoFile | ImageSequence | FramesInMemory


def open_source(source: str | Path | FramesInMemory, times: Sequence[float] | None = None) -> FrameSource:
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
    check_path(path)
    if path.is_dir():
        return open_folder(path, times)
    if times is not None:
        raise VideoError(f"{path}: times are only for a folder of images; a video file has its own")

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
    with open_container(path) as container:
        stream = video_stream(container, path)
        table = scan_packets(container, stream)
        header_rate, length = stream.average_rate, header_length(container, stream)
        header_frames, tracks = stream.frames, len(moving_pictures(container))
        stored_aspect = stream.sample_aspect_ratio
        # WebM keeps transparency beside the picture, where the decoder does not look for it.
        has_alpha_track = stream.metadata.get("alpha_mode") == "1"
        # An AVI knows the order of its packets; that of the pictures is another one where they are reordered.
        unordered = container.format.name == "avi" and bool(stream.codec_context.has_b_frames)

    # Files that do not say which packet is shown when.
    if table.untimed or (unordered and (np.diff(table.carriers) > 0).all()):
        table = count_frames(path, table, header_rate)
    if len(table.stamps) == 0:
        raise VideoError(f"{path}: holds no video frames; copy or download it again")

    # The display matrix travels with decoded frames, so the size as shown is known only after one of them.
    first, frame = next(read_frames(path, table, range(len(table.stamps))), (0, None))
    if frame is None:
        raise nothing_decoded(path)
    orientation, odd_angle = orientation_of(frame)
    width, height = (frame.height, frame.width) if orientation.transpose else (frame.width, frame.height)
    aspect = pixel_aspect(stored_aspect, orientation.transpose)
    notes = display_notes(frame, aspect, tracks, has_alpha_track)
    if odd_angle:
        notes.append("the file asks for a rotation that is not a multiple of 90 degrees; it was rounded to one")

    # How long it is, against what its header says.
    usual = frame_rate(table, header_rate)
    shown = table.last_duration * table.time_base or (1 / usual[0] if usual else 0)
    whole = int(table.stamps[-1] - table.stamps[0]) * table.time_base + shown
    missing = length is not None and usual is not None and length - whole > LENGTH_SLACK_FRAMES / usual[0]
    if missing or table.broken:
        notes.append(_loss_note(len(table.stamps), float(whole), header_frames, length))
    if table.jumps:
        times = "once" if table.jumps == 1 else f"{table.jumps} times"
        notes.append(f"the clock of the file jumps {times}; its parts are read as if they followed each other")

    # Frames before the first picture are not frames of the video.
    if first:
        lost = float(int(table.stamps[first] - table.stamps[0]) * table.time_base)
        notes.append(f"the first {lost:.2f} s cannot be shown, because no keyframe comes before them; left out")
        table = replace(table, stamps=table.stamps[first:], carriers=table.carriers[first:])
    return _described(path, table, header_rate, (width, height), orientation, aspect, tuple(notes))


def _described(
    path: Path,
    table: PacketTable,
    header_rate: Fraction | None,
    size: tuple[int, int],
    orientation: Orientation,
    aspect: Fraction,
    notes: tuple[str, ...],
) -> VideoFile:
    """The file with its rate and its times.

    Raises:
        VideoError: its rate is unknown, or its times cannot be true.
    """
    found_rate = frame_rate(table, header_rate)
    if found_rate is None:
        raise VideoError(f"{path}: its frame rate is unknown; re-encode it as mp4 with a frame rate")
    rate, constant = found_rate

    # From the first frame to the end of the last one.
    elapsed = table.stamps - table.stamps[0]
    shown = Fraction(table.last_duration) * table.time_base if table.last_duration else 1 / rate
    duration = int(elapsed[-1]) * table.time_base + shown
    start = float(int(table.stamps[0]) * table.time_base)

    try:
        frame_times = None
        if not constant:
            last = max(round(shown / table.time_base), 1)
            frame_times = FrameTimes.from_stamps(table.stamps, table.time_base, last)
        info = VideoInfo(str(path), *size, rate, float(duration), len(table.stamps), start, frame_times)
    except (ValueError, OverflowError) as problem:
        raise VideoError(f"{path}: the times in it cannot be true ({problem}); re-encode it") from problem

    times = elapsed.astype(np.float64) * float(table.time_base)
    return VideoFile(info, times, table, orientation, notes, aspect)


def _loss_note(frames: int, seconds: float, header_frames: int, header_seconds: Fraction | None) -> str:
    count = f"{frames} of {header_frames} frames" if header_frames > frames else f"{frames} frames"
    read = f"{seconds:.1f}"
    whole = read if header_seconds is None else f"{float(header_seconds):.1f}"
    length = read if float(whole) <= float(read) else f"{read} of {whole}"
    return f"file is truncated: {count} ({length} s) could be read"
