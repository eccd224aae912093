"""What a decoding of the whole file in order shows is what is read: the same frames at the same times.

The corpus is container x codec x distance of keyframes x B-frames x frame times; a small slice of it runs
always, all of it with ``make test-slow``.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support.video_files import number_in, numbered_frame, numbers, write_file

from bridge_stg.errors import VideoError
from bridge_stg.inference.drawing import write_annotated
from bridge_stg.types import GroundingResult
from bridge_stg.video.decode import open_source
from bridge_stg.video.sampling import sample_video

STEADY = tuple(range(50))
# In thirtieths of a second: a burst, a pause, every third, a long pause.
UNEVEN = (*range(12), *range(20, 80, 3), 140, 141, 142, 143, 144, 200, 201, 202)
CODECS: dict[str, tuple[str, ...]] = {
    "libx264": ("mp4", "mkv", "mov", "ts", "avi", "flv", "mpg"),
    "libx265": ("mp4", "mkv", "ts"),
    "mpeg4": ("mp4", "mkv", "avi"),
    "mpeg2video": ("ts", "mpg", "mkv"),
    "mjpeg": ("avi", "mov", "mkv"),
    "libvpx": ("webm",),
    "libvpx-vp9": ("webm", "mp4"),
}
# Containers that store no times of their own for pictures: they hold steady rates only.
STEADY_ONLY = ("avi", "mpg")
OPTIONS = {"libx265": {"x265-params": "log-level=none"}, "libx264": {"preset": "ultrafast"}}


def corpus() -> list[tuple[str, str, int, int, tuple[int, ...]]]:
    """(container, codec, distance of keyframes, B-frames, stamps)."""
    cases = []
    for codec, containers in CODECS.items():
        reorders = codec in ("libx264", "libx265", "mpeg4", "mpeg2video")
        for container, gop, b_frames in product(containers, (1, 12, 250), (0, 2) if reorders else (0,)):
            if b_frames and gop == 1:
                continue
            for stamps in (STEADY,) if container in STEADY_ONLY else (STEADY, UNEVEN):
                cases.append((container, codec, gop, b_frames, stamps))
    return cases


ALWAYS = [
    ("mp4", "libx264", 12, 2, UNEVEN),
    ("avi", "libx264", 12, 2, STEADY),
    ("mpg", "libx264", 12, 2, STEADY),
    ("mpg", "mpeg2video", 12, 2, STEADY),
    ("ts", "libx264", 12, 2, UNEVEN),
]


def write(path: Path, codec: str, gop: int, b_frames: int, stamps: tuple[int, ...], **more: Any) -> Path:
    options = {**OPTIONS.get(codec, {}), **more.pop("options", {})}
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    return write_file(
        path, codec, stamps, gop=gop, b_frames=b_frames, options=options, pixel_format=pixel_format, **more
    )


def check(path: Path, stamps: tuple[int, ...]) -> None:
    """All frames are there at their times, and reading some of them gives the pixels of reading all."""
    video = open_source(path)
    with av.open(str(path)) as container:
        pixels = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    expected = (np.array(stamps) - stamps[0]) / 30
    assert [number_in(frame) for frame in pixels] == list(range(len(stamps)))
    # FLV and Matroska count milliseconds.
    np.testing.assert_allclose(video.times, expected, atol=1.1e-3)
    assert video.notes == ()

    for step in (1, 7):
        found = dict(video.read(range(3, len(stamps), step)))
        assert list(found) == list(range(3, len(stamps), step))
        for number, frame in found.items():
            np.testing.assert_array_equal(frame, pixels[number])


@pytest.mark.parametrize(("container", "codec", "gop", "b_frames", "stamps"), ALWAYS)
def test_a_slice_of_the_corpus(
    tmp_path: Path, container: str, codec: str, gop: int, b_frames: int, stamps: tuple[int, ...]
) -> None:
    check(write(tmp_path / f"v.{container}", codec, gop, b_frames, stamps), stamps)


@pytest.mark.slow
@pytest.mark.parametrize(("container", "codec", "gop", "b_frames", "stamps"), corpus())
def test_the_whole_corpus(
    tmp_path: Path, container: str, codec: str, gop: int, b_frames: int, stamps: tuple[int, ...]
) -> None:
    check(write(tmp_path / f"v.{container}", codec, gop, b_frames, stamps), stamps)


def test_intra_refresh_is_no_damage(tmp_path: Path) -> None:
    """Every "keyframe" but the first is the begin of a refresh that takes half a second."""
    refresh = {"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=15:bframes=0"}
    stamps = tuple(range(90))
    path = write(tmp_path / "r.mp4", "libx264", 15, 0, stamps, options=refresh)
    sampled = sample_video(path, fps=2.0)
    assert numbers(sampled) == sampled.source_frames.tolist() == [0, 15, 30, 45, 60, 75]
    assert sampled.notes == ()
    check(path, stamps)


def test_damage_is_still_damage_and_costs_the_damaged_frames_only(tmp_path: Path) -> None:
    path = write(tmp_path / "d.mp4", "libx264", 10, 0, tuple(range(90)))
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for number in range(30, 40):
        start, size = places[number]
        content[start + 4 : start + size] = bytes(size - 4)
    path.write_bytes(bytes(content))
    found = [number for number, _ in open_source(path).read(range(90))]
    assert set(found) >= {*range(30), *range(40, 90)}
    sampled = sample_video(path, fps=2.0)
    assert numbers(sampled) == sampled.source_frames.tolist()


def test_two_streams_in_a_row_are_one_after_the_other(tmp_path: Path) -> None:
    one = write(tmp_path / "one.ts", "libx264", 10, 2, STEADY)
    path = tmp_path / "twice.ts"
    path.write_bytes(one.read_bytes() * 2)
    video = open_source(path)
    np.testing.assert_allclose(video.times, np.arange(100) / 30, atol=1e-4)
    found = [number_in(frame) for _, frame in video.read(range(0, 100, 7))]
    assert found == [number % 50 for number in range(0, 100, 7)]
    (note,) = video.notes
    assert "jumps once" in note
    assert "truncated" not in note


def test_frames_before_the_first_picture_are_not_frames_of_the_video(tmp_path: Path) -> None:
    path = write(tmp_path / "late.ts", "libx264", 20, 0, STEADY)
    content, packet = path.read_bytes(), 188
    with av.open(str(path)) as container:
        begins = [one.pos for one in container.demux(video=0) if one.size]
    # From the middle of the first group of pictures on, behind the tables at the begin of the file.
    path.write_bytes(content[: 3 * packet] + content[begins[8] // packet * packet :])
    video = open_source(path)
    assert [number_in(frame) for _, frame in video.read([0, 1, 29])] == [20, 21, 49]
    assert (video.info.frames, video.times[0]) == (30, 0.0)
    (note,) = video.notes
    assert "cannot be shown" in note


@pytest.mark.parametrize(
    ("name", "codec"), [("bare.h264", "libx264"), ("bare.mjpeg", "mjpeg"), ("a.m2v", "mpeg2video")]
)
def test_a_bare_stream_is_refused_with_the_way_out(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, codec, 12, 0, STEADY)
    with pytest.raises(VideoError, match="ffmpeg -r 25") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)

    # Nor does the way out write over a stream that is called .mp4.
    with pytest.raises(VideoError, match="ffmpeg -r 25") as caught:
        open_source(path.rename(tmp_path / "bare.mp4"))
    assert "-i bare.mp4 bare.mp4" not in str(caught.value)


def test_pixels_that_are_not_square_are_kept_and_told(tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        for number in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")))
        container.mux(stream.encode(None))
    video = open_source(path)
    assert video.pixel_aspect == Fraction(64, 45)
    assert len(video.notes) == 1
    result = GroundingResult(str(path), "x", "no_window", "", video.info, 2.0, "")
    again = open_source(write_annotated(result, path, tmp_path / "out.mp4"))
    assert again.pixel_aspect == Fraction(64, 45)


@pytest.mark.parametrize(
    ("codec", "name", "pixel_format", "options", "said"),
    [
        ("libx265", "hdr.mp4", "yuv420p10le", {"x265-params": "log-level=none:transfer=16"}, "HDR (PQ)"),
        ("mpeg2video", "i.mkv", "yuv420p", {"flags": "+ildct+ilme"}, "interlaced"),
        ("qtrle", "alpha.mov", "argb", {}, "transparent"),
    ],
)
def test_what_is_shown_otherwise_is_told_once(
    tmp_path: Path, codec: str, name: str, pixel_format: str, options: dict[str, str], said: str
) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for number in range(5):
            pixels = np.dstack([numbered_frame(number), np.full((48, 64), 90, np.uint8)])
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format=pixel_format))
            )
        container.mux(stream.encode(None))
    (note,) = open_source(path).notes
    assert said in note


def test_of_several_tracks_the_default_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=30) for _ in range(2)]
        for stream, size in zip(streams, ((64, 48), (96, 64)), strict=True):
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
        streams[1].disposition = av.stream.Disposition.default
        for number in range(5):
            for stream in streams:
                pixels = numbered_frame(number, stream.width, stream.height)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    video = open_source(path)
    (note,) = video.notes
    assert "2 video tracks" in note
    assert (video.info.width, video.info.height) == (96, 64)
