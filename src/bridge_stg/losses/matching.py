"""Which query answers for the target: bipartite matching with one target per row (App. B.3).

With a single target the Hungarian assignment is the query of least cost, so it needs no solver and no
transfer off the device.

Shapes: L layers; R rows, each a (frame, sentence) pair; Q queries.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bridge_stg.geometry.boxes import cxcywh_to_xyxy, paired_giou

# Focal loss (Lin et al. 2017), also the class part of the matching cost; the paper is silent, these are DETR's.
FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0

# Cost of class, L1 and GIoU; the paper is silent, these are DINO's and OV-DINO's.
COST_CLASS = 2.0
COST_BOX = 5.0
COST_GIOU = 2.0


def focal_positive(logits: Tensor) -> Tensor:
    """Elementwise focal loss against the label 1, same shape as ``logits``."""
    missing = torch.sigmoid(-logits)
    return FOCAL_ALPHA * missing**FOCAL_GAMMA * F.softplus(-logits)


def focal_negative(logits: Tensor) -> Tensor:
    """Elementwise focal loss against the label 0, same shape as ``logits``."""
    return (1.0 - FOCAL_ALPHA) * torch.sigmoid(logits) ** FOCAL_GAMMA * F.softplus(logits)


@torch.no_grad()
def matching_cost(boxes: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Cost of giving the row's target to each query.

    Args:
        boxes: (L, R, Q, 4) cxcywh. logits: (L, R, Q). targets: (R, 4) cxcywh.

    Returns:
        (L, R, Q) float32.
    """
    boxes, logits, targets = boxes.float(), logits.float(), targets.float()[:, None]
    cost_LRQ = COST_CLASS * (focal_positive(logits) - focal_negative(logits))
    cost_LRQ += COST_BOX * (boxes - targets).abs().sum(-1)

    _, giou_LRQ = paired_giou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets))
    return cost_LRQ - COST_GIOU * giou_LRQ


@torch.no_grad()
def match(boxes: Tensor, logits: Tensor, targets: Tensor, valid: Tensor | None = None) -> Tensor:
    """Which query is matched in each layer and row.

    Args:
        valid: (R, Q) or (L, R, Q) bool; False bars a query from matching.

    Returns:
        (L, R) indices.
    """
    cost_LRQ = matching_cost(boxes, logits, targets)
    if valid is not None:
        cost_LRQ = cost_LRQ.masked_fill(~valid, float("inf"))
    return cost_LRQ.argmin(dim=-1)
