"""L_align, the image-query alignment of Eq. 6.

Shapes: R rows, each a (frame, sentence) pair; n selecting layers; K selected tokens (positives) and V others
(negatives) of a row and layer.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from bridge_stg.losses.outputs import SimilarityOutput

# The paper does not state its temperature.
TEMPERATURE = 0.07


def alignment_sum(
    similarity: SimilarityOutput,
    has_target: Tensor,
    valid: Tensor | None = None,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """Sum over rows with a target of the mean over layers and positives of Eq. 6, a scalar.

    -log(e^p / (e^p + sum_v e^v)) is written softplus(logsumexp(v) - p), which neither overflows nor cancels.
    A row that has no negative token contributes 0, the value of Eq. 6 with an empty sum.

    Args:
        has_target: (R,) bool. valid: (n, R, K) bool, False for positives that stand for no token, or None.
    """
    positives_nRK = similarity.positives / temperature
    negatives_nRV = similarity.negatives / temperature
    weight_R = has_target.to(positives_nRK.dtype)
    if negatives_nRV.shape[-1] == 0:
        return (positives_nRK * 0.0).sum()

    # A row without any negative would give logsumexp(-inf), whose gradient is NaN: keep it and weigh it 0.
    present_nR = None
    if similarity.negative_valid is not None:
        present_nR = similarity.negative_valid.any(-1)
        keep_nRV = similarity.negative_valid | ~present_nR[..., None]
        negatives_nRV = negatives_nRV.masked_fill(~keep_nRV, float("-inf"))

    loss_nRK = F.softplus(negatives_nRV.logsumexp(-1, keepdim=True) - positives_nRK)
    if present_nR is not None:
        loss_nRK = loss_nRK * present_nR[..., None]

    # Mean over what is real, sum over rows.
    if valid is None:
        loss_R = loss_nRK.mean(dim=(0, 2))
    else:
        loss_R = (loss_nRK * valid).sum(dim=(0, 2)) / valid.sum(dim=(0, 2)).clamp(min=1)
    return (loss_R * weight_R).sum()
