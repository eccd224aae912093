"""Contrastive denoising queries (DINO, 2022), which Eq. 9 trains on and which inference never builds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bridge_stg.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh


@dataclass
class DenoisingQueries:
    """G groups of a lightly and a heavily noised copy of each row's target, in turn.

    Shapes: ``boxes`` (R, 2G, 4) cxcywh in [0, 1]; ``positive`` (2G,) bool; ``own_group`` (2G, 2G) bool, True
    where two copies belong to the same group.
    """

    boxes: Tensor
    positive: Tensor
    own_group: Tensor


def denoising_queries(
    targets: Tensor, groups: int, scale: float, generator: torch.Generator | None = None
) -> DenoisingQueries:
    """Noise each corner coordinate by r * scale times half the box's size, in a random direction.

    r is uniform in [0, 1) for the positive copy and in [1, 2) for the negative one; corners stay inside the
    frame. A negative copy may turn inside out; its size is then 0, as in DINO after the inverse sigmoid.

    Args:
        targets: (R, 4) cxcywh in [0, 1].
    """
    rows = len(targets)
    shape = (rows, 2 * groups, 4)
    device = targets.device
    positive = torch.arange(2 * groups, device=device) % 2 == 0
    targets = targets.float()
    sign = torch.randint(0, 2, shape, device=device, generator=generator) * 2 - 1
    strength = torch.rand(shape, device=device, generator=generator) + (~positive)[:, None]
    half = (targets[:, 2:] / 2).repeat(1, 2)[:, None]
    corners = cxcywh_to_xyxy(targets)[:, None] + sign * strength * half * scale
    boxes = xyxy_to_cxcywh(corners.clamp(0.0, 1.0)).clamp(0.0, 1.0)
    group = torch.arange(2 * groups, device=device) // 2
    return DenoisingQueries(boxes, positive, group[:, None] == group[None, :])
