"""Box and interval IoU against values worked by hand and against counting unit squares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.metrics.overlap import box_iou
from bridge_stg.types.times import interval_iou

SQUARE = [0, 0, 10, 10]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0, 0, 10, 10], 1.0),
        ([5, 0, 15, 10], 50 / 150),
        ([0, 0, 10, 5], 0.5),
        ([2, 2, 4, 4], 4 / 100),
        ([10, 0, 20, 10], 0.0),  # a shared edge has no area
        ([30, 30, 40, 40], 0.0),
        ([5, 5, 5, 5], 0.0),  # a point inside
        ([-5, -5, 5, 5], 25 / 175),  # boxes may leave the image
    ],
)
def test_box_iou_by_hand(other: list[float], expected: float) -> None:
    assert box_iou(SQUARE, other) == pytest.approx(expected, abs=1e-12)
    assert box_iou(other, SQUARE) == pytest.approx(expected, abs=1e-12)


def test_two_boxes_without_area_score_zero_not_nan() -> None:
    assert box_iou([3, 3, 3, 3], [3, 3, 3, 3]) == 0.0


def test_box_iou_pairs_by_broadcasting() -> None:
    result = box_iou(np.array([SQUARE, [5, 0, 15, 10]]), SQUARE)
    assert result.shape == (2,)
    assert result == pytest.approx([1.0, 1 / 3])


corner = st.integers(0, 6)
grid_box = st.tuples(corner, corner, corner, corner).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)


def _cells(box: tuple[int, int, int, int]) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}


@given(grid_box, grid_box)
def test_box_iou_equals_counting_unit_squares(
    first: tuple[int, int, int, int], second: tuple[int, int, int, int]
) -> None:
    either = _cells(first) | _cells(second)
    expected = len(_cells(first) & _cells(second)) / len(either) if either else 0.0
    assert float(box_iou(first, second)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 4), (0, 4), 1.0),
        ((0, 4), (2, 6), 2 / 6),
        ((0, 4), (4, 6), 0.0),
        ((0, 4), (9, 12), 0.0),
        ((0, 10), (4, 5), 0.1),
        ((3, 3), (0, 10), 0.0),
        ((3, 3), (3, 3), 0.0),
        ((7, 8), (7, 8), 1.0),
    ],
)
def test_interval_iou_by_hand(first: tuple[int, int], second: tuple[int, int], expected: float) -> None:
    assert interval_iou(first, second) == pytest.approx(expected)
    assert interval_iou(second, first) == pytest.approx(expected)
