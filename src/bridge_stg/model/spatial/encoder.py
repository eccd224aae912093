"""Image encoder: n deformable layers whose every output E^1 ... E^n is kept (section 3.3, Fig. 4).

Shapes: U unique frames; N tokens of a frame over all L levels; C width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bridge_stg.model.configuration import SpatialConfig
from bridge_stg.model.spatial.deformable import ImageEncoderLayer
from bridge_stg.model.spatial.tokens import TokenGrid, frame_sizes, sine_embedding, token_grid


@dataclass
class SpatialFeatures:
    """Encoded frames: ``layers`` holds n tensors (U, N, C), ``grid`` says where their tokens lie."""

    layers: list[Tensor]
    grid: TokenGrid


class ImageEncoder(nn.Module):
    """Text-free, as in OV-DINO: the sentence enters only at query selection and in the decoder."""

    def __init__(self, config: SpatialConfig) -> None:
        super().__init__()
        self.anchor_base = config.anchor_base
        self.temperature = float(config.position_temperature)
        self.level_embed = nn.Parameter(torch.zeros(config.num_levels, config.d_model))
        self.layers = nn.ModuleList([ImageEncoderLayer(config) for _ in range(config.num_encoder_layers)])

    def forward(
        self, maps: list[Tensor], strides: list[int], image_size: tuple[int, int], pixel_mask: Tensor | None
    ) -> SpatialFeatures:
        """Encode feature maps of frames of ``image_size`` (H, W) pixels, padding included.

        Args:
            maps: one (U, C, h, w) per level. pixel_mask: (U, H, W) bool, True on the frame, or None.
        """
        shapes = [(int(item.shape[-2]), int(item.shape[-1])) for item in maps]
        hidden_UNC = torch.cat([item.flatten(2).transpose(1, 2) for item in maps], dim=1)

        # One small synchronisation here saves all masking below when the frames fill the batch.
        padded = pixel_mask is not None and not bool(pixel_mask.all())
        if padded:
            assert pixel_mask is not None
            sizes = frame_sizes(pixel_mask)
        else:
            sizes = torch.tensor([[float(image_size[1]), float(image_size[0])]])

        # Where the tokens lie: in the frame, in the padded maps, and on which level.
        with torch.autocast(hidden_UNC.device.type, enabled=False):
            grid = token_grid(shapes, strides, sizes, padded, self.anchor_base, hidden_UNC.device)
            position = sine_embedding(grid.centres.flip(-1), hidden_UNC.shape[-1] // 2, self.temperature)
            references = grid.centres[:, :, None] * grid.extents[:, None]
        counts_L = torch.tensor([rows * columns for rows, columns in shapes], device=hidden_UNC.device)
        level_NC = self.level_embed.repeat_interleave(counts_L, dim=0, output_size=hidden_UNC.shape[1])
        position = position.to(hidden_UNC.dtype) + level_NC.to(hidden_UNC.dtype)

        outputs = []
        for layer in self.layers:
            hidden_UNC = layer(hidden_UNC, position, references, grid)
            outputs.append(hidden_UNC)
        return SpatialFeatures(layers=outputs, grid=grid)
