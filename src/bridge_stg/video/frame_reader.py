"""The decoded frames of a file by their index, as a decoding of the whole file from its start shows them.

Usually decoding begins at the keyframe before a wanted frame. Some files need more than that: pictures may be
complete only some time after the keyframe (intra refresh), or nothing says which packet is shown when.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from bridge_stg.video.container import open_container, video_stream
from bridge_stg.video.packets import FROM_START, PacketTable

OnDamage = Callable[[int], None]


def read_frames(
    path: Path, table: PacketTable, wanted: Sequence[int], on_damage: OnDamage | None = None
) -> Iterator[tuple[int, av.VideoFrame]]:
    """(index, frame) of the wanted frames, in order; frames that are damaged are left out.

    Where a frame does not come, decoding begins again one keyframe earlier, and then at the start of the file.
    If that brings it, the rest is read the same way.

    Args:
        on_damage: called with the stamp of each place where the decoder met damage: what it shows from there to
            the next keyframe may be a guess.
    """
    if table.counted:
        yield from _counted(path, wanted)
        return

    done, keys_before = 0, 0
    while done < len(wanted):
        for number, frame in _decode(path, table, wanted[done:], keys_before, on_damage):
            if number != wanted[done] and keys_before != FROM_START:
                break
            # What was not there from the start either is damaged.
            done = bisect_right(wanted, number)
            yield number, frame
        else:
            if done == len(wanted) or keys_before == FROM_START:
                return
        keys_before = 1 if keys_before == 0 else FROM_START


def _decode(
    path: Path, table: PacketTable, wanted: Sequence[int], keys_before: int, on_damage: OnDamage | None
) -> Iterator[tuple[int, av.VideoFrame]]:
    """(index, frame) of what one pass over the file brings of the wanted frames, in order."""
    ranges = table.ranges(wanted, keys_before)
    if not ranges:
        return

    waiting = {int(table.stamps[number]): number for number in wanted}
    newest = -1
    with open_container(path) as container:
        stream = video_stream(container, path)
        number = -1
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            number += 1
            first, last = ranges[0]
            if number < first:
                continue

            frames: list[av.VideoFrame] = []
            if number != table.cut_packet:
                if table.shifts is not None and number < len(table.shifts):
                    _shift(packet, int(table.shifts[number]))
                # One damaged packet is not the end; later ones may still decode.
                try:
                    frames += stream.codec_context.decode(packet)
                except av.error.FFmpegError:
                    _report(packet.pts, table, on_damage)
            if number == last:
                frames += _drain(stream)
                ranges.pop(0)

            for frame in frames:
                stamp = frame.pts if frame.pts is not None else frame.dts
                if frame.is_corrupt:
                    _report(stamp, table, on_damage)
                found = waiting.pop(stamp, None) if stamp is not None else None
                # After damage a decoder may hand out an older frame than the last one: it is of no use here.
                if found is not None and found > newest:
                    newest = found
                    yield found, frame
            if not ranges:
                return


def _report(stamp: int | None, table: PacketTable, on_damage: OnDamage | None) -> None:
    """Say where damage is, unless it lies before the first frame of the video."""
    if on_damage is not None and stamp is not None and stamp >= table.stamps[0]:
        on_damage(stamp)


def _shift(packet: av.Packet[VideoStream], ticks: int) -> None:
    """Put a packet where it belongs on a clock without jumps."""
    packet.pts = None if packet.pts is None else packet.pts + ticks
    packet.dts = None if packet.dts is None else packet.dts + ticks


def _drain(stream: VideoStream) -> list[av.VideoFrame]:
    """The frames that the decoder still holds for reordering; afterwards it can start at another keyframe."""
    frames: list[av.VideoFrame] = []
    # If what was held is damaged, the caller sees that it is missing.
    with suppress(av.error.FFmpegError):
        frames += stream.codec_context.decode(None)
    stream.codec_context.flush_buffers()
    return frames


def _all_frames(path: Path) -> Iterator[av.VideoFrame]:
    """Every frame from the first to the last, in the order in which they are shown."""
    with open_container(path) as container:
        stream = video_stream(container, path)
        with suppress(av.error.FFmpegError):
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                with suppress(av.error.FFmpegError):
                    yield from stream.codec_context.decode(packet)
        yield from _drain(stream)


def _counted(path: Path, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """(index, frame) of the wanted ones of all frames, counted."""
    if not wanted:
        return
    asked, last = set(wanted), max(wanted)
    for number, frame in enumerate(_all_frames(path)):
        if number in asked:
            yield number, frame
        if number == last:
            return


def count_frames(path: Path, table: PacketTable, rate: Fraction | None) -> PacketTable:
    """The table of a file whose packets do not say when a picture is shown: all of it is decoded once.

    A frame without a stamp of its own is shown when the one before it ends. Where packets were stamped in the
    order in which they are decoded, their stamps in that order are those of the frames.
    """
    step = max(round(1 / (rate * table.time_base)), 1) if rate else 1
    found = [(frame.pts, frame.duration or step) for frame in _all_frames(path)]
    stamps = _filled(found) if table.untimed else table.stamps[: len(found)]
    return replace(table, stamps=stamps, carriers=np.arange(len(stamps)), counted=True)


def _filled(found: Sequence[tuple[int | None, int]]) -> NDArray[np.int64]:
    """Increasing stamps (N,) of frames with (stamp, duration), of which some have no stamp.

    A known stamp says by how much a frame comes later than its predecessors' durations make it. Time does not
    go back, so one that a later stamp contradicts is wrong: decoders hand a stamp to the wrong frame at times.
    """
    durations = np.array([duration for _, duration in found], dtype=np.int64)
    shown = np.cumsum(durations) - durations
    known = np.array(
        [position for position, (stamp, _) in enumerate(found) if stamp is not None], dtype=np.int64
    )
    if not len(known):
        return shown

    stamps = np.array([found[position][0] for position in known.tolist()], dtype=np.int64)
    later = np.minimum.accumulate((stamps - shown[known])[::-1])[::-1]
    last_known = np.searchsorted(known, np.arange(len(found)), side="right") - 1
    filled: NDArray[np.int64] = shown + later[last_known.clip(0)]
    return filled
