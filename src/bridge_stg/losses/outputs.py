"""What the spatial decoder hands to its losses and to its callers.

They stand beside the losses, which the model may import and which import nothing of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bridge_stg.geometry.boxes import cxcywh_to_xyxy


@dataclass
class SimilarityOutput:
    """Cosines of Eq. 6 between image tokens and the mean bridging query, float32.

    Shapes: ``positives`` (n, R, K), the selected tokens; ``negatives`` (n, R, V), tokens sampled uniformly
    from the unselected ones and shared by all positives of a row and layer, V may be 0; ``negative_valid``
    (n, R, V) is False where a row had fewer than V unselected tokens, None when every entry is real.
    """

    positives: Tensor
    negatives: Tensor
    negative_valid: Tensor | None = None


@dataclass
class DenoisingOutput:
    """Predictions for the noised ground-truth boxes, which exist only in training.

    Shapes: ``boxes`` (Ldec, R, G, 4) cxcywh; ``logits`` (Ldec, R, G); ``positive`` (G,) True for the lightly
    noised box of each group, False for the heavily noised one that must be rejected.
    """

    boxes: Tensor
    logits: Tensor
    positive: Tensor


@dataclass
class SpatialOutput:
    """Predictions for R rows; a row is one (frame, sentence) pair.

    All boxes are cxcywh in [0, 1] of the unpadded frame, all values float32.
    Shapes, with Q = n * K queries in the order (layer, candidate), of which a query budget keeps a part:
        boxes: (Ldec, R, Q, 4) after each decoder layer. logits: (Ldec, R, Q) objectness.
        encoder_boxes: (n, R, K, 4) and encoder_logits: (n, R, K), of the selected tokens, for each of the n
            selecting layers.
        valid: (R, Q) bool, False for a query that stands for no real token because the padded frame has fewer
            than K; None when all are real. The logits of such queries are -30, so they never win.
    """

    boxes: Tensor
    logits: Tensor
    encoder_boxes: Tensor
    encoder_logits: Tensor
    similarity: SimilarityOutput
    valid: Tensor | None = None
    denoising: DenoisingOutput | None = None

    def best(self) -> tuple[Tensor, Tensor]:
        """The query of highest objectness in the last layer.

        Returns:
            boxes (R, 4) xyxy in [0, 1] of the unpadded frame, and scores (R,).
        """
        logits_R, index_R = self.logits[-1].detach().max(dim=-1)
        boxes_R4 = self.boxes[-1].detach().gather(1, index_R[:, None, None].expand(-1, 1, 4)).squeeze(1)
        return cxcywh_to_xyxy(boxes_R4).clamp(0.0, 1.0), logits_R.sigmoid()
