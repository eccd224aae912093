"""The doctor on files as people have them: it names what is wrong with each, and nothing on good ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from support.built_folder import built, write
from support.video_files import write_file

from bridge_stg.curation.doctor.examine import examine
from bridge_stg.records.record import TruthRecord, write_truth

# Thirtieths of a second: 30 frames in the first second, then one every two and a half of them.
UNEVEN = tuple(frame if frame < 30 else 30 + (frame - 30) * 5 // 2 for frame in range(90))
STEADY = tuple(range(90))


def variable(path: Path) -> Path:
    return write_file(path, stamps=UNEVEN)


def damaged(path: Path) -> Path:
    """The data of 40 frames are zeros."""
    write_file(path, stamps=STEADY, gop=10)
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for start, size in places[20:60]:
        content[start + 4 : start + size] = bytes(size - 4)
    path.write_bytes(bytes(content))
    return path


def truncated(path: Path) -> Path:
    write_file(path, stamps=STEADY, container_options={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


def jumping(path: Path) -> Path:
    """Two streams in a row: the clock begins anew."""
    write_file(path, stamps=STEADY, gop=10, b_frames=2)
    path.write_bytes(path.read_bytes() * 2)
    return path


def late(path: Path) -> Path:
    """It begins in the middle of a group of pictures, behind the tables at the begin of the file."""
    write_file(path, stamps=STEADY, gop=20)
    content, packet = path.read_bytes(), 188
    with av.open(str(path)) as container:
        begins = [one.pos for one in container.demux(video=0) if one.size]
    path.write_bytes(content[: 3 * packet] + content[begins[8] // packet * packet :])
    return path


def bare(path: Path) -> Path:
    return write_file(path, stamps=STEADY)


GOOD: dict[str, Callable[[Path], Path]] = {
    "steady.mp4": lambda path: write_file(path, stamps=STEADY, b_frames=2),
    "variable.mp4": variable,
    "refresh.mp4": lambda path: write_file(
        path, stamps=STEADY, gop=30, options={"x264-params": "intra-refresh=1:keyint=30:bframes=0"}
    ),
    "reordered.avi": lambda path: write_file(path, stamps=STEADY, gop=24, b_frames=2),
    "unstamped.mpg": lambda path: write_file(path, stamps=STEADY, gop=24, b_frames=2),
}


def test_good_files_of_every_kind_are_silent(tmp_path: Path) -> None:
    """Built from annotations that know nothing of rates and lengths: records say what the files are."""
    root = tmp_path / "data"
    root.mkdir()
    lines = []
    for name, make in GOOD.items():
        make(root / name)
        lines.append({"video": name, "query": f"what happens in {name}", "start": 1.0, "end": 2.0})
    write(root / "tubes.jsonl", "\n".join(map(json.dumps, lines)))
    data = built("custom", root)
    assert len(data.records) == len(GOOD)

    diagnosis = examine(data.out, tmp_path / "doctor")
    assert diagnosis.kinds == {}


@pytest.mark.parametrize(
    ("name", "make", "kinds"),
    [
        ("variable.mp4", variable, {"frame times differ"}),
        ("damaged.mp4", damaged, {"damaged video"}),
        ("truncated.mp4", truncated, {"truncated video"}),
        ("jumping.ts", jumping, {"odd clock"}),
        ("late.ts", late, {"odd clock"}),
        ("bare.h264", bare, {"unreadable video"}),
    ],
)
def test_each_bad_file_is_named(
    tmp_path: Path, name: str, make: Callable[[Path], Path], kinds: set[str]
) -> None:
    """Records that say 90 frames at a steady 30 per second, as a tool would that reads the header alone."""
    make(tmp_path / name)
    frames = {"variable.mp4": 90, "jumping.ts": 180, "late.ts": 70}.get(name, 90)
    fps = 30.0 if name != "variable.mp4" else 90 / (UNEVEN[-1] + 1) * 30
    record = TruthRecord("1", "vtg", name, fps, frames, (0, frames), 64, 48, "what happens?", window=(3, 5))
    write_truth(tmp_path / "truth.jsonl", [record])
    found = examine(tmp_path, tmp_path / "doctor").kinds
    assert kinds <= set(found)
    assert set(found) <= kinds | {"frame count differs", "duration differs", "clip after the end"}
    if name in ("variable.mp4", "jumping.ts"):
        assert set(found) == kinds
