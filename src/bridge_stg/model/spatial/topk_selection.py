"""Multi-layer interactive queries (Eq. 4): the K tokens of each encoder layer most similar to the bridge.

Shapes: U unique frames; R rows, each a (frame, sentence) pair; n selecting layers; N tokens of a frame over all
levels; K selected of them; V negatives; C width; Q = n * K queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bridge_stg.losses.outputs import SimilarityOutput
from bridge_stg.model.configuration import SpatialConfig
from bridge_stg.model.spatial.encoder import SpatialFeatures

# |N^l| of Eq. 6, which the paper does not state.
MAX_NEGATIVES = 256


@dataclass
class SelectedQueries:
    """Candidates of R rows, in the order (layer, candidate), Q = n * K.

    Shapes: ``content`` (n, R, K, C) with gradient; ``anchors`` (n, R, K, 4) cxcywh; ``index`` (n, R, K) tokens;
    ``valid`` (R, Q) bool or None when all are real; ``similarity`` the cosines that Eq. 6 needs.
    """

    content: Tensor
    anchors: Tensor
    index: Tensor
    valid: Tensor | None
    similarity: SimilarityOutput


class QuerySelector(nn.Module):
    """Scores all levels of a layer jointly and takes the best K.

    The encoder's and the bridge's spaces differ in width, so Eq. 4 compares the projected mean bridging
    query with LayerNorm(W_l E^l), W_l one linear map per layer; the same vectors become the queries and
    enter Eq. 6.
    """

    def __init__(self, config: SpatialConfig) -> None:
        super().__init__()
        self.topk = config.topk
        width, layers = config.d_model, range(config.num_selecting_layers)
        self.projections = nn.ModuleList([nn.Linear(width, width) for _ in layers])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in layers])

    def candidates(self, features: SpatialFeatures) -> Tensor:
        """LayerNorm(W_l E^l) of the layers that are chosen from, (n, U, N, C)."""
        layers = features.layers[-len(self.projections) :]
        return torch.stack(
            [
                norm(linear(item))
                for norm, linear, item in zip(self.norms, self.projections, layers, strict=True)
            ]
        )

    def forward(
        self,
        features: SpatialFeatures,
        frame_index: Tensor,
        mean_bridge: Tensor,
        sample_negatives: bool,
        generator: torch.Generator | None = None,
    ) -> SelectedQueries:
        """Select for R rows; ``mean_bridge`` (R, C) is the mean projected bridging query of each."""
        # How similar every token of a row's frame is to its mean bridging query.
        grid = features.grid
        tokens_nUNC = self.candidates(features)
        with torch.autocast(tokens_nUNC.device.type, enabled=False):
            cosine_nRN = row_cosine(tokens_nUNC, mean_bridge, frame_index)
        selectable_RN = grid.selectable
        if len(selectable_RN) > 1:
            selectable_RN = selectable_RN[frame_index]

        # Without padding the number of candidates is known and every one of the K is real.
        available = tokens_nUNC.shape[2] if grid.num_selectable is None else grid.num_selectable
        count = min(self.topk, available)
        with torch.no_grad():
            score_nRN = cosine_nRN.masked_fill(~selectable_RN, float("-inf"))
            best_nRK, index_nRK = score_nRN.topk(count, dim=-1)
        valid_RQ = None
        if grid.num_selectable is None:
            valid_RQ = best_nRK.isfinite().transpose(0, 1).flatten(1)

        spare = available - count if sample_negatives else 0
        return SelectedQueries(
            content=_gather_tokens(tokens_nUNC, frame_index, index_nRK),
            anchors=_gather_anchors(grid.anchors, frame_index, index_nRK),
            index=index_nRK,
            valid=valid_RQ,
            similarity=self.sampled_similarity(
                cosine_nRN, index_nRK, selectable_RN, spare, valid_RQ, generator
            ),
        )

    def sampled_similarity(
        self,
        cosine_nRN: Tensor,
        index_nRK: Tensor,
        selectable_RN: Tensor,
        spare: int,
        valid_RQ: Tensor | None,
        generator: torch.Generator | None,
    ) -> SimilarityOutput:
        """Cosines of the selected tokens and of up to ``MAX_NEGATIVES`` others, sampled without replacement."""
        positives_nRK = cosine_nRN.gather(-1, index_nRK)
        number = min(MAX_NEGATIVES, spare)
        if number == 0:
            return SimilarityOutput(positives_nRK, cosine_nRN[..., :0])

        # Every token draws a lot; those that are selected, or cannot be, draw one that never wins.
        with torch.no_grad():
            lots_nRN = torch.rand(cosine_nRN.shape, device=cosine_nRN.device, generator=generator)
            lots_nRN = lots_nRN.masked_fill(~selectable_RN, -1.0).scatter(-1, index_nRK, -1.0)
            drawn_nRV, negative_nRV = lots_nRN.topk(number, dim=-1)
        negative_valid = drawn_nRV >= 0 if valid_RQ is not None else None
        return SimilarityOutput(positives_nRK, cosine_nRN.gather(-1, negative_nRV), negative_valid)


def row_cosine(tokens: Tensor, mean_bridge: Tensor, frame_index: Tensor) -> Tensor:
    """Cosine between every token of a row's frame and the row's mean bridging query, float32.

    All frames meet the queries of all rows in one product, from which each row takes its own: far less memory
    traffic than copying a frame's tokens once per row as long as there are fewer rows than channels.

    Args:
        tokens: (n, U, N, C). mean_bridge: (R, C). frame_index: (R,).

    Returns:
        (n, R, N).
    """
    direction_RC = F.normalize(mean_bridge.float(), dim=-1, eps=1e-6)
    tokens_nUNC = F.normalize(tokens.float(), dim=-1, eps=1e-6)
    product_nURN = torch.einsum("nutc,rc->nurt", tokens_nUNC, direction_RC)
    return product_nURN[:, frame_index, torch.arange(len(frame_index), device=frame_index.device)]


def _gather_tokens(tokens: Tensor, frame_index: Tensor, index: Tensor) -> Tensor:
    """(n, U, N, C) at ``index`` (n, R, K) -> (n, R, K, C), copying only what is selected."""
    layers, frames, total, width = tokens.shape
    layer = torch.arange(layers, device=index.device)[:, None, None]
    flat = (layer * frames + frame_index[None, :, None]) * total + index
    return tokens.reshape(-1, width).index_select(0, flat.flatten()).view(*index.shape, width)


def _gather_anchors(anchors: Tensor, frame_index: Tensor, index: Tensor) -> Tensor:
    """(1 or U, N, 4) at ``index`` (n, R, K) -> (n, R, K, 4)."""
    frame = frame_index[None, :, None] if len(anchors) > 1 else torch.zeros_like(index[:1, :1, :1])
    return anchors[frame, index]
