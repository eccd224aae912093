"""L_obj, L_box and L_giou of Eq. 8, for any stack of layers that predict one target among Q queries.

Shapes: L layers; R rows, each a (frame, sentence) pair; Q queries; 4 a box as cxcywh.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bridge_stg.geometry.boxes import cxcywh_to_xyxy, paired_giou
from bridge_stg.losses.matching import focal_negative, focal_positive, match


@dataclass(frozen=True)
class DetectionSums:
    """Sums over rows, one value per layer, each (L,); the caller divides by its counts."""

    objectness: Tensor
    box: Tensor
    giou: Tensor


def fill_absent(targets: Tensor, has_target: Tensor) -> Tensor:
    """Targets (R, 4) in float32, with a dummy box in rows without one (``has_target`` (R,) False).

    Such rows are computed like the others and get the weight zero: no data-dependent shape, no synchronisation.
    """
    dummy = targets.new_full((4,), 0.5, dtype=torch.float32)
    return torch.where(has_target[:, None], targets.float(), dummy)


def box_losses(boxes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """L1 over the four numbers and 1 - GIoU of paired cxcywh boxes, both without the last axis."""
    _, giou = paired_giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets))
    return (boxes - targets).abs().sum(-1), 1.0 - giou


def detection_sums(
    boxes: Tensor, logits: Tensor, targets: Tensor, has_target: Tensor, valid: Tensor | None = None
) -> DetectionSums:
    """Match each layer afresh, then sum the three terms over rows.

    In a row with a target the matched query is foreground and all others background; in a row without one every
    query is background and the box terms are zero (section 3.3, negative frames).

    Args:
        boxes: (L, R, Q, 4) cxcywh. logits: (L, R, Q). targets: (R, 4) cxcywh, finite also where unused.
        has_target: (R,) bool. valid: (R, Q) or (L, R, Q) bool, or None when every query is real.
    """
    index_LR = match(boxes, logits, targets, valid)
    weight_R = has_target.to(boxes.dtype)

    # The matched query is first counted as background with all others and then corrected: no one-hot labels.
    chosen_LR = logits.gather(-1, index_LR[..., None]).squeeze(-1)
    as_background_LR = focal_negative(logits).sum(-1)
    objectness_LR = as_background_LR + weight_R * (focal_positive(chosen_LR) - focal_negative(chosen_LR))

    # Its box, against the target.
    matched_LR4 = boxes.gather(2, index_LR[..., None, None].expand(-1, -1, 1, 4)).squeeze(2)
    distance_LR, overlap_LR = box_losses(matched_LR4, targets)
    return DetectionSums(
        objectness=objectness_LR.sum(-1),
        box=torch.sum(weight_R * distance_LR, dim=-1),
        giou=torch.sum(weight_R * overlap_LR, dim=-1),
    )
