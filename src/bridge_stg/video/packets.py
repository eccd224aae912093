"""What demuxing a video file tells without decoding it: when each frame is shown, and which packet carries it.

It needs no header to be right, so it holds for variable rates, B-frames, files cut short, and containers that
store no frame count. It reads the file once from end to end, at the speed of the disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from bridge_stg.video.container import has_jumps

# As a number of keyframes to begin earlier: at the start of the file.
FROM_START = -1
# Seconds by which the clock of an MPEG stream must go back, or forward, for a jump, as FFmpeg has it.
BACKWARD, FORWARD = Fraction(1, 10), 10


@dataclass(frozen=True)
class PacketTable:
    """What one demuxing pass learns. Packets are numbered from 0 in decoding order.

    Shapes: ``stamps`` (N,) presentation stamps of the frames, increasing, in units of ``time_base``;
    ``carriers`` (N,) the packet of each frame; ``keys`` (K,) the keyframe packets and ``key_stamps`` (K,) their
    stamps; ``last_duration`` how long the last frame is shown, in stamps, 0 if the file does not say.

    ``broken`` says that the end is missing, ``cut_packet`` which packet is cut in half there. ``jumps`` counts
    how often the clock of the file jumps; ``shifts`` (P,) is what then must be added to the stamps of each
    packet. ``untimed`` counts packets without any stamp. ``counted`` says that frames are known by their number
    in a decoding from the start, and not by their stamps.
    """

    time_base: Fraction
    stamps: NDArray[np.int64]
    carriers: NDArray[np.int64]
    keys: NDArray[np.int64]
    key_stamps: NDArray[np.int64]
    last_duration: int
    broken: bool
    cut_packet: int | None = None
    jumps: int = 0
    shifts: NDArray[np.int64] | None = None
    untimed: int = 0
    counted: bool = False

    def ranges(self, wanted: Sequence[int], keys_before: int = 0) -> list[tuple[int, int]]:
        """The packets to decode for the wanted frames: inclusive ranges, in order, that do not touch.

        Each range starts at a keyframe shown no later than its first wanted frame and ends with the packet of
        its last wanted frame, so nothing between far-apart frames is decoded.

        Args:
            keys_before: by how many keyframes to start earlier than that, or ``FROM_START``.
        """
        merged: list[tuple[int, int]] = []
        for number in wanted:
            key = int(np.searchsorted(self.key_stamps, self.stamps[number], side="right")) - 1 - keys_before
            first = int(self.keys[key]) if key >= 0 and keys_before != FROM_START else 0
            last = int(self.carriers[number])

            first = min(first, last)
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return merged


def scan_packets(container: InputContainer, stream: VideoStream) -> PacketTable:
    """Demux the whole stream once. Damage is no error: what follows it is absent and ``broken`` is set."""
    time_base = stream.time_base if stream.time_base is not None else Fraction(1, av.time_base)
    clock = _Clock(time_base) if has_jumps(container) else None
    frames: list[tuple[int, int, int]] = []
    keys: list[tuple[int, int]] = []
    number, untimed, cut_packet, broken = -1, 0, None, False
    tail = b""

    for packet in _packets(container, stream):
        if packet is None:
            broken = True
            break
        number += 1
        cut_packet = number if packet.is_corrupt else None
        shift = clock.shift(packet) if clock is not None else 0
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            untimed += 1
            continue

        stamp += shift
        if packet.is_keyframe:
            keys.append((stamp, number))
        if not _is_hidden(packet, stream):
            frames.append((stamp, number, packet.duration or 0))
        if container.format.name == "gif":
            tail = bytes(packet)

    if cut_packet is not None:
        # A packet cut in half at the end of the file: the decoder would fill in what is not there.
        frames = [row for row in frames if row[1] != cut_packet]
    # A GIF says nowhere how long it is, but its last picture is followed by a mark of the end.
    broken = broken or cut_packet is not None or (bool(tail) and b"\0;" not in tail)

    frames.sort()
    stamps, first_seen = np.unique(np.array([row[0] for row in frames], dtype=np.int64), return_index=True)
    return PacketTable(
        time_base=time_base,
        stamps=stamps,
        carriers=np.array([frames[row][1] for row in first_seen], dtype=np.int64),
        keys=np.array([row[1] for row in keys], dtype=np.int64),
        key_stamps=np.array([row[0] for row in keys], dtype=np.int64),
        last_duration=frames[-1][2] if frames else 0,
        broken=broken,
        cut_packet=cut_packet,
        jumps=clock.jumps if clock is not None else 0,
        shifts=np.array(clock.shifts, dtype=np.int64) if clock is not None and clock.jumps else None,
        untimed=untimed,
    )


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet[VideoStream] | None]:
    """The packets that hold something; None where the file cannot be read on."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            yield None
            return
        if packet.size:
            yield packet


def _is_hidden(packet: av.Packet[VideoStream], stream: VideoStream) -> bool:
    """Decoded for reference and never shown.

    Packets before an edit list's start are marked by the container; VP8 marks alternate references in bit 4 of
    their first byte.
    """
    vp8 = stream.codec_context.name in ("vp8", "libvpx")
    return packet.is_discard or (vp8 and not memoryview(packet)[0] >> 4 & 1)


class _Clock:
    """Follows the stamps of an MPEG stream, whose parts may each have a clock of their own."""

    def __init__(self, time_base: Fraction) -> None:
        self.jumps = 0
        self.shifts: list[int] = []
        self._backward, self._forward = int(BACKWARD / time_base), int(FORWARD / time_base)
        self._next: int | None = None
        self._offset = 0

    def shift(self, packet: av.Packet[VideoStream]) -> int:
        """What to add to the stamps of the next packet, so that parts follow each other without a gap."""
        raw = packet.dts
        if raw is not None:
            away = 0 if self._next is None else raw + self._offset - self._next
            if away < -self._backward or away > self._forward:
                self.jumps += 1
                self._offset -= away
            self._next = raw + self._offset + (packet.duration or 0)
        self.shifts.append(self._offset)
        return self._offset


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


def header_length(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """The length in seconds that the container claims for this stream, if it claims one."""
    if has_jumps(container):
        return None  # what is given for them is reckoned from the stamps at both ends
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
