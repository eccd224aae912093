"""Deformable attention (Deformable DETR, 2021) that reads each unique frame once for all its sentences.

Parameters carry the names of the transformers library, so that its detectors' weights load without renaming.
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
        value = self.value_proj(memory)
        if grid.valid is not None:
            value = value.masked_fill(~grid.valid[..., None], 0.0)
        if rows is not None:
            value = value.index_select(0, rows)
        value = value.unflatten(-1, (heads, -1))
        offsets = self.sampling_offsets(queries).view(batch, count, heads, levels, points, 2)
        weights = self.attention_weights(queries).view(batch, count, heads, levels * points)
        with torch.autocast(queries.device.type, enabled=False):
            # bfloat16 coordinates would be off by up to 1/256 of the frame.
            references = references[:, :, None, :, None, :]
            if references.shape[-1] == 2:
                scale = 1.0 / grid.shape_tensor.flip(-1)[:, None, :]
            else:
                scale = references[..., 2:] * (0.5 / points)
            locations = references[..., :2] + offsets.float() * scale
            shares = weights.float().softmax(-1).unflatten(-1, (levels, points))
            sampled = sample_levels(value.float(), grid.shapes, locations, shares)
        return self.output_proj(sampled.to(queries.dtype))


def sample_levels(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples from all levels; outside the maps the value is 0.

    The long axis of queries comes last, where sums over points vectorise, and the levels are added up one by
    one instead of being stacked: about half the time of the usual layout on a CPU.

    Args:
        value: (R, N, heads, c). shapes: (rows, columns) of each level. locations: (R, T, heads, L, P, 2) x, y
            in [0, 1] of the maps. weights: (R, T, heads, L, P), which sum to 1 over L and P.

    Returns:
        (R, T, heads * c).
    """
    batch, count = locations.shape[:2]
    # (L, R * heads, P, T, ...)
    points = (2 * locations - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)
    shares = weights.permute(3, 0, 2, 4, 1).flatten(1, 2)[:, :, None]
    maps = value.permute(0, 2, 3, 1).flatten(0, 1).split([rows * columns for rows, columns in shapes], dim=-1)
    total = None
    for level, shape in enumerate(shapes):
        sampled = F.grid_sample(maps[level].unflatten(-1, shape), points[level], align_corners=False)
        part = (sampled * shares[level]).sum(dim=2)
        total = part if total is None else total + part
    assert total is not None
    return total.view(batch, value.shape[2] * value.shape[3], count).transpose(1, 2)


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
