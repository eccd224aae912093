"""Which visual tokens belong to which clip: where tokens and vision are joined, each clip is checked.

Shape letters: B rows, L tokens, N visual tokens of all clips.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def check_places(visual_mask: Tensor, position_ids: Tensor, grids: Sequence[tuple[int, int, int]]) -> None:
    """Refuse clips that were encoded in another order than their places stand in.

    A row holds whole clips, and each frame pair stands at the positions of its own rows and columns. Equal
    totals alone would let two clips change places.

    Args:
        visual_mask: (B, L) places of visual tokens. position_ids: (4, B, L).
        grids: of each clip its frame pairs, and the rows and columns of one pair.

    Raises:
        ValueError: says which row does not fit.
    """
    rule = "input_ids and video_grid_thw must come from the same call of the processor, clips in the same order"
    row_ends = visual_mask.sum(1).cumsum(0).tolist()
    clip_ends = list(
        itertools.accumulate((pairs * rows * columns for pairs, rows, columns in grids), initial=0)
    )
    if row_ends[-1] != clip_ends[-1]:
        raise ValueError(f"{row_ends[-1]} places for visual tokens but {clip_ends[-1]} encoded: {rule}")
    for row, end in enumerate(row_ends):
        if end not in clip_ends:
            raise ValueError(f"the visual tokens of row {row} are not those of whole clips: {rule}")

    # Rows and columns of every token, counted from the first token of its pair.
    wanted_2N, first_N = _places_in_pairs(grids)
    found_2N = position_ids[2:, visual_mask]
    found_2N = found_2N - found_2N[:, first_N.to(found_2N.device)]
    wrong_N = (found_2N != wanted_2N.to(found_2N.device)).any(0)
    if bool(wrong_N.any()):
        token = int(wrong_N.nonzero()[0])
        row = next(row for row, end in enumerate(row_ends) if token < end)
        raise ValueError(f"row {row} has places for frames of another size than were encoded: {rule}")


def _places_in_pairs(grids: Sequence[tuple[int, int, int]]) -> tuple[Tensor, Tensor]:
    """Row and column (2, N) of each visual token in its pair, and the number (N,) of the pair's first token."""
    places, firsts, begin = [torch.zeros(2, 0, dtype=torch.long)], [torch.zeros(0, dtype=torch.long)], 0
    for pairs, rows, columns in grids:
        size = rows * columns
        one = torch.stack([torch.arange(rows).repeat_interleave(columns), torch.arange(columns).repeat(rows)])
        places.append(one.repeat(1, pairs))
        firsts.append((begin + torch.arange(pairs) * size).repeat_interleave(size))
        begin += pairs * size
    return torch.cat(places, dim=1), torch.cat(firsts)
