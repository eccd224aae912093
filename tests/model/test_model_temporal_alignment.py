"""ETA: token order and positions, against tables worked by hand and a slow reading of Eq. 1."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge_stg.model.temporal_alignment import FramingTokenIds, layout_clip

TOKENS = FramingTokenIds(vision_start=1, vision_end=2, video_pad=3)
Row = tuple[int, int, int, int]


def rows(grid: tuple[int, int, int], stamps: list[list[int]] | None, mode: str, start: int) -> list[Row]:
    """(token id, t, h, w) per token."""
    layout = layout_clip(grid, stamps, mode, start, TOKENS)
    assert layout.positions.shape == (3, len(layout.input_ids))
    return [tuple(row) for row in torch.cat([layout.input_ids[None], layout.positions]).T.tolist()]


# Two pairs of 2 x 3 visual tokens (the second may be an odd last frame, repeated), timestamps of two and three
# tokens, the clip at position 5.
GRID, STAMPS, START = (2, 2, 3), [[71, 72], [73, 74, 75]], 5

VIRTUAL = [
    (1, 5, 5, 5),
    *[(3, 6, 6, 6), (3, 6, 6, 7), (3, 6, 6, 8), (3, 6, 7, 6), (3, 6, 7, 7), (3, 6, 7, 8)],
    # Eq. 1: (i, H + s, W + s) with H = 2, W = 3, s = 1, 2 and the origin 6.
    *[(71, 6, 9, 10), (72, 6, 10, 11)],
    *[(3, 7, 6, 6), (3, 7, 6, 7), (3, 7, 6, 8), (3, 7, 7, 6), (3, 7, 7, 7), (3, 7, 7, 8)],
    *[(73, 7, 9, 10), (74, 7, 10, 11), (75, 7, 11, 12)],
    (2, 13, 13, 13),
]
APPEND = [
    (1, 5, 5, 5),
    *[(3, 6, 6, 6), (3, 6, 6, 7), (3, 6, 6, 8), (3, 6, 7, 6), (3, 6, 7, 7), (3, 6, 7, 8)],
    *[(71, 9, 9, 9), (72, 10, 10, 10)],
    *[(3, 11, 11, 11), (3, 11, 11, 12), (3, 11, 11, 13), (3, 11, 12, 11), (3, 11, 12, 12), (3, 11, 12, 13)],
    *[(73, 14, 14, 14), (74, 15, 15, 15), (75, 16, 16, 16)],
    (2, 17, 17, 17),
]
NONE = [
    (1, 5, 5, 5),
    *[(3, 6, 6, 6), (3, 6, 6, 7), (3, 6, 6, 8), (3, 6, 7, 6), (3, 6, 7, 7), (3, 6, 7, 8)],
    *[(3, 7, 6, 6), (3, 7, 6, 7), (3, 7, 6, 8), (3, 7, 7, 6), (3, 7, 7, 7), (3, 7, 7, 8)],
    (2, 9, 9, 9),
]
NATIVE = [
    *[(71, 5, 5, 5), (72, 6, 6, 6), (1, 7, 7, 7)],
    *[(3, 8, 8, 8), (3, 8, 8, 9), (3, 8, 8, 10), (3, 8, 9, 8), (3, 8, 9, 9), (3, 8, 9, 10)],
    (2, 11, 11, 11),
    *[(73, 12, 12, 12), (74, 13, 13, 13), (75, 14, 14, 14), (1, 15, 15, 15)],
    *[(3, 16, 16, 16), (3, 16, 16, 17), (3, 16, 16, 18), (3, 16, 17, 16), (3, 16, 17, 17), (3, 16, 17, 18)],
    (2, 19, 19, 19),
]


@pytest.mark.parametrize(
    ("mode", "table", "pair_ends", "next_position"),
    [
        ("virtual", VIRTUAL, (9, 18), 14),
        ("append", APPEND, (9, 18), 18),
        ("none", NONE, (7, 13), 10),
        ("native", NATIVE, (10, 21), 20),
    ],
)
def test_the_four_modes_by_hand(
    mode: str, table: list[Row], pair_ends: tuple[int, ...], next_position: int
) -> None:
    assert rows(GRID, STAMPS, mode, START) == table
    layout = layout_clip(GRID, STAMPS, mode, START, TOKENS)
    assert layout.pair_ends == pair_ends
    assert layout.next_position == next_position


@pytest.mark.parametrize("mode", ["virtual", "append", "none", "native"])
def test_an_image_is_one_pair_without_time(mode: str) -> None:
    expected = [(1, 0, 0, 0), (3, 1, 1, 1), (3, 1, 2, 1), (3, 1, 3, 1), (2, 4, 4, 4)]
    assert rows((1, 3, 1), None, mode, 0) == expected
    assert layout_clip((1, 3, 1), None, mode, 0, TOKENS).next_position == 5


def test_as_many_timestamps_as_pairs() -> None:
    with pytest.raises(ValueError, match=r"2 frame pairs.* 1"):
        layout_clip((2, 1, 1), [[7]], "virtual", 0, TOKENS)


def slow_virtual(grid: tuple[int, int, int], stamps: list[list[int]], start: int) -> list[Row]:
    """Eq. 1 token by token."""
    pairs, height, width = grid
    table = [(1, start, start, start)]
    origin = start + 1
    for i in range(pairs):
        for h in range(height):
            for w in range(width):
                table.append((3, origin + i, origin + h, origin + w))
        for s, token in enumerate(stamps[i], start=1):
            table.append((token, origin + i, origin + height + s, origin + width + s))
    largest = max(max(row[1:]) for row in table)
    return [*table, (2, largest + 1, largest + 1, largest + 1)]


@settings(max_examples=150, deadline=None)
@given(
    pairs=st.integers(1, 6),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    start=st.integers(0, 30),
    data=st.data(),
)
def test_random_grids_equal_a_direct_reading_of_eq_1(
    pairs: int, height: int, width: int, start: int, data: st.DataObject
) -> None:
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=pairs, max_size=pairs))
    stamps = [[100 * (i + 1) + s for s in range(length)] for i, length in enumerate(lengths)]
    table = rows((pairs, height, width), stamps, "virtual", start)
    assert table == slow_virtual((pairs, height, width), stamps, start)
    assert rows((pairs, height, width), stamps, "none", start) == slow_virtual(
        (pairs, height, width), [[] for _ in range(pairs)], start
    )
    # No two tokens of a pair share a place, and no timestamp lies on any pair's visual grid.
    assert len({row[1:] for row in table}) == len(table)
    # "append" writes the same tokens in the same order; "native" the same ones, each timestamp before its pair.
    assert [row[0] for row in rows((pairs, height, width), stamps, "append", start)] == [
        row[0] for row in table
    ]
    native = [row[0] for row in rows((pairs, height, width), stamps, "native", start)]
    per_pair = [[*stamp, 1, *[3] * (height * width), 2] for stamp in stamps]
    assert native == [token for pair in per_pair for token in pair]
