"""Damaged video files: the right frames, a note, or one line; never a traceback, a dead process, a wrong time.

Right is what a decoding of the damaged file in order shows. Files are read in processes that may die, since the
libraries that decode are written in C.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fuzz.mutations import ROUNDS, SEED, mutate
from support.video_files import number_in, write_file

from bridge_stg.errors import VideoError
from bridge_stg.files.worker_pool import Died, run_each
from bridge_stg.video.decode import open_source
from bridge_stg.video.sampling import sample_video

pytestmark = pytest.mark.slow

FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "h264.mp4": ("libx264", {"b_frames": 2}),
    "uneven.mp4": ("libx264", {"stamps": (*range(12), *range(12, 60, 4)), "b_frames": 2}),
    "hevc.mkv": ("libx265", {"b_frames": 2, "options": {"x265-params": "log-level=none"}}),
    "h264.avi": ("libx264", {"b_frames": 2}),
    "asp.avi": ("mpeg4", {"b_frames": 2}),
    "h264.ts": ("libx264", {"b_frames": 2}),
    "h264.mpg": ("libx264", {"b_frames": 2}),
    "mpeg2.mpg": ("mpeg2video", {"b_frames": 2}),
    "vp9.webm": ("libvpx-vp9", {}),
    "picture.gif": (
        "gif",
        {"stamps": range(0, 200, 10), "time_base": Fraction(1, 100), "pixel_format": "rgb8"},
    ),
}
# What holds the times is at the begin and at the end.
EDGE = 3000


def damage(content: bytes, draw: random.Random) -> bytes:
    """A damaged copy; half of them are damaged where the times are."""
    kind = draw.random()
    if kind < 0.3:
        return mutate(content[:EDGE], draw) + content[EDGE:]
    if kind < 0.5:
        return content[:-EDGE] + mutate(content[-EDGE:], draw)
    return mutate(content, draw)


def judge(folder: Path, name: str, content: bytes, number: int) -> str:
    """What became of one damaged file: "line", "note", "right", or what is wrong."""
    path = folder / f"{number}-{name}"
    path.write_bytes(damage(content, random.Random(f"{SEED}/{name}/{number}")))
    try:
        sampled = sample_video(path, fps=10.0)
    except VideoError as problem:
        text = str(problem)
        verdict = "line" if text.strip() and "\n" not in text else f"not one line: {text!r}"
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"
    else:
        verdict = "note" if sampled.notes else _compare(path, sampled.times, sampled.frames)
    path.unlink()
    return verdict


def _compare(path: Path, times: Any, frames: Any) -> str:
    """Whether the frames that were read are those that a decoding in order shows at these times."""
    if open_source(path).packets.counted:
        return "right"  # the file does not say when its frames are shown

    shown: dict[int, list[Any]] = {}
    first, guessed = None, False
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            frames_here = []
            with suppress(av.error.FFmpegError):
                frames_here = stream.codec_context.decode(packet)
            for frame in frames_here:
                stamp = frame.pts if frame.pts is not None else frame.dts
                first = stamp if first is None else first
                guessed = guessed or frame.is_corrupt
                moment = round(float((stamp - first) * frame.time_base) * 1000)
                shown.setdefault(moment, []).append(frame.to_ndarray(format="rgb24"))

    for time, pixels in zip(times.tolist(), frames, strict=True):
        there = [one for moment in (-1, 0, 1) for one in shown.get(round(time * 1000) + moment, [])]
        # A decoder may lose a whole frame to damage that comes after it, where reading stops before that.
        if not there and not _is_number(pixels, round(time * 30)):
            return f"no frame is shown at {time:.3f} s"
        # What is guessed in place of a damaged part depends on where decoding began.
        if there and not guessed and not any(np.array_equal(pixels, one) for one in there):
            return f"another frame is shown at {time:.3f} s"
    return "right"


def _is_number(pixels: Any, number: int) -> bool:
    try:
        return number_in(pixels) == number
    except AssertionError:
        return False


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FILES)
def test_damaged_videos(tmp_path: Path, name: str) -> None:
    codec, options = FILES[name]
    content = write_file(tmp_path / name, codec, **options).read_bytes()
    rounds = range(max(ROUNDS // len(FILES), 1))

    seen: Counter[str] = Counter()
    wrong: list[str] = []
    for number, verdict in run_each(partial(judge, tmp_path, name, content), rounds, workers=2):
        said = "the process died" if isinstance(verdict, Died) else verdict
        seen[said if said in ("line", "note", "right") else "wrong"] += 1
        if said not in ("line", "note", "right"):
            wrong.append(f"seed {SEED}, {name}, round {number}: {said}")
    print(f"seed {SEED}, {name}: {dict(seen)}")
    assert wrong == []
