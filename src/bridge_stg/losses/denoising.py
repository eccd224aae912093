"""L_dn of Eq. 9: reconstruct the target from its noised copies, reject the heavily noised ones (DINO, 2022)."""

from __future__ import annotations

from torch import Tensor

from bridge_stg.losses.detection import DetectionSums, box_losses
from bridge_stg.losses.matching import focal_negative, focal_positive
from bridge_stg.losses.outputs import DenoisingOutput


def denoising_sums(output: DenoisingOutput, targets: Tensor, has_target: Tensor) -> DetectionSums:
    """Sums over rows with a target, per decoder layer, divided by the number G of groups.

    "Classification reconstruction" with a single class is objectness: 1 for the positive copies, 0 for the
    others.

    Args:
        targets: (R, 4) cxcywh. has_target: (R,) bool.
    """
    weight = has_target.to(output.boxes.dtype)
    positive = output.positive
    groups = positive.sum()
    loss = focal_negative(output.logits).where(~positive, focal_positive(output.logits))
    distance, overlap = box_losses(output.boxes, targets[:, None])

    def total(values: Tensor) -> Tensor:
        return (values.sum(-1) * weight).sum(-1) / groups

    return DetectionSums(objectness=total(loss), box=total(distance * positive), giou=total(overlap * positive))
