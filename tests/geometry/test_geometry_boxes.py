"""Box formats and overlaps against arithmetic done one box at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.geometry.boxes import cxcywh_to_xyxy, paired_giou, xyxy_to_cxcywh

Box = tuple[float, float, float, float]


def boxes() -> st.SearchStrategy[Box]:
    """xyxy boxes on a grid of quarters, some of them without area."""
    quarter = st.integers(0, 40).map(lambda value: value / 4)
    return st.tuples(quarter, quarter, quarter, quarter).map(
        lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
    )


def brute_force(first: Box, second: Box) -> tuple[float, float]:
    """IoU and GIoU by counting the cells of the grid of quarters."""

    def cells(box: Box) -> set[tuple[int, int]]:
        return {
            (x, y)
            for x in range(round(box[0] * 4), round(box[2] * 4))
            for y in range(round(box[1] * 4), round(box[3] * 4))
        }

    one, two = cells(first), cells(second)
    hull = cells(
        (min(first[0], second[0]), min(first[1], second[1]), max(first[2], second[2]), max(first[3], second[3]))
    )
    union = len(one | two)
    iou = len(one & two) / union if union else 0.0
    return iou, iou - (len(hull) - union) / len(hull) if hull else iou


@given(boxes(), boxes())
def test_giou_counts_cells(first: Box, second: Box) -> None:
    iou, giou = paired_giou(torch.tensor(first), torch.tensor(second))
    assert (float(iou), float(giou)) == pytest.approx(brute_force(first, second), abs=1e-5)


@pytest.mark.parametrize(
    ("first", "second", "iou", "giou"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0, 1.0),
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7, 1 / 7 - 2 / 9),
        ((0, 0, 1, 1), (3, 0, 4, 1), 0.0, -0.5),
        ((1, 1, 1, 1), (1, 1, 1, 1), 0.0, 0.0),
    ],
)
def test_giou_by_hand(first: Box, second: Box, iou: float, giou: float) -> None:
    found = paired_giou(torch.tensor(first).float(), torch.tensor(second).float())
    assert [float(value) for value in found] == pytest.approx([iou, giou], abs=1e-6)


def test_giou_broadcasts() -> None:
    generator = torch.Generator().manual_seed(0)
    low, size = torch.rand(5, 1, 2, generator=generator), torch.rand(5, 1, 2, generator=generator)
    first = torch.cat([low, low + size], dim=-1)
    second = first.transpose(0, 1) + 0.1
    iou, giou = paired_giou(first, second)
    assert iou.shape == giou.shape == (5, 5)
    for i in range(5):
        for j in range(5):
            alone = paired_giou(first[i, 0], second[0, j])
            assert (float(iou[i, j]), float(giou[i, j])) == pytest.approx([float(v) for v in alone])


@given(boxes())
def test_formats_round_trip(box: Box) -> None:
    assert cxcywh_to_xyxy(xyxy_to_cxcywh(torch.tensor(box))).tolist() == list(box)


def test_formats_by_hand() -> None:
    assert xyxy_to_cxcywh(torch.tensor([1.0, 2.0, 5.0, 4.0])).tolist() == [3.0, 3.0, 4.0, 2.0]
