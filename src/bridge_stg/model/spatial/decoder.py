"""Spatial decoder (Eq. 5): self-attention, attention to the bridge, deformable attention to the frame, FFN.

The bridge takes the place of OV-DINO's text: every layer reads the M bridging queries as keys and values.

Shapes: R rows, each a (frame, sentence) pair; T = Q + G queries of a row, candidates and then noised copies;
S keys; M bridging queries; C width, of H heads; L levels; 4 a box as cxcywh.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from bridge_stg.model.configuration import SpatialConfig
from bridge_stg.model.spatial.deformable import FrameDeformableAttention
from bridge_stg.model.spatial.encoder import SpatialFeatures
from bridge_stg.model.spatial.heads import MLP, FeedForward, SimilarityHead
from bridge_stg.model.spatial.tokens import sine_embedding

# Box logits stay within the inverse sigmoid of 1e-5, the usual clamp of DETR.
LOGIT_LIMIT = 11.51


@dataclass(frozen=True)
class SelfAttentionMasks:
    """What queries may see of one another: the first ``matching`` are candidates, the others noised copies.

    Masks are True where attention is allowed. Candidates see candidates under ``candidates`` (R, 1, 1, Q), None
    where all are real. ``copies``: what the copies see, the real candidates and their own group, (G, Q + G) or
    (R, 1, G, Q + G); None where there are no copies.
    """

    matching: int
    candidates: Tensor | None = None
    copies: Tensor | None = None

    @classmethod
    def of(cls, matching: int, valid: Tensor | None, own_group: Tensor | None) -> SelfAttentionMasks:
        """The masks of a row's queries.

        Args:
            valid: (R, matching) bool, False for a candidate that stands for no token; None where all do.
            own_group: (G, G) bool, True where two copies belong to the same group; None without copies.
        """
        candidates = None
        if valid is not None:
            # A row without any real query would have nothing to attend to; it then sees all, and its output is
            # unused.
            valid = valid | ~valid.any(-1, keepdim=True)
            candidates = valid[:, None, None, :]
        if own_group is None:
            return cls(matching, candidates)

        size = len(own_group)
        if candidates is None:
            return cls(matching, None, torch.cat([own_group.new_ones(size, matching), own_group], dim=1))
        seen = candidates.expand(-1, 1, size, -1)
        return cls(matching, candidates, torch.cat([seen, own_group.expand(len(seen), 1, -1, -1)], dim=-1))


class QueryAttention(nn.Module):
    """Multi-head attention through the fused kernels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.o_proj = nn.Linear(width, width)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, masks: SelfAttentionMasks | None = None
    ) -> Tensor:
        """Attention of (R, T, C) queries over (R, S, C) keys.

        With ``masks`` they are the same tokens, T = S. Candidates and copies are attended in two calls: the
        large one stays free of a mask, which the fused kernels do not take, and no T x T mask ever exists.
        """
        q_RHTc, k_RHSc, v_RHSc = (
            linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for linear, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        mask = None if masks is None else masks.candidates
        if masks is None or masks.copies is None:
            out_RHTc = F.scaled_dot_product_attention(q_RHTc, k_RHSc, v_RHSc, attn_mask=mask)
        else:
            first = F.scaled_dot_product_attention(
                q_RHTc[:, :, : masks.matching],
                k_RHSc[:, :, : masks.matching],
                v_RHSc[:, :, : masks.matching],
                attn_mask=mask,
            )
            rest = F.scaled_dot_product_attention(
                q_RHTc[:, :, masks.matching :], k_RHSc, v_RHSc, attn_mask=masks.copies
            )
            out_RHTc = torch.cat([first, rest], dim=2)
        return self.o_proj(out_RHTc.transpose(1, 2).flatten(2))


class SpatialDecoderLayer(GradientCheckpointingLayer):
    """One post-norm layer."""

    def __init__(self, config: SpatialConfig) -> None:
        super().__init__()
        width = config.d_model
        self.self_attn = QueryAttention(width, config.num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.bridge_attn = QueryAttention(width, config.num_heads)
        self.bridge_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = FrameDeformableAttention(config)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.mlp = FeedForward(width, config.ffn_dim)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(
        self,
        hidden: Tensor,
        position: Tensor,
        bridge: Tensor,
        references: Tensor,
        features: SpatialFeatures,
        rows: Tensor | None,
        masks: SelfAttentionMasks,
    ) -> Tensor:
        """(R, T, C) queries -> (R, T, C)."""
        # The queries among themselves.
        placed = hidden + position
        attended = self.self_attn(placed, placed, hidden, masks)
        hidden = self.self_attn_layer_norm(hidden + attended)

        # To the bridge.
        attended = self.bridge_attn(hidden + position, bridge, bridge)
        hidden = self.bridge_attn_layer_norm(hidden + attended)

        # To the frame.
        attended = self.encoder_attn(hidden + position, features.layers[-1], references, features.grid, rows)
        hidden = self.encoder_attn_layer_norm(hidden + attended)
        return self.final_layer_norm(hidden + self.mlp(hidden))


class SpatialDecoder(nn.Module):
    """Layers with iterative box refinement, and a box and an objectness head after each."""

    def __init__(self, config: SpatialConfig) -> None:
        super().__init__()
        width, depth = config.d_model, config.num_decoder_layers
        self.layers = nn.ModuleList([SpatialDecoderLayer(config) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.position_head = MLP(2 * width, width, width, 2)
        self.box_heads = nn.ModuleList([MLP(width, width, 4, 3) for _ in range(depth)])
        self.object_heads = nn.ModuleList([SimilarityHead(width) for _ in range(depth)])

    def forward(
        self,
        content: Tensor,
        start: Tensor,
        bridge: Tensor,
        mean_bridge: Tensor,
        features: SpatialFeatures,
        rows: Tensor,
        masks: SelfAttentionMasks,
    ) -> tuple[Tensor, Tensor]:
        """Decode R rows of T queries: ``masks.matching`` candidates, then the denoising ones.

        Boxes are refined in logit space. With look-forward-twice (DINO) the box of layer i+1 also trains
        layer i: its loss flows through the base that layer i produced, while the reference that places the
        attention is cut.

        Args:
            content: (R, T, C). start: (R, T, 4) box logits, detached. bridge: (R, M, C). mean_bridge: (R, C).
            rows: (R,) the frame of each row.

        Returns:
            boxes (Ldec, R, T, 4) cxcywh in [0, 1] and logits (Ldec, R, T), float32.
        """
        # From the frame to the padded maps, by which the attention reads.
        grid = features.grid
        extents_RL2 = grid.extents[rows] if len(grid.extents) > 1 else grid.extents
        scale_R1L4 = torch.cat([extents_RL2, extents_RL2], dim=-1)[:, None]

        base_RT4, hidden_RTC = start, content
        boxes, logits = [], []
        for layer, box_head, object_head in zip(self.layers, self.box_heads, self.object_heads, strict=True):
            # Where the queries stand.
            with torch.autocast(hidden_RTC.device.type, enabled=False):
                reference_RT4 = base_RT4.detach().sigmoid()
                sine = sine_embedding(reference_RT4[..., [1, 0, 2, 3]], hidden_RTC.shape[-1] // 2)
                placed_RTL4 = reference_RT4[:, :, None] * scale_R1L4
            position_RTC = self.position_head(sine.to(hidden_RTC.dtype))

            hidden_RTC = layer(hidden_RTC, position_RTC, bridge, placed_RTL4, features, rows, masks)

            # The box is moved from where it stood.
            normed_RTC = self.norm(hidden_RTC)
            step_RT4 = box_head(normed_RTC).float()
            boxes.append((base_RT4 + step_RT4).sigmoid())
            base_RT4 = (base_RT4.detach() + step_RT4).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
            logits.append(object_head(normed_RTC, mean_bridge))

        return torch.stack(boxes), torch.stack(logits)
