"""Explicit Temporal Alignment (ETA, section 3.2): where a clip's timestamps go and which positions they get.

RoPE is rotary, so the "+ P" of Eq. 1 is an assignment of position ids (rows t, h, w). With H x W visual tokens
per frame pair and S timestamp tokens, pair i gets, with ``o`` the position after that of ``<|vision_start|>``:

    visual token (h, w)      -> o + (i, h, w)
    timestamp token s = 1..S -> o + (i, H + s, W + s)         Eq. 1

and the text that follows continues at the largest position so far plus one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FramingTokenIds:
    """The ids of the tokens that frame a clip."""

    vision_start: int
    vision_end: int
    video_pad: int


@dataclass(frozen=True)
class ClipLayout:
    """A clip as tokens.

    Shapes: ``input_ids`` (L,), ``positions`` (3, L), ``pair_ends`` (P,): the number of tokens up to and
    including pair i and its timestamp. ``next_position`` is where the text after the clip starts.
    """

    input_ids: Tensor
    positions: Tensor
    pair_ends: tuple[int, ...]
    next_position: int


def layout_clip(
    grid: tuple[int, int, int],
    timestamps: list[list[int]] | None,
    mode: str,
    start: int,
    tokens: FramingTokenIds,
) -> ClipLayout:
    """Lay out a clip (Eq. 2).

    Args:
        grid: (P, H, W) frame pairs and merged visual tokens per side.
        timestamps: P lists of token ids; None for an image, which has no time.
        mode: "virtual" (Eq. 1), "append" (same order, running text positions), "none", or "native" (stock
            Qwen3-VL: the timestamp before each pair, each pair in its own vision_start/vision_end).
        start: position id of the clip's first token.
        tokens: ids of the framing tokens.
    """
    if timestamps is not None and len(timestamps) != grid[0]:
        raise ValueError(f"{grid[0]} frame pairs need as many timestamps, got {len(timestamps)}")
    stamps = timestamps if timestamps is not None and mode != "none" else [[] for _ in range(grid[0])]
    if mode == "native":
        return _native_layout(grid, stamps, start, tokens)
    return _bridge_layout(grid, stamps, mode, start, tokens)


def visual_positions(start: int, time: int, height: int, width: int) -> Tensor:
    """Positions (3, H*W) of one pair's visual tokens in raster order: ``start + (time, h, w)``."""
    rows = torch.arange(height).repeat_interleave(width)
    columns = torch.arange(width).repeat(height)
    return torch.stack([torch.full_like(rows, time), rows, columns]) + start


def text_positions(start: int, length: int) -> Tensor:
    """Positions (3, length) of running text: all three rows count up together."""
    return (torch.arange(length) + start).expand(3, -1)


def _bridge_layout(
    grid: tuple[int, int, int], stamps: list[list[int]], mode: str, start: int, tokens: FramingTokenIds
) -> ClipLayout:
    """One vision_start ... vision_end around the whole clip, each timestamp after its pair."""
    _, height, width = grid
    ids = [tokens.vision_start]
    positions = [text_positions(start, 1)]
    origin = start + 1
    pair_ends = []
    for index, stamp in enumerate(stamps):
        ids += [tokens.video_pad] * (height * width) + stamp
        if mode == "append":
            positions.append(visual_positions(origin, 0, height, width))
            origin += max(height, width)
            positions.append(text_positions(origin, len(stamp)))
            origin += len(stamp)
        else:
            positions.append(visual_positions(origin, index, height, width))
            s = torch.arange(1, len(stamp) + 1)
            # Eq. 1, in the order t, h, w: outside the visual grid whatever the resolution.
            positions.append(torch.stack([torch.full_like(s, index), height + s, width + s]) + origin)
        pair_ends.append(len(ids))
    largest = int(torch.cat(positions, dim=1).max())
    ids.append(tokens.vision_end)
    positions.append(text_positions(largest + 1, 1))
    return ClipLayout(torch.tensor(ids), torch.cat(positions, dim=1), tuple(pair_ends), largest + 2)


def _native_layout(
    grid: tuple[int, int, int], stamps: list[list[int]], start: int, tokens: FramingTokenIds
) -> ClipLayout:
    """Stock Qwen3-VL: ``<t seconds><|vision_start|>...<|vision_end|>`` per pair, stock positions."""
    _, height, width = grid
    ids: list[int] = []
    positions: list[Tensor] = []
    pair_ends = []
    for stamp in stamps:
        ids += [*stamp, tokens.vision_start]
        positions.append(text_positions(start, len(stamp) + 1))
        start += len(stamp) + 1
        ids += [tokens.video_pad] * (height * width)
        positions.append(visual_positions(start, 0, height, width))
        start += max(height, width)
        ids.append(tokens.vision_end)
        positions.append(text_positions(start, 1))
        start += 1
        pair_ends.append(len(ids))
    return ClipLayout(torch.tensor(ids), torch.cat(positions, dim=1), tuple(pair_ends), start)
