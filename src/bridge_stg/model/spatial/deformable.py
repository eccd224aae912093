"""Deformable attention (Deformable DETR, 2021) that reads each unique frame once for all its sentences.

Parameters carry the names of the transformers library, so that its detectors' weights load without renaming.

Shapes: U unique frames; R rows, each a (frame, sentence) pair; T queries of a row; N tokens of a frame over all
L levels; H heads of c channels, C = H * c; P points.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from bridge_stg.model.configuration import SpatialConfig
from bridge_stg.model.spatial.heads import FeedForward
from bridge_stg.model.spatial.tokens import TokenGrid


class FrameDeformableAttention(nn.Module):
    """Each head samples ``num_points`` learned offsets on every level and mixes them with learned shares."""

    def __init__(self, config: SpatialConfig) -> None:
        super().__init__()
        width = config.d_model
        self.n_heads, self.n_levels, self.n_points = config.num_heads, config.num_levels, config.num_points
        samples = self.n_heads * self.n_levels * self.n_points
        self.sampling_offsets = nn.Linear(width, samples * 2)
        self.attention_weights = nn.Linear(width, samples)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Heads look in evenly spread directions, point p at distance p, all with equal weight."""
        # A direction per head, scaled so that the ring of heads is a square.
        angle = torch.arange(self.n_heads, dtype=torch.float32) * (2.0 * math.pi / self.n_heads)
        ring = torch.stack([angle.cos(), angle.sin()], dim=-1)
        ring = ring / ring.abs().amax(dim=-1, keepdim=True)
        distance = torch.arange(1, self.n_points + 1, dtype=torch.float32)
        bias = ring[:, None, None] * distance[None, None, :, None]
        self.sampling_offsets.bias.copy_(bias.expand(-1, self.n_levels, -1, -1).flatten())

        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self, queries: Tensor, memory: Tensor, references: Tensor, grid: TokenGrid, rows: Tensor | None = None
    ) -> Tensor:
        """Sample ``memory`` around ``references``.

        Args:
            queries: (R, T, C), position included. memory: (U, N, C).
            references: (R or 1, T, L, 2 or 4) points or boxes in the padded maps, float32.
            rows: (R,) the frame of each row, or None when row i reads frame i.

        Returns:
            (R, T, C).
        """
        batch, count, _ = queries.shape
        heads, levels, points = self.n_heads, self.n_levels, self.n_points

        # What the heads read: each row's frame, nothing where the frame is padded.
        value_RNC = self.value_proj(memory)
        if grid.valid is not None:
            value_RNC = value_RNC.masked_fill(~grid.valid[..., None], 0.0)
        if rows is not None:
            value_RNC = value_RNC.index_select(0, rows)
        value_RNHc = value_RNC.unflatten(-1, (heads, -1))

        # Where they look, and how much each place counts.
        offsets_RTHLP2 = self.sampling_offsets(queries).view(batch, count, heads, levels, points, 2)
        weights_RTHS = self.attention_weights(queries).view(batch, count, heads, levels * points)
        with torch.autocast(queries.device.type, enabled=False):
            # bfloat16 coordinates would be off by up to 1/256 of the frame.
            references = references[:, :, None, :, None, :]
            if references.shape[-1] == 2:
                scale = 1.0 / grid.shape_tensor.flip(-1)[:, None, :]
            else:
                scale = references[..., 2:] * (0.5 / points)
            locations_RTHLP2 = references[..., :2] + offsets_RTHLP2.float() * scale
            shares_RTHLP = weights_RTHS.float().softmax(-1).unflatten(-1, (levels, points))
            sampled_RTC = sample_levels(value_RNHc.float(), grid.shapes, locations_RTHLP2, shares_RTHLP)

        return self.output_proj(sampled_RTC.to(queries.dtype))


def sample_levels(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples from all levels; outside the maps the value is 0.

    The long axis of queries comes last, where sums over points vectorise, and the levels are added up one by
    one instead of being stacked: about half the time of the usual layout on a CPU.

    Args:
        value: (R, N, H, c). shapes: (rows, columns) of each level. locations: (R, T, H, L, P, 2) x, y in
            [0, 1] of the maps. weights: (R, T, H, L, P), which sum to 1 over L and P.

    Returns:
        (R, T, C).
    """
    batch, count = locations.shape[:2]
    sizes = [rows * columns for rows, columns in shapes]

    # One leading axis for rows and heads; B stands for R * H.
    points_LBPT2 = (2 * locations - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)
    shares_LB1PT = weights.permute(3, 0, 2, 4, 1).flatten(1, 2)[:, :, None]
    maps_BcN = value.permute(0, 2, 3, 1).flatten(0, 1).split(sizes, dim=-1)

    total_BcT = None
    for level, shape in enumerate(shapes):
        grid = maps_BcN[level].unflatten(-1, shape)
        sampled_BcPT = F.grid_sample(grid, points_LBPT2[level], align_corners=False)
        part_BcT = (sampled_BcPT * shares_LB1PT[level]).sum(dim=2)
        total_BcT = part_BcT if total_BcT is None else total_BcT + part_BcT

    assert total_BcT is not None
    return total_BcT.view(batch, value.shape[2] * value.shape[3], count).transpose(1, 2)


class ImageEncoderLayer(GradientCheckpointingLayer):
    """Deformable self-attention and FFN, post-norm, without dropout as in DINO and OV-DINO."""

    def __init__(self, config: SpatialConfig) -> None:
        super().__init__()
        self.self_attn = FrameDeformableAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.mlp = FeedForward(config.d_model, config.ffn_dim)
        self.final_layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, hidden: Tensor, position: Tensor, references: Tensor, grid: TokenGrid) -> Tensor:
        """(U, N, C) tokens -> (U, N, C)."""
        attended = self.self_attn(hidden + position, hidden, references, grid)
        hidden = self.self_attn_layer_norm(hidden + attended)
        return self.final_layer_norm(hidden + self.mlp(hidden))
