"""L_align, the image-query alignment of Eq. 6."""

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
    positives, negatives = similarity.positives / temperature, similarity.negatives / temperature
    weight = has_target.to(positives.dtype)
    if negatives.shape[-1] == 0:
        return (positives * 0.0).sum()
    present = None
    if similarity.negative_valid is not None:
        present = similarity.negative_valid.any(-1)
        # A row without any negative would give logsumexp(-inf), whose gradient is NaN: keep it and weigh it 0.
        keep = similarity.negative_valid | ~present[..., None]
        negatives = negatives.masked_fill(~keep, float("-inf"))
    loss = F.softplus(negatives.logsumexp(-1, keepdim=True) - positives)
    if present is not None:
        loss = loss * present[..., None]
    if valid is None:
        per_row = loss.mean(dim=(0, 2))
    else:
        per_row = (loss * valid).sum(dim=(0, 2)) / valid.sum(dim=(0, 2)).clamp(min=1)
    return (per_row * weight).sum()
