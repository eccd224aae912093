"""QGSL, the query-guided spatial localizer (section 3.3): frames and a bridge in, one box per frame out.

Shapes: U unique frames; R rows, each a (frame, sentence) pair; M bridging queries of width D; n selecting
layers of K candidates, Q = n * K; T = Q + G with the noised copies of training; C width; 4 a box as cxcywh.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from bridge_stg.losses.outputs import DenoisingOutput, SpatialOutput
from bridge_stg.model.configuration import BridgeSTGConfig, SpatialConfig
from bridge_stg.model.spatial.backbone import ImageBackbone
from bridge_stg.model.spatial.decoder import LOGIT_LIMIT, SelfAttentionMasks, SpatialDecoder
from bridge_stg.model.spatial.deformable import FrameDeformableAttention
from bridge_stg.model.spatial.denoising import denoising_queries
from bridge_stg.model.spatial.encoder import ImageEncoder, SpatialFeatures
from bridge_stg.model.spatial.heads import MLP, SimilarityHead
from bridge_stg.model.spatial.topk_selection import QuerySelector

# Objectness of a query that stands for no token: never the best, and without loss.
NO_TOKEN = -30.0


class SpatialLocalizer(nn.Module):
    """Swin, image encoder, query selection and spatial decoder.

    U unique frames are encoded once; R rows, one per (frame, sentence), share them through ``frame_index``.
    ``bridge_width`` is D, the width of the bridging queries.
    """

    def __init__(self, config: SpatialConfig, bridge_width: int) -> None:
        super().__init__()
        self.config = config
        width = config.d_model
        self.backbone = ImageBackbone(config)
        self.encoder = ImageEncoder(config)
        self.bridge_proj = nn.Linear(bridge_width, width)
        self.bridge_norm = nn.LayerNorm(width)
        self.selector = QuerySelector(config)
        self.candidate_box = MLP(width, width, 4, 3)
        self.candidate_object = SimilarityHead(width)
        self.decoder = SpatialDecoder(config)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise all parameters as Deformable DETR does; call it wherever no checkpoint fills them."""
        for module in self.backbone.swin.modules():
            self.backbone.swin._init_weights(module)

        swin = set(self.backbone.swin.modules())
        for module in self.modules():
            if module in swin:
                continue
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)

        nn.init.normal_(self.encoder.level_embed)
        for module in self.modules():
            if isinstance(module, (FrameDeformableAttention, SimilarityHead)):
                module.reset_parameters()

        # Refinement starts from the anchors themselves.
        for head in [self.candidate_box, *self.decoder.box_heads]:
            nn.init.zeros_(head.layers[-1].weight)
            nn.init.zeros_(head.layers[-1].bias)

    def encode(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> SpatialFeatures:
        """Backbone and encoder over unique frames.

        Args:
            pixel_values: (U, 3, H, W) float, normalised.
            pixel_mask: (U, H, W) bool, True on the frame, which lies in the top left corner; None when no frame
                is padded.
        """
        maps = self.backbone(pixel_values)
        size = (int(pixel_values.shape[-2]), int(pixel_values.shape[-1]))
        return self.encoder(maps, self.backbone.strides, size, pixel_mask)

    def first_boxes(self, content: Tensor, anchors: Tensor) -> Tensor:
        """What candidates (..., C) make of their ``anchors`` (..., 4) in [0, 1]: float32 logits of cxcywh."""
        return torch.logit(anchors) + self.candidate_box(content).float()

    def locate(
        self,
        features: SpatialFeatures,
        frame_index: Tensor,
        bridge: Tensor,
        targets: Tensor | None = None,
        has_target: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> SpatialOutput:
        """Select queries and decode R rows.

        Args:
            frame_index: (R,) long, the frame of each row. bridge: (R, M, D) bridging queries, M >= 1.
            targets: (R, 4) cxcywh in [0, 1] of the unpadded frame; in training they become denoising queries.
            has_target: (R,) bool; targets of rows where it is False are ignored.
            generator: of the noise and of the negative samples.
        """
        bridge_RMC = self.bridge_norm(self.bridge_proj(bridge))
        mean_bridge_RC = bridge_RMC.mean(dim=1)

        # Query selection (Eq. 4), and the first boxes of what it chose.
        chosen = self.selector(
            features, frame_index, mean_bridge_RC, self.training or targets is not None, generator
        )
        candidate_nRK4 = self.first_boxes(chosen.content, chosen.anchors)
        logits_nRK = self.candidate_object(chosen.content, mean_bridge_RC)

        # The queries of all selected layers are decoded together: (n, R, K, ...) -> (R, n * K, ...).
        content_RTC = chosen.content.transpose(0, 1).flatten(1, 2)
        start_RT4 = candidate_nRK4.detach().clamp(-LOGIT_LIMIT, LOGIT_LIMIT).transpose(0, 1).flatten(1, 2)
        valid_RQ = chosen.valid

        # Where a budget says so, only the best candidates of all layers are refined; never in training.
        budget = self.config.query_budget
        if budget is not None and budget < content_RTC.shape[1] and not self.training and targets is None:
            kept_RB = best_candidates(logits_nRK, chosen.valid, budget)
            content_RTC, start_RT4 = _take(content_RTC, kept_RB), _take(start_RT4, kept_RB)
            valid_RQ = None if valid_RQ is None else valid_RQ.gather(1, kept_RB)

        # In training noised copies of the target stand behind the matching queries.
        matching = content_RTC.shape[1]
        noised = None
        if self.training and targets is not None:
            if has_target is not None:
                targets = torch.where(has_target[:, None], targets.float(), 0.5)
            noised = denoising_queries(targets, self.config.num_denoising, self.config.box_noise, generator)
            copies_RGC = mean_bridge_RC[:, None].expand(-1, noised.boxes.shape[1], -1)
            content_RTC = torch.cat([content_RTC, copies_RGC.to(content_RTC.dtype)], dim=1)
            start_RT4 = torch.cat([start_RT4, torch.logit(noised.boxes, eps=1e-5)], dim=1)

        masks = SelfAttentionMasks.of(matching, valid_RQ, None if noised is None else noised.own_group)
        boxes_LRT4, logits_LRT = self.decoder(
            content_RTC, start_RT4, bridge_RMC, mean_bridge_RC, features, frame_index, masks
        )

        # The two kinds of queries part again; places without a token never win.
        denoising = None
        if noised is not None:
            denoising = DenoisingOutput(
                boxes_LRT4[:, :, matching:], logits_LRT[:, :, matching:], noised.positive
            )
            boxes_LRT4, logits_LRT = boxes_LRT4[:, :, :matching], logits_LRT[:, :, :matching]

        if valid_RQ is not None and chosen.valid is not None:
            logits_LRT = logits_LRT.masked_fill(~valid_RQ, NO_TOKEN)
            valid_nRK = chosen.valid.unflatten(1, (len(logits_nRK), -1)).transpose(0, 1)
            logits_nRK = logits_nRK.masked_fill(~valid_nRK, NO_TOKEN)

        return SpatialOutput(
            boxes=boxes_LRT4,
            logits=logits_LRT,
            encoder_boxes=candidate_nRK4.sigmoid(),
            encoder_logits=logits_nRK,
            similarity=chosen.similarity,
            valid=valid_RQ,
            denoising=denoising,
        )

    def forward(
        self,
        pixel_values: Tensor,
        pixel_mask: Tensor | None,
        frame_index: Tensor,
        bridge: Tensor,
        targets: Tensor | None = None,
        has_target: Tensor | None = None,
    ) -> SpatialOutput:
        """:meth:`encode` then :meth:`locate`."""
        features = self.encode(pixel_values, pixel_mask)
        return self.locate(features, frame_index, bridge, targets, has_target)


def best_candidates(logits_nRK: Tensor, valid_RT: Tensor | None, budget: int) -> Tensor:
    """Which of the n * K selected queries the heads hold for the best: (R, budget).

    By objectness and not by the cosine that selected them, which costs far more of the boxes (docs/log.md).

    Args:
        logits_nRK: objectness of the candidates. valid_RT: False for a query without a token, T = n * K.
    """
    score_RT = logits_nRK.transpose(0, 1).flatten(1)
    if valid_RT is not None:
        score_RT = score_RT.masked_fill(~valid_RT, float("-inf"))
    # In the order in which they were, so that a tie ends as it does without a budget.
    return score_RT.topk(budget, dim=1).indices.sort(dim=1).values


def _take(queries: Tensor, kept: Tensor) -> Tensor:
    """(R, Q, C) at ``kept`` (R, B) -> (R, B, C)."""
    return queries.gather(1, kept[..., None].expand(-1, -1, queries.shape[-1]))


def localizer_of(config: BridgeSTGConfig) -> SpatialLocalizer | None:
    """The spatial decoder of a model's configuration, with new weights; None for a baseline without one."""
    if config.objective != "bridge":
        return None
    return SpatialLocalizer(cast(SpatialConfig, config.spatial), config.mllm.text_config.hidden_size)
