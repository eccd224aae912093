"""What demuxing a video file tells without decoding it: when each frame is shown, and which packet carries it.

It needs no header to be right, so it holds for variable rates, B-frames, files cut short, and containers that
store no frame count. It reads the file once from end to end, at the speed of the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray


@dataclass(frozen=True)
class PacketTable:
    """What one demuxing pass learns. Packets are numbered from 0 in decoding order.

    Shapes: ``stamps`` (N,) presentation stamps of the frames, increasing, in units of ``time_base``;
    ``carriers`` (N,) the packet of each frame; ``keys`` (K,) the keyframe packets and ``key_stamps`` (K,) their
    stamps; ``last_duration`` how long the last frame is shown, in stamps, 0 if the file does not say.
    """

    time_base: Fraction
    stamps: NDArray[np.int64]
    carriers: NDArray[np.int64]
    keys: NDArray[np.int64]
    key_stamps: NDArray[np.int64]
    last_duration: int
    broken: bool

    def ranges(self, wanted: Sequence[int]) -> list[tuple[int, int]]:
        """The packets to decode for the wanted frames: inclusive ranges, in order, that do not touch.

        Each range starts at a keyframe shown no later than its first wanted frame and ends with the packet of
        its last wanted frame, so nothing between far-apart frames is decoded.
        """
        merged: list[tuple[int, int]] = []
        for number in wanted:
            before = int(np.searchsorted(self.key_stamps, self.stamps[number], side="right")) - 1
            first = int(self.keys[before]) if before >= 0 else 0
            last = int(self.carriers[number])
            first = min(first, last)
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return merged


def scan_packets(container: InputContainer, stream: VideoStream) -> PacketTable:
    """Demux the whole stream once. Damage is no error: what follows it is absent and ``broken`` is set."""
    vp8 = stream.codec_context.name in ("vp8", "libvpx")
    frames: list[tuple[int, int, int]] = []
    keys: list[tuple[int, int]] = []
    broken = False
    number = -1
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.error.FFmpegError:
            broken = True
            break
        if packet.size == 0:
            continue
        number += 1
        if packet.is_corrupt:
            # A packet cut in half at the end of the file: the decoder would fill in what is not there.
            broken = True
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            continue
        if packet.is_keyframe:
            keys.append((stamp, number))
        # Packets before an edit list's start are decoded for reference and never shown; VP8 marks packets that
        # are not shown (alternate references) in bit 4 of their first byte.
        if packet.is_discard or (vp8 and not memoryview(packet)[0] >> 4 & 1):
            continue
        frames.append((stamp, number, packet.duration or 0))
    frames.sort()
    stamps, first_seen = np.unique(np.array([row[0] for row in frames], dtype=np.int64), return_index=True)
    return PacketTable(
        time_base=stream.time_base if stream.time_base is not None else Fraction(1, av.time_base),
        stamps=stamps,
        carriers=np.array([frames[row][1] for row in first_seen], dtype=np.int64),
        keys=np.array([row[1] for row in keys], dtype=np.int64),
        key_stamps=np.array([row[0] for row in keys], dtype=np.int64),
        last_duration=frames[-1][2] if frames else 0,
        broken=broken,
    )


def frame_rate(table: PacketTable, header: Fraction | None) -> tuple[Fraction, bool] | None:
    """The exact rate and whether it is constant; None if the file does not tell.

    ``header`` is the rate the container states. If the frames do not keep it, the rate is the average over
    their own times.
    """
    count = len(table.stamps)
    elapsed = table.stamps - table.stamps[0]
    if header:
        ticks_per_frame = float(1 / (header * table.time_base))
        # A container rounds each time to its own unit (1 ms in Matroska); a dropped frame is a whole frame off.
        slack = min(1.001, 0.4 * ticks_per_frame)
        if np.abs(elapsed - np.arange(count) * ticks_per_frame).max() <= slack:
            return Fraction(header), True
    total = int(elapsed[-1]) + table.last_duration
    if table.last_duration and total > 0:
        return count / (total * table.time_base), False
    if header:
        return Fraction(header), False
    return None


def header_length(stream: VideoStream) -> Fraction | None:
    """The length in seconds that the container claims for this stream, if it claims one."""
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    clock = stream.metadata.get("DURATION", "").split(":")
    if len(clock) != 3:
        return None
    try:
        hours, minutes, seconds = (Fraction(part) for part in clock)
    except ValueError:
        return None
    # Matroska's tag is the time of the end; the first frame need not be at zero.
    start = (stream.start_time or 0) * (stream.time_base or Fraction(0))
    return hours * 3600 + minutes * 60 + seconds - start
