"""Which frames are taken from real files: their times and their pixels."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.video_files import decode_everything, numbers, write_file

from bridge_stg.errors import InputError
from bridge_stg.geometry.clock import clock_of
from bridge_stg.types import TimeSpan
from bridge_stg.video import sampling
from bridge_stg.video.decode import open_source, probe
from bridge_stg.video.memory import frames_in_memory
from bridge_stg.video.sampling import choose_frames, frames_to_sample, sample_video, wanted_times

NTSC_FILM, NTSC = Fraction(24000, 1001), Fraction(30000, 1001)


def test_mp4_at_two_frames_per_second(tmp_path):
    path = write_file(tmp_path / "a.mp4", stamps=range(75))
    sampled = sample_video(path)
    assert sampled.info.fps == 30
    assert (sampled.info.width, sampled.info.height, sampled.info.frames) == (64, 48, 75)
    assert sampled.info.duration == pytest.approx(2.5, abs=1e-9)
    # 2.5 s at 2 fps is an odd number of samples: 0, 0.5, 1, 1.5, 2.
    assert sampled.times.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert sampled.source_frames.tolist() == [0, 15, 30, 45, 60] == numbers(sampled)
    assert sampled.notes == ()


CONTAINERS = {
    "mp4": ("a.mp4", {"codec": "libx264"}),
    "mp4 B-frames": ("a.mp4", {"codec": "libx264", "b_frames": 3}),
    "mp4 B-frames, open GOP": ("a.mp4", {"b_frames": 3, "options": {"x264-params": "open-gop=1:bframes=3"}}),
    "mkv B-frames, open GOP": ("a.mkv", {"b_frames": 3, "options": {"x264-params": "open-gop=1:bframes=3"}}),
    "mp4 every frame a keyframe": ("a.mp4", {"gop": 1}),
    "mkv HEVC": ("a.mkv", {"codec": "libx265", "b_frames": 2, "options": {"x265-params": "log-level=none"}}),
    "webm VP9": ("a.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
    "webm VP8": ("a.webm", {"codec": "libvpx"}),
    "mov": ("a.mov", {"codec": "mpeg4"}),
    "gif": ("a.gif", {"codec": "gif", "pixel_format": "rgb8", "time_base": Fraction(1, 100)}),
    "avi": ("a.avi", {"codec": "mpeg4"}),
    "mp4 fragments": ("a.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "ts": ("a.ts", {"codec": "libx264", "b_frames": 2}),
}


# A gif counts hundredths of a second, so the broadcast rates cannot be stored in one.
KINDS_AND_RATES = [
    (kind, rate)
    for kind in CONTAINERS
    for rate in (Fraction(10), NTSC_FILM, NTSC)
    if kind != "gif" or rate == 10
]


@pytest.mark.parametrize(("kind", "rate"), KINDS_AND_RATES, ids=str)
def test_every_container_gives_the_frames_shown_at_the_wanted_times(tmp_path, kind, rate):
    name, options = CONTAINERS[kind]
    stamps = [number * 10 for number in range(100)] if name.endswith("gif") else range(100)
    options = {"time_base": 1 / rate, **options}
    path = write_file(tmp_path / name, stamps=stamps, rate=rate, **options)
    info = probe(path)
    assert info.fps == rate
    assert info.frames == 100
    assert info.duration == pytest.approx(float(100 / rate), abs=2e-3)

    sampled = sample_video(path, fps=2.0)
    all_times, all_pixels = decode_everything(path)
    assert len(all_times) == 100
    expected = [round(k / 2 * rate) for k in range(int(np.ceil(2 * 100 / rate)))]
    assert sampled.source_frames.tolist() == expected == numbers(sampled)
    np.testing.assert_allclose(sampled.times, [float(all_times[n]) for n in expected], atol=1e-9)
    for number, frame in zip(expected, sampled.frames, strict=True):
        # Decoding from a keyframe on must give the very pixels that decoding from the beginning gives.
        np.testing.assert_array_equal(frame, all_pixels[number])
    assert sampled.notes == ()


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_variable_frame_rate(tmp_path, name):
    # Milliseconds: dense at first, then one frame every 0.7 s, then dense again.
    stamps = [0, 40, 80, 480, 520, 1220, 1920, 2620, 2640, 2660, 3000]
    path = write_file(
        tmp_path / name, stamps=stamps, time_base=Fraction(1, 1000), rate=Fraction(25), b_frames=2, gop=4
    )
    video = open_source(path)
    assert video.info.frame_times is not None
    np.testing.assert_allclose(clock_of(video.info).times, video.times, atol=1e-9)
    np.testing.assert_allclose(video.times, np.array(stamps) / 1000, atol=1e-9)
    assert video.info.fps == video.info.frames / Fraction(video.info.duration).limit_denominator(10**6)
    sampled = sample_video(path, fps=2.0)
    # wanted:     0.0 0.5 1.0 1.5 2.0 2.5 3.0
    # shown then:   0   3   4   5   6   6  10   (frame 6, at 1.92 s, is still shown at 2.5 s)
    assert sampled.source_frames.tolist() == [0, 3, 4, 5, 6, 10]
    assert numbers(sampled) == sampled.source_frames.tolist()
    np.testing.assert_allclose(sampled.times, np.array(stamps)[sampled.source_frames] / 1000, atol=1e-9)


def test_a_recorded_screen_is_sampled_as_it_was_shown(tmp_path):
    """Bursts at 30 fps and seconds of nothing between them: an average frame lasts 0.78 s."""
    burst = [0, 33, 66, 100, 133, 166]
    stamps = [start + step for start in (0, 6363, 12000) for step in burst]
    path = write_file(tmp_path / "s.mp4", stamps=stamps, time_base=Fraction(1, 1000), rate=Fraction(30))
    sampled = sample_video(path, fps=1.0)
    # Shown at 0, 1-6, 7-11 and 12 s; what comes at 6.363 s is not there at 6.0.
    assert sampled.source_frames.tolist() == [0, 5, 11, 12] == numbers(sampled)
    # What chooses frames without decoding them chooses the same.
    assert frames_to_sample(open_source(path), 1.0).tolist() == [0, 5, 11, 12]


def test_more_frames_than_any_file_has_are_refused(tmp_path):
    path = write_file(tmp_path / "v.mp4")
    assert len(sample_video(path, fps=1000.0)) == 20
    for fps in (1000.1, 1e9, float("inf"), float("nan"), 0.0, -1.0):
        with pytest.raises(InputError, match=r"positive .*1000"):
            sample_video(path, fps=fps)


def test_hidden_vp8_frames_are_not_counted(tmp_path):
    """VP8 can store frames that are decoded for reference and never shown (bit 4 of the first byte is 0)."""
    shown = write_file(tmp_path / "shown.webm", "libvpx", stamps=range(60))
    path = tmp_path / "hidden.webm"
    with av.open(str(shown)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            payload = bytearray(bytes(packet))
            if number in (10, 11, 30):
                payload[0] &= ~0x10
            copy = av.Packet(bytes(payload))
            copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
            copy.time_base, copy.is_keyframe, copy.stream = packet.time_base, packet.is_keyframe, stream
            target.mux(copy)
    sampled = sample_video(path, fps=30)
    assert probe(path).frames == 57 == len(sampled)
    assert numbers(sampled) == [n for n in range(60) if n not in (10, 11, 30)]
    assert sampled.notes == ()


def test_dropped_frame_shifts_no_later_time(tmp_path):
    stamps = [n for n in range(61) if n not in (7, 8, 31)]
    sampled = sample_video(write_file(tmp_path / "d.mp4", stamps=stamps), fps=1.0)
    assert sampled.times.tolist() == pytest.approx([0.0, 1.0, 2.0])
    assert sampled.source_frames.tolist() == [0, 28, 57] == numbers(sampled)


@pytest.mark.parametrize("name", ["s.mp4", "s.mkv", "s.ts"])
def test_time_zero_is_the_first_frame(tmp_path, name):
    path = write_file(tmp_path / name, stamps=range(150, 210), b_frames=2)
    sampled = sample_video(path)
    assert sampled.info.start_time >= 4.9
    assert sampled.times.tolist() == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=1e-3)
    assert sampled.source_frames.tolist() == [0, 15, 30, 45] == numbers(sampled)
    assert sampled.info.duration == pytest.approx(2.0, abs=2e-3)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_applied_to_pixels_and_size(tmp_path, turn):
    path = write_file(tmp_path / "r.mp4", stamps=range(16), size=(96, 32), turn=turn)
    info = probe(path)
    assert (info.width, info.height) == (96, 32)
    sampled = sample_video(path, fps=30)
    assert sampled.frames.shape == (16, 32, 96, 3)
    assert numbers(sampled) == list(range(16))


def test_mirrored_file_is_mirrored_back(tmp_path):
    path = tmp_path / "m.mp4"
    write_file(path, stamps=range(2))
    plain = sample_video(path, fps=30).frames[1]
    mirrored = tmp_path / "mirrored.mp4"
    with av.open(str(path)) as source, av.open(str(mirrored), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_matrix([-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    np.testing.assert_array_equal(sample_video(mirrored, fps=30).frames[1], plain[:, ::-1])


@pytest.mark.parametrize(
    ("codec", "size", "pixel_format"),
    [("libx264", (65, 49), "yuv444p"), ("mpeg4", (65, 49), "yuv420p"), ("libvpx-vp9", (65, 49), "yuv420p")],
)
def test_odd_sizes(tmp_path, codec, size, pixel_format):
    path = write_file(tmp_path / "o.mkv", codec, stamps=range(20), size=size, pixel_format=pixel_format)
    sampled = sample_video(path, fps=10)
    assert sampled.frames.shape == (7, 49, 65, 3)
    assert numbers(sampled) == [0, 3, 6, 9, 12, 15, 18]


@pytest.mark.parametrize("size", [(1600, 16), (16, 1600)])
def test_extreme_aspect_ratios(tmp_path, size):
    path = write_file(tmp_path / "e.mp4", stamps=range(31), size=size)
    asked = []
    sampled = sample_video(path, frame_size=lambda w, h: asked.append((w, h)) or (w // 2, h // 2))
    assert asked == [size]
    assert sampled.frames.shape == (3, size[1] // 2, size[0] // 2, 3)
    assert numbers(sampled) == [0, 15, 30]


def test_4k(tmp_path):
    path = write_file(
        tmp_path / "k.mp4", stamps=range(4), size=(3840, 2160), rate=Fraction(2), time_base=Fraction(1, 2),
        options={"preset": "ultrafast"},
    )  # fmt: skip
    sampled = sample_video(path, frame_size=lambda w, h: (w // 8, h // 8))
    assert (sampled.info.width, sampled.info.height) == (3840, 2160)
    assert sampled.frames.shape == (4, 270, 480, 3)
    assert numbers(sampled) == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", ["t.mp4", "t.webm", "t.mkv"])
def test_clips_under_a_second(tmp_path, name, count):
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    sampled = sample_video(write_file(tmp_path / name, codec, stamps=range(count)))
    assert sampled.times.tolist() == [0.0]
    assert sampled.source_frames.tolist() == [0] == numbers(sampled)
    assert sampled.info.fps == 30
    assert sampled.info.duration == pytest.approx(count / 30, abs=2e-3)


def test_one_frame_gif(tmp_path):
    path = write_file(tmp_path / "1.gif", "gif", [0], Fraction(1, 100), Fraction(10), pixel_format="rgb8")
    sampled = sample_video(path)
    assert sampled.info.frames == 1
    assert sampled.info.fps == 10
    assert numbers(sampled) == [0]


def test_more_samples_than_frames_gives_each_frame_once(tmp_path):
    path = write_file(tmp_path / "slow.mp4", stamps=range(8), rate=Fraction(1), time_base=Fraction(1))
    sampled = sample_video(path, fps=5.0)
    assert sampled.times.tolist() == [float(n) for n in range(8)]
    assert numbers(sampled) == list(range(8))


class TestSpan:
    def test_denser_inside_a_window(self, tmp_path):
        path = write_file(tmp_path / "w.mp4", stamps=range(240), b_frames=2)
        sampled = sample_video(path, fps=10, span=TimeSpan(6.0, 6.5))
        assert sampled.times.tolist() == pytest.approx([6.0, 6.1, 6.2, 6.3, 6.4])
        assert numbers(sampled) == [180, 183, 186, 189, 192] == sampled.source_frames.tolist()

    def test_it_does_not_decode_from_the_beginning(self, tmp_path):
        table = open_source(
            write_file(tmp_path / "w.mp4", stamps=range(240), options={"sc_threshold": "0"})
        ).packets
        assert table.ranges([185, 190]) == [(180, 190)]
        assert table.ranges([0, 13, 15, 100]) == [(0, 0), (12, 15), (96, 100)]
        assert table.ranges([11, 12]) == [(0, 12)]

    def test_it_is_cut_to_the_video(self, tmp_path):
        path = write_file(tmp_path / "w.mp4", stamps=range(60))
        assert sample_video(path, span=TimeSpan(-3.0, 0.9)).times.tolist() == [0.0, 0.5]
        assert sample_video(path, span=TimeSpan(1.5, 99.0)).times.tolist() == [1.5]
        assert sample_video(path, span=TimeSpan(1.2, 1.2)).source_frames.tolist() == [36]

    def test_outside_is_an_error(self, tmp_path):
        path = write_file(tmp_path / "w.mp4", stamps=range(60))
        with pytest.raises(InputError, match=r"2\.00 s"):
            sample_video(path, span=TimeSpan(2.0, 3.0))


@settings(max_examples=300, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 900), min_size=0, max_size=40),
    fps=st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0, 7.5]),
    half=st.integers(0, 200),
    first=st.integers(0, 3000),
    length=st.integers(0, 6000),
)
def test_choice_equals_brute_force(gaps, fps, half, first, length):
    """Exact rational arithmetic, frame by frame, against the vectorised choice; times are milliseconds."""
    stamps = np.cumsum([0, *gaps])
    start, end, tolerance = Fraction(first, 1000), Fraction(first + length, 1000), Fraction(half, 1000)
    expected: list[int] = []
    k = 0
    while k == 0 or start + k / Fraction(fps) < end:
        wanted = start + k / Fraction(fps)
        shown = 0
        for index, stamp in enumerate(stamps):
            if Fraction(int(stamp), 1000) < wanted + tolerance or (tolerance == 0 and index == 0):
                shown = index
        if not expected or expected[-1] != shown:
            expected.append(shown)
        k += 1
    wanted_all = wanted_times(float(start), float(end), fps)
    assert len(wanted_all) == k
    assert choose_frames(stamps / 1000, wanted_all, float(tolerance)).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 900), min_size=1, max_size=20),
    fps=st.sampled_from([0.5, 2.0, 7.5, 1000.0]),
    first=st.integers(0, 3000),
    length=st.integers(0, 6000),
)
def test_times_next_to_the_frames_choose_the_same(gaps, fps, first, length):
    """What is done where the wanted times would fill the memory, on videos where they do not."""
    times = np.cumsum([0, *gaps]) / 1000
    video = frames_in_memory(np.zeros((len(times), 2, 2, 3), np.uint8), times.tolist())
    chosen = frames_to_sample(video, fps, first / 1000, (first + length) / 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "MOST_WANTED", 0)
        assert frames_to_sample(video, fps, first / 1000, (first + length) / 1000).tolist() == chosen.tolist()


def test_a_picture_a_year_needs_the_memory_of_its_pictures():
    years = [365.25 * 86_400 * number for number in range(30)]
    video = frames_in_memory(np.zeros((30, 2, 2, 3), np.uint8), years)
    assert frames_to_sample(video, 1000.0).tolist() == list(range(30))
