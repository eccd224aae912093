"""What the program table of an MPEG transport stream says of its pictures (ISO/IEC 13818-1, section 2.4.4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Packets of a broadcast, and of a camera that puts four bytes of time before each.
_LAYOUTS = ((188, 0), (192, 4))
_SYNC = 0x47
_PROGRAM_ASSOCIATION, _PROGRAM_MAP = 0, 2
# Video by its stream type in the table.
_CODECS = {
    0x01: "MPEG-1",
    0x02: "MPEG-2",
    0x10: "MPEG-4",
    0x1B: "H.264",
    0x24: "HEVC",
    0x33: "VVC",
    0xEA: "VC-1",
}


def codecs_in_turn(path: Path) -> tuple[str, ...]:
    """The codecs of the pictures in the order in which the tables of the file name them; of a file that is no
    transport stream none. More than one says that the video changes its codec on the way.
    """
    packets = _packets(path)
    if packets is None:
        return ()
    starts = packets[(packets[:, 1] & 0x40) != 0]
    pids = ((starts[:, 1].astype(np.int64) & 0x1F) << 8) | starts[:, 2]

    # Where the tables of the programs are, and what these say one after the other.
    maps: set[int] = set()
    for section in _sections(starts[pids == 0], _PROGRAM_ASSOCIATION):
        entries = section[8 : _end(section)]
        for at in range(0, len(entries) - 3, 4):
            # Program 0 is none: it says where the table of the network is.
            if any(entries[at : at + 2]):
                maps.add(_pid(entries[at + 2 : at + 4]))

    found: list[str] = []
    for section in _sections(starts[np.isin(pids, sorted(maps))], _PROGRAM_MAP):
        codec = _first_codec(section)
        if codec is not None and found[-1:] != [codec]:
            found.append(codec)
    return tuple(found)


def _packets(path: Path) -> NDArray[np.uint8] | None:
    """The packets (N, 188) of a transport stream; None of another file."""
    if path.stat().st_size < 2 * _LAYOUTS[-1][0]:
        return None
    content = np.memmap(path, dtype=np.uint8, mode="r")
    for size, skipped in _LAYOUTS:
        if content[skipped] == content[skipped + size] == _SYNC:
            packets = content[: len(content) // size * size].reshape(-1, size)[:, skipped:]
            return np.asarray(packets[packets[:, 0] == _SYNC])
    return None


def _sections(packets: NDArray[np.uint8], table: int) -> list[bytes]:
    """The sections of a table that begin in these packets, repetitions in a row left out."""
    found: list[bytes] = []
    for packet in packets:
        has_adaptation, has_payload = packet[3] & 0x20, packet[3] & 0x10
        begin = 4 + (1 + int(packet[4]) if has_adaptation else 0)
        if not has_payload or begin >= len(packet):
            continue
        section = bytes(packet[begin + 1 + int(packet[begin]) :])
        if len(section) > 12 and section[0] == table and found[-1:] != [section]:
            found.append(section)
    return found


def _first_codec(section: bytes) -> str | None:
    """The codec of the first video stream of a program."""
    at, end = 12 + _length(section[10:12]), _end(section)
    while at + 5 <= end:
        if section[at] in _CODECS:
            return _CODECS[section[at]]
        at += 5 + _length(section[at + 3 : at + 5])
    return None


def _end(section: bytes) -> int:
    """Where the entries of a section end: before its checksum."""
    return min(3 + _length(section[1:3]) - 4, len(section))


def _length(two: bytes) -> int:
    return int.from_bytes(two, "big") & 0x0FFF


def _pid(two: bytes) -> int:
    return int.from_bytes(two, "big") & 0x1FFF
