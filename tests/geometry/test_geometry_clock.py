"""Seconds and source frames, at a constant and at a variable rate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.geometry.clock import VideoClock, clock_of, shown_for
from bridge_stg.types import FrameTimes, SampledVideo, TimeSpan, VideoInfo

RATES = (Fraction(25), Fraction(30), Fraction(60), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(1, 3))
# Thirty frames in the first second, then sixty of which each is shown for 1/12 s: six seconds in all.
SLOWER = VideoClock(Fraction(15), 90, FrameTimes(Fraction(1, 90_000), ((30, 3000), (60, 7500))))


@pytest.mark.parametrize(
    ("frame", "fps", "second"),
    [
        (0, Fraction(30), 0.0),
        (45, Fraction(30), 1.5),
        (30, Fraction(30000, 1001), 1.001),
        (24, Fraction(24000, 1001), 1.001),
        (1, Fraction(1, 3), 3.0),
        (30, 15.0, 2.0),
    ],
)
def test_seconds_at_a_constant_rate(frame: int, fps: Fraction | float, second: float) -> None:
    assert VideoClock(fps, 100).time(frame) == second
    assert VideoClock(fps, 100).seconds([frame]).tolist() == [second]


@pytest.mark.parametrize(
    ("time", "frame"), [(-1.0, 0), (0.0, 0), (0.51, 15), (0.516, 15), (0.517, 16), (9.99, 299), (1e9, 299)]
)
def test_nearest_frame_at_30_fps(time: float, frame: int) -> None:
    assert VideoClock(Fraction(30), 300).nearest(time) == frame


@given(st.sampled_from(RATES), st.integers(0, 10**6), st.integers(0, 10**6))
def test_frames_to_seconds_and_back(fps: Fraction, start: int, length: int) -> None:
    clock = VideoClock(fps, start + length + 1)
    span = clock.span(start, start + length)
    assert clock.frames_in(span) == (start, start + length)
    assert clock.nearest(span.start) == start


@pytest.mark.parametrize(
    ("frame", "second"),
    [(0, 0.0), (15, 0.5), (30, 1.0), (31, 1 + 1 / 12), (42, 2.0), (90, 6.0)],
)
def test_seconds_at_a_variable_rate(frame: int, second: float) -> None:
    assert SLOWER.time(frame) == pytest.approx(second, abs=1e-9)
    assert SLOWER.position(second) == pytest.approx(frame, abs=1e-6)


@pytest.mark.parametrize(
    ("span", "frames"),
    [
        ((1.0, 2.0), (30, 42)),
        ((1.0, 2.03), (30, 42)),  # nearer to the end of frame 41 than to that of frame 42
        ((1.0, 2.0413), (30, 43)),  # half way, in four digits: outward
        ((1.0, 2.05), (30, 43)),
        ((0.95, 1.02), (28, 30)),
        ((5.0, 7.0), (78, 105)),  # a second past the end is 15 frames of the average rate
    ],
)
def test_windows_at_a_variable_rate(span: tuple[float, float], frames: tuple[int, int]) -> None:
    assert SLOWER.frames_in(TimeSpan(*span)) == frames


def test_what_a_variable_rate_says_of_its_frames() -> None:
    assert SLOWER.duration == 6.0
    assert SLOWER.nearest([-1.0, 0.99, 1.05, 99.0]).tolist() == [0, 30, 31, 89]
    np.testing.assert_allclose(SLOWER.shown([0, 29, 30, 89]), [1 / 30, 1 / 30, 1 / 12, 1 / 12])
    np.testing.assert_allclose(SLOWER.steady([0, 42]), [0.0, 2.0])
    assert VideoClock(30, 90).steady([0, 42]).tolist() == [0.0, 42.0]
    # By the average rate frame 30 comes at 2.0 s and not at 1.0 s.
    assert SLOWER.furthest(VideoClock(15, 90)) == pytest.approx(1.0)
    assert SLOWER.furthest(SLOWER) == 0.0


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=60), st.sampled_from([1000, 12_800, 90_000]))
def test_stamps_become_runs_and_come_back(ticks: list[int], base: int) -> None:
    stamps = np.cumsum([0, *ticks[:-1]])
    times = FrameTimes.from_stamps(stamps, Fraction(1, base), ticks[-1])
    assert FrameTimes.from_json(times.to_json()) == times
    clock = VideoClock(len(ticks) / (sum(ticks) / base), len(ticks), times)
    np.testing.assert_allclose(clock.times, stamps / base, rtol=1e-12)
    np.testing.assert_array_equal(clock.nearest(clock.times), np.arange(len(ticks)))
    np.testing.assert_allclose(clock.position(clock.times), np.arange(len(ticks)), atol=1e-6)
    for start in range(0, len(ticks), 7):
        assert clock.frames_in(clock.span(start, len(ticks))) == (start, len(ticks))


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"unit": "1/90"},
        {"unit": 1, "runs": [[1, 1]]},
        {"unit": "1/0", "runs": [[1, 1]]},
        {"unit": "soon", "runs": [[1, 1]]},
        {"unit": "0", "runs": [[1, 1]]},
        {"unit": "1/99999999999", "runs": [[1, 1]]},
        {"unit": "1/90", "runs": []},
        {"unit": "1/90", "runs": [[1, 0]]},
        {"unit": "1/90", "runs": [[True, 1]]},
        {"unit": "1/90", "runs": [[1, 1.5]]},
        {"unit": "1/90", "runs": [[1, 10**30]]},
        {"unit": "1/90", "runs": [[1, 1, 1]]},
    ],
)
def test_malformed_frame_times(value: object) -> None:
    with pytest.raises(ValueError, match=r"frame.times"):
        FrameTimes.from_json(value)


def test_the_clock_of_a_file_and_of_its_sampled_frames() -> None:
    info = VideoInfo("a.mp4", 8, 8, Fraction(15), 6.0, 90, frame_times=SLOWER.frame_times)
    assert clock_of(info) == SLOWER
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    sampled = SampledVideo(info, frames, np.array([0.5, 2.0]), np.array([15, 42]), 2.0)
    np.testing.assert_allclose(shown_for(sampled), [1 / 30, 1 / 12])
    with pytest.raises(ValueError, match="91 frames"):
        VideoInfo("a.mp4", 8, 8, Fraction(15), 6.0, 91, frame_times=SLOWER.frame_times)
