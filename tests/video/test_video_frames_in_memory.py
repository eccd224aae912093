"""Frames that are in memory with their times: sampled like the video that they came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.video_files import numbered_frame, numbers

from bridge_stg.errors import InputError, VideoError
from bridge_stg.types import TimeSpan
from bridge_stg.video.decode import open_source
from bridge_stg.video.memory import frames_in_memory
from bridge_stg.video.sampling import sample_video
from bridge_stg.video.source import open_video

FRAMES = np.stack([numbered_frame(number) for number in range(12)])
TIMES = [number * 0.25 for number in range(12)]


@pytest.mark.parametrize(
    "frames",
    [
        FRAMES,
        torch.from_numpy(FRAMES),
        list(FRAMES),
        [Image.fromarray(frame) for frame in FRAMES],
        [Image.fromarray(frame).convert("RGBA") for frame in FRAMES],
    ],
    ids=["array", "tensor", "list", "pictures", "pictures with alpha"],
)
def test_any_kind_of_frames_is_sampled(frames: object) -> None:
    sampled = sample_video(frames_in_memory(frames, TIMES))
    assert numbers(sampled) == [0, 2, 4, 6, 8, 10] == sampled.source_frames.tolist()
    assert (sampled.info.fps, sampled.info.duration, sampled.info.frames) == (4, 3.0, 12)
    part = sample_video(frames_in_memory(frames, TIMES), span=TimeSpan(1.0, 2.0))
    assert part.times.tolist() == [1.0, 1.5]


def test_uneven_times_make_a_variable_rate() -> None:
    source = frames_in_memory(FRAMES[:4], [10.0, 10.1, 11.0, 12.0])
    assert source.times.tolist() == pytest.approx([0.0, 0.1, 1.0, 2.0])
    assert source.info.start_time == 10.0
    # Answers count from the first frame; whoever gave other times is told.
    (note,) = source.notes
    assert "10.000 s" in note
    assert frames_in_memory(FRAMES[:4], [0.0, 0.1, 1.0, 2.0]).notes == ()
    assert source.info.frame_times is not None
    assert open_source(source) is source


def test_one_picture_needs_no_time() -> None:
    for one in (Image.fromarray(FRAMES[5]), FRAMES[5], [FRAMES[5]]):
        sampled = sample_video(frames_in_memory(one))
        assert (sampled.info.duration, numbers(sampled)) == (1.0, [5])


@pytest.mark.parametrize(
    ("frames", "times", "error"),
    [
        (FRAMES, None, InputError),
        (FRAMES, TIMES[:3], VideoError),
        (FRAMES, TIMES[::-1], VideoError),
        ([], [], InputError),
        (FRAMES.astype(np.float32) / 255, TIMES, InputError),
        (FRAMES.transpose(0, 3, 1, 2), TIMES, InputError),
        (None, None, InputError),
        ("a.mp4", None, InputError),
        (b"bytes", None, InputError),
    ],
    ids=["no times", "few times", "back in time", "none", "floats", "channels first", "None", "path", "bytes"],
)
def test_what_is_no_video(frames: object, times: list[float] | None, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        frames_in_memory(frames, times)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("last", [1e9, 1e300, 1.7e308, 1e-7])
def test_times_that_no_video_has(last: float) -> None:
    for times in ([0.0, last], [-last, last], [0.0, last / 4, last]):
        with pytest.raises(VideoError, match=r"span|apart"):
            frames_in_memory(FRAMES[: len(times)], times)


def test_several_videos_have_a_door_of_their_own() -> None:
    for paths in (["a.mp4", "b.mp4"], (Path("a.mp4"), "b.mp4")):
        with pytest.raises(InputError, match="ground_videos"):
            open_video(paths)


def test_frames_of_two_sizes() -> None:
    source = frames_in_memory([FRAMES[0], numbered_frame(1, 32, 32)], [0.0, 1.0])
    with pytest.raises(InputError, match="32x32"):
        list(source.read([0, 1]))


def test_times_are_given_once() -> None:
    with pytest.raises(VideoError):
        open_source(frames_in_memory(FRAMES, TIMES), TIMES)
