"""Sampled frames in a window, in pairs, and boxes between them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.geometry.spans import boxes_at, frame_pairs, pair_times, sampled_in_span
from bridge_stg.types import TimeSpan


@pytest.mark.parametrize(
    ("span", "inside"),
    [
        ((0.0, 2.0), [0, 1, 2, 3]),
        ((0.5, 1.0), [1]),  # half-open: the frame at 1.0 is outside
        ((0.4, 1.1), [1, 2]),
        ((0.6, 0.7), [1]),  # between two frames: the one nearest to the middle, 0.65
        ((0.8, 0.9), [2]),
        ((0.7, 0.8), [1]),  # 0.75 is as near to 0.5 as to 1.0: the earlier one
        ((1.6, 9.0), [3]),  # after the last frame
        ((5.0, 9.0), [3]),
        ((1.0, 1.0), [2]),  # an empty window has a middle
    ],
)
def test_sampled_in_span(span: tuple[float, float], inside: list[int]) -> None:
    found = sampled_in_span(np.array([0.0, 0.5, 1.0, 1.5]), TimeSpan(*span))
    assert found.tolist() == inside
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    ("span", "found"),
    [
        ((3.0, 4.0), [0]),
        ((6.0, 8.0), [0]),  # nearer to the frame at 10, which nobody has seen by then
        ((9.0, 12.0), [1]),  # it appears inside
        ((11.0, 13.0), [1]),
        ((16.0, 18.0), [2]),  # the later of two that a mean rate takes for shown
        ((25.0, 26.0), [2]),
    ],
)
def test_of_a_slow_source_the_frame_on_screen_is_taken(span: tuple[float, float], found: list[int]) -> None:
    times = np.array([0.0, 10.0, 14.5])
    assert sampled_in_span(times, TimeSpan(*span), shown=10.0).tolist() == found


def test_each_frame_may_be_shown_for_its_own_time() -> None:
    times, shown = np.array([0.0, 12.0]), np.array([11.0, 0.04])
    assert sampled_in_span(times, TimeSpan(8.0, 10.0), shown=shown).tolist() == [0]
    assert sampled_in_span(times, TimeSpan(8.0, 10.0), shown=0.5).tolist() == [1]


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=30, unique=True),
    st.floats(0, 100),
    st.floats(0, 100),
)
def test_sampled_in_span_is_inside_or_one_nearest(times: list[float], one: float, other: float) -> None:
    shown, span = np.array(sorted(times)), TimeSpan(min(one, other), max(one, other))
    found = sampled_in_span(shown, span)
    inside = [index for index, time in enumerate(shown) if span.start <= time < span.end]
    if inside:
        assert found.tolist() == inside
    else:
        middle = (span.start + span.end) / 2
        assert len(found) == 1
        assert abs(shown[found[0]] - middle) == min(abs(shown - middle))


@pytest.mark.parametrize(
    ("count", "pairs"),
    [(1, [[0, 0]]), (2, [[0, 1]]), (5, [[0, 1], [2, 3], [4, 4]]), (6, [[0, 1], [2, 3], [4, 5]])],
)
def test_frame_pairs(count: int, pairs: list[list[int]]) -> None:
    assert frame_pairs(count).tolist() == pairs


def test_pair_times_of_uneven_frames() -> None:
    assert pair_times(np.array([0.0, 0.1, 1.0, 3.0, 3.5])).tolist() == [0.05, 2.0, 3.5]


def test_boxes_between_are_linear_and_outside_hold() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 20.0], [10.0, 4.0, 30.0, 20.0]])
    found = boxes_at(np.array([1.0, 3.0]), boxes, np.array([0.0, 1.0, 1.5, 2.0, 3.0, 9.0]))
    assert found.tolist() == [
        [0, 0, 10, 20],
        [0, 0, 10, 20],
        [2.5, 1, 15, 20],
        [5, 2, 20, 20],
        [10, 4, 30, 20],
        [10, 4, 30, 20],
    ]


def test_one_box_holds_everywhere() -> None:
    found = boxes_at(np.array([2.0]), np.array([[1.0, 2.0, 3.0, 4.0]]), np.array([0.0, 5.0]))
    assert found.tolist() == [[1, 2, 3, 4], [1, 2, 3, 4]]


def test_no_boxes_is_an_error() -> None:
    with pytest.raises(ValueError, match="no boxes"):
        boxes_at(np.zeros(0), np.zeros((0, 4)), np.array([1.0]))
