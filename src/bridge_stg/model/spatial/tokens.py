"""Where the tokens of a feature pyramid lie in their frame.

Everything is measured in the unpadded frame, whose corners are (0, 0) and (1, 1). A cell's place follows
from its index and its stride in pixels, so the levels agree with one another and with the boxes also when
the frame is no multiple of the coarsest stride.

Shapes: B frames, or 1 where all are alike; N tokens over all L levels, n of one level; 2 is x, y or width,
height; 4 a box as cxcywh.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# DETR's two-stage rule: an anchor closer than this to the frame's edge offers no candidate.
ANCHOR_MARGIN = 0.01
# Anchors double with each level and must stay below 1 - ANCHOR_MARGIN.
LARGEST_ANCHOR = 0.95


@dataclass
class TokenGrid:
    """Geometry of N tokens; B is 1 when no frame is padded, else the number of frames.

    Shapes: ``shapes`` one (rows, columns) per level, ``shape_tensor`` the same (L, 2);
    ``centres`` (B, N, 2) x, y of the cells' centres; ``anchors`` (B, N, 4) cxcywh; ``extents`` (B, L, 2)
    width and height of the frame as a fraction of the padded feature map, by which a point in the frame is
    multiplied to find it in the map; ``valid`` (B, N) cells that see the frame, None when all do;
    ``selectable`` (B, N) cells that may become queries; ``num_selectable`` their number when no frame is
    padded, else None.
    """

    shapes: list[tuple[int, int]]
    shape_tensor: Tensor
    centres: Tensor
    anchors: Tensor
    extents: Tensor
    valid: Tensor | None
    selectable: Tensor
    num_selectable: int | None


def frame_sizes(pixel_mask: Tensor) -> Tensor:
    """(B, H, W) bool, True on the frame in the top left corner -> (B, 2) width and height in pixels."""
    width = pixel_mask.any(dim=1).sum(-1)
    height = pixel_mask.any(dim=2).sum(-1)
    return torch.stack([width, height], dim=-1).float()


def token_grid(
    shapes: list[tuple[int, int]],
    strides: list[int],
    sizes: Tensor,
    padded: bool,
    anchor_base: float,
    device: torch.device,
) -> TokenGrid:
    """Lay out the tokens of all levels for frames of ``sizes`` (B, 2) width and height in pixels.

    Anchors follow two-stage Deformable DETR: centred on the cell, ``anchor_base * 2^level`` wide and high. A
    cell that the frame covers only in part has its anchor in the middle of the covered part.
    """
    # An all-padding frame has size 0; its tokens are all invalid, and 1 keeps the divisions finite.
    sizes_B2 = sizes.clamp(min=1.0)
    centres, anchors, valid, extents = [], [], [], []

    for level, ((rows, columns), stride) in enumerate(zip(shapes, strides, strict=True)):
        # The corners of the cells in pixels; the far one is cut where the frame ends.
        row_n = torch.arange(rows, device=sizes.device).repeat_interleave(columns)
        column_n = torch.arange(columns, device=sizes.device).repeat(rows)
        low_1n2 = torch.stack([column_n, row_n], dim=-1)[None] * float(stride)
        high_Bn2 = torch.minimum(low_1n2 + stride, sizes_B2[:, None])

        centres.append((low_1n2 + stride / 2) / sizes_B2[:, None])
        middle_Bn2 = ((low_1n2 + high_Bn2) / 2) / sizes_B2[:, None]
        side = min(anchor_base * 2.0**level, LARGEST_ANCHOR)
        anchors.append(torch.cat([middle_Bn2, torch.full_like(middle_Bn2, side)], dim=-1))

        valid.append((low_1n2 < sizes[:, None]).all(-1))
        extents.append(sizes_B2 / torch.tensor([columns * stride, rows * stride], device=sizes.device))

    # Anchors at the very edge are not selected.
    anchors_BN4 = torch.cat(anchors, dim=1)
    inside_BN = torch.cat(valid, dim=1)
    centre_BN2 = anchors_BN4[..., :2]
    selectable_BN = inside_BN & ((centre_BN2 > ANCHOR_MARGIN) & (centre_BN2 < 1 - ANCHOR_MARGIN)).all(-1)

    return TokenGrid(
        shapes=shapes,
        shape_tensor=torch.tensor(shapes, device=device),
        centres=torch.cat(centres, dim=1).to(device),
        anchors=anchors_BN4.clamp(1e-4, 1 - 1e-4).to(device),
        extents=torch.stack(extents, dim=1).to(device),
        valid=inside_BN.to(device) if padded else None,
        selectable=selectable_BN.to(device),
        num_selectable=None if padded else int(selectable_BN.sum()),
    )


def sine_embedding(coordinates: Tensor, features: int, temperature: float = 10000.0) -> Tensor:
    """Sines and cosines of coordinates in [0, 1], as in DETR: (..., k) -> (..., k * features)."""
    exponent = torch.arange(features // 2, device=coordinates.device, dtype=torch.float32) * (2.0 / features)
    frequency = 2 * math.pi / temperature**exponent
    angle = coordinates.float()[..., None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-3)
