"""Contrastive denoising queries (DINO, 2022), which Eq. 9 trains on and which inference never builds.

Shapes: R rows, each a (frame, sentence) pair; G noised copies, two for each of ``groups``; 4 a box.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bridge_stg.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh


@dataclass
class DenoisingQueries:
    """Groups of a lightly and a heavily noised copy of each row's target, in turn.

    Shapes: ``boxes`` (R, G, 4) cxcywh in [0, 1]; ``positive`` (G,) bool; ``own_group`` (G, G) bool, True
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
    copies, device = 2 * groups, targets.device
    shape = (len(targets), copies, 4)
    targets_R4 = targets.float()

    # The first copy of a group is noised lightly, the second heavily.
    positive_G = torch.arange(copies, device=device) % 2 == 0
    sign_RG4 = torch.randint(0, 2, shape, device=device, generator=generator) * 2 - 1
    strength_RG4 = torch.rand(shape, device=device, generator=generator) + (~positive_G)[:, None]
    half_R14 = (targets_R4[:, 2:] / 2).repeat(1, 2)[:, None]
    corners_RG4 = cxcywh_to_xyxy(targets_R4)[:, None] + sign_RG4 * strength_RG4 * half_R14 * scale
    boxes_RG4 = xyxy_to_cxcywh(corners_RG4.clamp(0.0, 1.0)).clamp(0.0, 1.0)

    group_G = torch.arange(copies, device=device) // 2
    return DenoisingQueries(boxes_RG4, positive_G, group_G[:, None] == group_G[None, :])
