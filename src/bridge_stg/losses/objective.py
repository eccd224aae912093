"""The spatial objective L_spatial (Eq. 8 and 9); its weights are in ``weights.py``.

Shapes: R rows, each a (frame, sentence) pair; n selecting layers; K candidates of a row and layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bridge_stg.losses.alignment import alignment_sum
from bridge_stg.losses.denoising import denoising_sums
from bridge_stg.losses.detection import detection_sums, fill_absent
from bridge_stg.losses.outputs import SpatialOutput
from bridge_stg.losses.weights import LossWeights


@dataclass(frozen=True)
class SpatialLosses:
    """The terms of Eq. 8 and 9 before weighting, and ``total``, which is L_spatial (not yet times lambda_2).

    ``objectness``, ``box`` and ``giou`` are summed over decoder layers, plus the mean over the selecting
    encoder layers; the ``denoising_*`` terms are summed over decoder layers. All scalars.
    """

    total: Tensor
    objectness: Tensor
    box: Tensor
    giou: Tensor
    denoising_objectness: Tensor
    denoising_box: Tensor
    denoising_giou: Tensor
    alignment: Tensor


def spatial_loss(
    output: SpatialOutput,
    targets: Tensor,
    has_target: Tensor,
    weights: LossWeights,
    num_targets: Tensor | float,
    num_rows: Tensor | float,
) -> SpatialLosses:
    """L_spatial of Eq. 8 over R rows.

    The counts come from the caller so that a batch split over accumulation steps or processes gives the same
    gradient as the whole batch.

    Args:
        targets: (R, 4) cxcywh in [0, 1]; ignored, and may hold anything, where ``has_target`` (R,) is False.
        num_targets: rows with a target in the whole batch; divides every term.
        num_rows: rows in the whole batch; divides the objectness only of a batch without any target.
    """
    device_type = output.boxes.device.type
    with torch.autocast(device_type, enabled=False):
        targets = fill_absent(targets, has_target)
        valid_nRK = None
        if output.valid is not None:
            valid_nRK = _split_layers(output.valid, len(output.encoder_boxes))
            has_target = has_target & output.valid.any(-1)

        # What the terms are divided by.
        found = torch.as_tensor(num_targets, dtype=torch.float32, device=targets.device)
        rows = torch.as_tensor(num_rows, dtype=torch.float32, device=targets.device)
        divisor = found.clamp(min=1.0)
        objectness_divisor = torch.where(found > 0, divisor, rows.clamp(min=1.0))

        # Eq. 8: each decoder layer, and the selecting encoder layers as one more.
        decoder = detection_sums(output.boxes, output.logits, targets, has_target, output.valid)
        encoder = detection_sums(output.encoder_boxes, output.encoder_logits, targets, has_target, valid_nRK)
        objectness = (decoder.objectness.sum() + encoder.objectness.mean()) / objectness_divisor
        box = (decoder.box.sum() + encoder.box.mean()) / divisor
        giou = (decoder.giou.sum() + encoder.giou.mean()) / divisor
        alignment = alignment_sum(output.similarity, has_target, valid_nRK) / divisor

        # Eq. 9, in training alone.
        zero = objectness.new_zeros(())
        dn_objectness, dn_box, dn_giou = zero, zero, zero
        if output.denoising is not None:
            noised = denoising_sums(output.denoising, targets, has_target)
            dn_objectness = noised.objectness.sum() / divisor
            dn_box = noised.box.sum() / divisor
            dn_giou = noised.giou.sum() / divisor

        # The weighted sum.
        denoising = (
            weights.denoising_objectness * dn_objectness
            + weights.denoising_box * dn_box
            + weights.denoising_giou * dn_giou
        )
        total = (
            weights.objectness * objectness
            + weights.box * box
            + weights.giou * giou
            + weights.denoising * denoising
            + weights.alignment * alignment
        )

    return SpatialLosses(
        total=total,
        objectness=objectness.detach(),
        box=box.detach(),
        giou=giou.detach(),
        denoising_objectness=dn_objectness.detach(),
        denoising_box=dn_box.detach(),
        denoising_giou=dn_giou.detach(),
        alignment=alignment.detach(),
    )


def _split_layers(valid: Tensor, layers: int) -> Tensor:
    """(R, n * K) -> (n, R, K)."""
    return valid.reshape(len(valid), layers, -1).transpose(0, 1)
