"""Image backbone: Swin Transformer and the projection of its stages to one width (App. B.3).

Shapes: U unique frames of H x W pixels; C width of every level, h x w its size.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from transformers import SwinBackbone, SwinConfig

from bridge_stg.model.configuration import SpatialConfig


class ImageBackbone(nn.Module):
    """Frames to ``num_levels`` maps of width C: 1x1 convolutions on Swin stages, then 3x3 ones of
    stride 2.

    The first stride-2 convolution reads the last Swin stage itself, each further one the level before it.
    """

    def __init__(self, config: SpatialConfig) -> None:
        super().__init__()
        stages = sorted(config.backbone_out_stages)
        # Stages beyond the last one that is read would cost time and never receive a gradient.
        depth = stages[-1]
        self.swin = SwinBackbone(
            SwinConfig(
                image_size=config.backbone_image_size,
                patch_size=config.backbone_patch_size,
                embed_dim=config.backbone_embed_dim,
                depths=list(config.backbone_depths[:depth]),
                num_heads=list(config.backbone_num_heads[:depth]),
                window_size=config.backbone_window_size,
                drop_path_rate=config.backbone_drop_path,
                out_indices=stages,  # type: ignore[call-arg]
            )
        )
        # The library's final norm is not on the path of a backbone.
        self.swin.swin.layernorm.requires_grad_(False)

        # One map per stage that is read, then coarser ones until there are enough.
        widths = [config.backbone_embed_dim * 2 ** (stage - 1) for stage in stages]
        self.strides = [config.backbone_patch_size * 2 ** (stage - 1) for stage in stages]
        width = config.d_model
        groups = math.gcd(32, width)
        projections = [nn.Sequential(nn.Conv2d(w, width, 1), nn.GroupNorm(groups, width)) for w in widths]

        source = widths[-1]
        for _ in range(config.num_levels - len(stages)):
            projections.append(
                nn.Sequential(nn.Conv2d(source, width, 3, stride=2, padding=1), nn.GroupNorm(groups, width))
            )
            self.strides.append(self.strides[-1] * 2)
            source = width
        self.input_proj = nn.ModuleList(projections)

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """(U, 3, H, W) normalised frames -> one (U, C, ceil(H / stride), ceil(W / stride)) map per level."""
        stages = self.swin(pixel_values).feature_maps
        maps_UChw: list[Tensor] = []

        for level, projection in enumerate(self.input_proj):
            if level < len(stages):
                source = stages[level]
            else:
                source = stages[-1] if level == len(stages) else maps_UChw[-1]
            maps_UChw.append(projection(source))

        return maps_UChw
