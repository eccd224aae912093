"""Positive and negative frames: which may be drawn, how many, and always the same ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.training.data.positive_negative_frames import draw_frames
from bridge_stg.types import TimeSpan

TIMES = np.arange(10) / 2  # 0.0, 0.5, ..., 4.5


def everywhere(count: int = 10) -> np.ndarray:
    return np.ones(count, dtype=bool)


def test_enough_room_for_all() -> None:
    chosen = draw_frames(TIMES, everywhere(), TimeSpan(1.0, 2.5), 8, 99, seed=0)
    assert chosen.positive.tolist() == [2, 3, 4]
    assert chosen.negative.tolist() == [0, 1, 5, 6, 7, 8, 9]


def test_frames_inside_without_a_box_are_neither() -> None:
    has_box = everywhere()
    has_box[[2, 4]] = False
    chosen = draw_frames(TIMES, has_box, TimeSpan(1.0, 2.5), 8, 99, seed=0)
    assert chosen.positive.tolist() == [3]
    assert chosen.negative.tolist() == [0, 1, 5, 6, 7, 8, 9]


def test_no_frame_inside_has_a_box() -> None:
    chosen = draw_frames(TIMES, ~everywhere(), TimeSpan(1.0, 2.5), 8, 2, seed=0)
    assert chosen.positive.tolist() == []
    assert len(chosen.negative) == 2


@pytest.mark.parametrize(("box", "positive"), [(True, [3]), (False, [])])
def test_a_window_between_two_frames_is_the_nearest_one(box: bool, positive: list[int]) -> None:
    # The middle of [1.6, 1.7) is nearest to the frame at 1.5.
    chosen = draw_frames(TIMES, np.full(10, box), TimeSpan(1.6, 1.7), 8, 99, seed=0)
    assert chosen.positive.tolist() == positive
    assert chosen.negative.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_the_whole_clip_has_no_negatives() -> None:
    chosen = draw_frames(TIMES, everywhere(), TimeSpan(0.0, 5.0), 8, 2, seed=0)
    assert len(chosen.positive) == 8
    assert chosen.negative.tolist() == []


@pytest.mark.parametrize(("positive", "negative"), [(8, 2), (1, 1), (0, 3), (3, 0), (0, 0), (50, 50)])
def test_any_ratio(positive: int, negative: int) -> None:
    chosen = draw_frames(TIMES, everywhere(), TimeSpan(1.0, 3.0), positive, negative, seed=1)
    assert (len(chosen.positive), len(chosen.negative)) == (min(positive, 4), min(negative, 6))


@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.floats(-1, 21),
    st.floats(0, 10),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 2**31),
)
def test_what_may_be_drawn(
    has_box: list[bool], start: float, length: float, num_positive: int, num_negative: int, seed: int
) -> None:
    times = np.arange(len(has_box)) / 2
    window = TimeSpan(start, start + length)
    arguments = (times, np.array(has_box), window, num_positive, num_negative, seed)
    chosen = draw_frames(*arguments)
    positive, negative = chosen.positive.tolist(), chosen.negative.tolist()
    inside = {index for index, time in enumerate(times) if window.start <= time < window.end}
    stands_in = not inside
    if stands_in:
        inside = {min(range(len(times)), key=lambda i: abs(times[i] - (window.start + window.end) / 2))}
    assert positive == sorted(set(positive))
    assert negative == sorted(set(negative))
    assert all(index in inside and has_box[index] for index in positive)
    assert not inside & set(negative)
    assert len(positive) == min(num_positive, sum(has_box[index] for index in inside))
    assert len(negative) == min(num_negative, len(times) - len(inside))
    again = draw_frames(*arguments)
    assert (again.positive.tolist(), again.negative.tolist()) == (positive, negative)


def test_other_seeds_draw_other_frames_and_each_is_drawn() -> None:
    drawn = [draw_frames(TIMES, everywhere(), TimeSpan(1.0, 3.0), 2, 2, seed) for seed in range(60)]
    positives = {tuple(item.positive.tolist()) for item in drawn}
    assert len(positives) == 6  # all pairs out of four
    assert {frame for item in drawn for frame in item.negative.tolist()} == {0, 1, 6, 7, 8, 9}


def test_sentences_of_one_seed_share_frames() -> None:
    """The second window holds the first: what it draws there, the first draws too."""
    times, has_box = np.arange(60) / 2, everywhere(60)
    together, apart = 0, 0
    for seed in range(40):
        one, other = (
            draw_frames(times, has_box, TimeSpan(*span), 8, 2, number)
            for span, number in (((5.0, 20.0), seed), ((5.0, 25.0), seed))
        )
        # Of the longer window, the drawn frames that the shorter one has too are drawn there as well.
        inside = {frame for frame in other.positive.tolist() if times[frame] < 20.0}
        assert inside <= set(one.positive.tolist())
        alone = draw_frames(times, has_box, TimeSpan(5.0, 25.0), 8, 2, 1000 + seed)
        frames = {*one.positive.tolist(), *one.negative.tolist()}
        together += len(frames | {*other.positive.tolist(), *other.negative.tolist()})
        apart += len(frames | {*alone.positive.tolist(), *alone.negative.tolist()})
    same = draw_frames(times, has_box, TimeSpan(5.0, 20.0), 8, 2, 3)
    again = draw_frames(times, has_box, TimeSpan(5.0, 20.0), 8, 2, 3)
    assert same.positive.tolist() == again.positive.tolist()
    assert together < 0.8 * apart


def test_a_draw_is_uniform() -> None:
    counts = np.zeros(10)
    for seed in range(4000):
        chosen = draw_frames(TIMES, everywhere(), TimeSpan(1.0, 3.5), 2, 1, seed)
        counts[chosen.positive] += 1
        counts[chosen.negative] += 1
    # Two of five positives, one of five negatives; four standard deviations of a binomial.
    assert np.abs(counts[2:7] - 1600).max() < 4 * (4000 * 0.4 * 0.6) ** 0.5
    assert np.abs(counts[[0, 1, 7, 8, 9]] - 800).max() < 4 * (4000 * 0.2 * 0.8) ** 0.5
