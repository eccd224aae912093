"""The mp4 that is written: rate, times, size, colours, and what is left behind on failure."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from support.video_files import number_in, numbered_frame

from bridge_stg.errors import InputError
from bridge_stg.video.decode import open_source, probe
from bridge_stg.video.sampling import sample_video
from bridge_stg.video.write import VideoWriter

RATES = [
    Fraction(24000, 1001),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(25, 2),
    Fraction(1),
    Fraction(240),
]


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_rate_and_length_are_exact(tmp_path, fps):
    path = tmp_path / "new" / "w.mp4"
    with VideoWriter(path, 64, 48, fps) as writer:
        for number in range(45):
            writer.write(numbered_frame(number))
    info = probe(path)
    assert info.fps == fps
    assert info.frames == 45
    assert info.duration == pytest.approx(float(45 / fps), abs=1e-6)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == fps
    sampled = sample_video(path, fps=float(fps))
    assert [number_in(frame) for frame in sampled.frames] == list(range(45))


def test_variable_times_are_kept(tmp_path):
    times = [0.0, 0.04, 0.3, 0.75, 0.76, 2.0]
    with VideoWriter(tmp_path / "v.mp4", 64, 48, Fraction(2)) as writer:
        for number, time in enumerate(times):
            writer.write(numbered_frame(number), time, 0.3)
    video = open_source(tmp_path / "v.mp4")
    np.testing.assert_allclose(video.times, times, atol=1.2e-5)
    assert video.info.duration == pytest.approx(2.3, abs=1e-4)


def test_a_browser_can_play_it(tmp_path):
    path = tmp_path / "b.mp4"
    with VideoWriter(path, 64, 48, Fraction(30)) as writer:
        writer.write(numbered_frame(1))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.pix_fmt == "yuv420p"
        assert stream.profile in ("High", "Main", "Constrained Baseline")
    data = path.read_bytes()
    # The index comes before the pictures, so that playing can begin before the download ends.
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("size", [(65, 48), (64, 49), (65, 49), (1600, 16), (1, 1), (3, 400)])
def test_odd_sizes_grow_by_at_most_one_pixel(tmp_path, size):
    width, height = size
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "o.mp4", width, height, Fraction(30)) as writer:
        writer.write(frame)
    info = probe(tmp_path / "o.mp4")
    assert (info.width, info.height) == (width + width % 2, height + height % 2)


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 200, 0), (20, 40, 220), (255, 176, 0), (255, 255, 255)])
@pytest.mark.parametrize("size", [(320, 240), (1280, 720)])
def test_colours_survive(tmp_path, color, size):
    frame = np.full((size[1], size[0], 3), color, np.uint8)
    with VideoWriter(tmp_path / "c.mp4", *size, Fraction(30)) as writer:
        writer.write(frame)
    back = sample_video(tmp_path / "c.mp4").frames[0]
    assert np.abs(back.astype(int).mean(axis=(0, 1)) - color).max() < 4


def test_nothing_is_left_after_a_failure(tmp_path):
    kept = tmp_path / "f.mp4"
    kept.write_bytes(b"an older file")

    def write_and_stop():
        with VideoWriter(kept, 64, 48, Fraction(30)) as writer:
            for number in range(50):
                writer.write(numbered_frame(number))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_and_stop()
    with pytest.raises(ValueError, match="frames must be"), VideoWriter(kept, 64, 48, Fraction(30)) as writer:
        writer.write(numbered_frame(0, 32, 32))
    assert kept.read_bytes() == b"an older file"
    assert [file.name for file in tmp_path.iterdir()] == ["f.mp4"]


def test_bad_places_are_input_errors(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="can write"):
        VideoWriter(tmp_path / "file" / "o.mp4", 64, 48, Fraction(30))
    with pytest.raises(InputError, match="can write"):
        VideoWriter("/proc/nowhere/o.mp4", 64, 48, Fraction(30))
    with pytest.raises(InputError, match=r"ends in \.mp4"):
        VideoWriter(tmp_path / "o.avi", 64, 48, Fraction(30))


def test_times_must_increase(tmp_path):
    with VideoWriter(tmp_path / "t.mp4", 64, 48, Fraction(30)) as writer:
        writer.write(numbered_frame(0), 1.0)
        with pytest.raises(ValueError, match="must increase"):
            writer.write(numbered_frame(1), 1.0)
