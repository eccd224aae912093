"""L_dn of Eq. 9: reconstruct the target from its noised copies, reject the heavily noised ones (DINO, 2022).

Shapes: L decoder layers; R rows, each a (frame, sentence) pair; G noised copies, two for each group.
"""

from __future__ import annotations

from torch import Tensor

from bridge_stg.losses.detection import DetectionSums, box_losses
from bridge_stg.losses.matching import focal_negative, focal_positive
from bridge_stg.losses.outputs import DenoisingOutput


def denoising_sums(output: DenoisingOutput, targets: Tensor, has_target: Tensor) -> DetectionSums:
    """Sums over rows with a target, per decoder layer, divided by the number of groups.

    "Classification reconstruction" with a single class is objectness: 1 for the positive copies, 0 for the
    others.

    Args:
        targets: (R, 4) cxcywh. has_target: (R,) bool.
    """
    weight_R = has_target.to(output.boxes.dtype)
    positive_G = output.positive
    groups = positive_G.sum()

    # A copy is reconstructed or rejected, whichever group it is of.
    objectness_LRG = focal_negative(output.logits).where(~positive_G, focal_positive(output.logits))
    distance_LRG, overlap_LRG = box_losses(output.boxes, targets[:, None])

    def total(values_LRG: Tensor) -> Tensor:
        return (values_LRG.sum(-1) * weight_R).sum(-1) / groups

    return DetectionSums(
        objectness=total(objectness_LRG),
        box=total(distance_LRG * positive_G),
        giou=total(overlap_LRG * positive_G),
    )
