"""Spatial decoder (Eq. 5): self-attention, attention to the bridge, deformable attention to the frame, FFN.

The bridge takes the place of OV-DINO's text: every layer reads the M bridging queries as keys and values.

Shapes: R rows, each a (frame, sentence) pair; T = Q + G queries of a row, candidates and then noised copies;
S keys; M bridging queries; C width, of H heads; L levels; 4 a box as cxcywh.
"""

from __future__ import annotations

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
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        matching: int | None = None,
        denoising_mask: Tensor | None = None,
    ) -> Tensor:
        """Attention of (R, T, C) queries over (R, S, C) keys.

        With ``matching`` the first that many of T = S tokens see only one another, under ``mask``; the rest see
        what ``denoising_mask`` (..., T - matching, T) allows. The split keeps the large call free of a mask,
        which the fused kernels do not take, and no T x T mask ever exists.
        """
        q_RHTc, k_RHSc, v_RHSc = (
            linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for linear, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        if denoising_mask is None:
            out_RHTc = F.scaled_dot_product_attention(q_RHTc, k_RHSc, v_RHSc, attn_mask=mask)
        else:
            first = F.scaled_dot_product_attention(
                q_RHTc[:, :, :matching], k_RHSc[:, :, :matching], v_RHSc[:, :, :matching], attn_mask=mask
            )
            rest = F.scaled_dot_product_attention(
                q_RHTc[:, :, matching:], k_RHSc, v_RHSc, attn_mask=denoising_mask
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
        matching: int,
        key_mask: Tensor | None,
        denoising_mask: Tensor | None,
    ) -> Tensor:
        """(R, T, C) queries -> (R, T, C)."""
        # The queries among themselves.
        placed = hidden + position
        attended = self.self_attn(placed, placed, hidden, key_mask, matching, denoising_mask)
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
        anchor: Tensor,
        features: SpatialFeatures,
        rows: Tensor,
        matching: int,
        valid: Tensor | None,
        own_group: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Decode R rows of T queries: ``matching`` candidates, then the denoising ones.

        Boxes are refined in logit space. With look-forward-twice (DINO) the box of layer i+1 also trains
        layer i: its loss flows through the base that layer i produced, while the reference that places the
        attention is cut.

        Args:
            content: (R, T, C). start: (R, T, 4) box logits, detached. bridge: (R, M, C). anchor: (R, C).
            rows: (R,) the frame of each row. valid: (R, matching) bool or None.
            own_group: (T - matching, T - matching) bool, or None without denoising queries.

        Returns:
            boxes (Ldec, R, T, 4) cxcywh in [0, 1] and logits (Ldec, R, T), float32.
        """
        # From the frame to the padded maps, by which the attention reads.
        grid = features.grid
        extents_RL2 = grid.extents[rows] if len(grid.extents) > 1 else grid.extents
        scale_R1L4 = torch.cat([extents_RL2, extents_RL2], dim=-1)[:, None]
        key_mask, denoising_mask = attention_masks(matching, valid, own_group)

        base_RT4, hidden_RTC = start, content
        boxes, logits = [], []
        for layer, box_head, object_head in zip(self.layers, self.box_heads, self.object_heads, strict=True):
            # Where the queries stand.
            with torch.autocast(hidden_RTC.device.type, enabled=False):
                reference_RT4 = base_RT4.detach().sigmoid()
                sine = sine_embedding(reference_RT4[..., [1, 0, 2, 3]], hidden_RTC.shape[-1] // 2)
                placed_RTL4 = reference_RT4[:, :, None] * scale_R1L4
            position_RTC = self.position_head(sine.to(hidden_RTC.dtype))

            hidden_RTC = layer(
                hidden_RTC,
                position_RTC,
                bridge,
                placed_RTL4,
                features,
                rows,
                matching,
                key_mask,
                denoising_mask,
            )

            # The box is moved from where it stood.
            normed_RTC = self.norm(hidden_RTC)
            step_RT4 = box_head(normed_RTC).float()
            boxes.append((base_RT4 + step_RT4).sigmoid())
            base_RT4 = (base_RT4.detach() + step_RT4).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
            logits.append(object_head(normed_RTC, anchor))

        return torch.stack(boxes), torch.stack(logits)


def attention_masks(
    matching: int, valid: Tensor | None, own_group: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Self-attention masks, True where attention is allowed, None where nothing is barred.

    Returns:
        the mask of the matching queries, (R, 1, 1, Q), and that of the denoising queries, which see all real
        matching queries and their own group, (G, Q + G) or (R, 1, G, Q + G).
    """
    key_mask = None
    if valid is not None:
        # A row without any real query would have nothing to attend to; it then sees all, and its output is
        # unused.
        valid = valid | ~valid.any(-1, keepdim=True)
        key_mask = valid[:, None, None, :]
    if own_group is None:
        return key_mask, None

    # The denoising queries see the real matching ones and their own group.
    size = len(own_group)
    if key_mask is None:
        return None, torch.cat([own_group.new_ones(size, matching), own_group], dim=1)
    seen = key_mask.expand(-1, 1, size, -1)
    return key_mask, torch.cat([seen, own_group.expand(len(seen), 1, -1, -1)], dim=-1)
