"""The boxes of the parallel baseline: one per frame, without queries to match or objectness to learn.

Shapes: R rows, each a (frame, sentence) pair; 4 a box as cxcywh.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bridge_stg.losses.detection import box_losses, fill_absent
from bridge_stg.losses.objective import SpatialLosses
from bridge_stg.losses.weights import LossWeights


def frame_box_loss(
    boxes: Tensor, targets: Tensor, has_target: Tensor, weights: LossWeights, num_targets: Tensor | float
) -> SpatialLosses:
    """L_box and L_giou of Eq. 8 over R frames; the other terms are 0.

    Args:
        boxes: (R, 4) cxcywh in [0, 1], float32. targets: (R, 4), ignored where ``has_target`` (R,) is False.
        num_targets: frames with a target in the whole batch; divides both terms.
    """
    divisor = torch.as_tensor(num_targets, dtype=torch.float32, device=boxes.device).clamp(min=1.0)
    distance_R, overlap_R = box_losses(boxes, fill_absent(targets, has_target))
    box = (distance_R * has_target).sum() / divisor
    giou = (overlap_R * has_target).sum() / divisor
    zero = boxes.new_zeros(())
    return SpatialLosses(
        total=weights.box * box + weights.giou * giou,
        objectness=zero,
        box=box.detach(),
        giou=giou.detach(),
        denoising_objectness=zero,
        denoising_box=zero,
        denoising_giou=zero,
        alignment=zero,
    )
