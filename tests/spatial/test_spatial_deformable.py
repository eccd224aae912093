"""Deformable attention and the encoder against loops and against the transformers library."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor
from transformers import DeformableDetrConfig
from transformers.models.deformable_detr.modeling_deformable_detr import (
    DeformableDetrEncoder,
    DeformableDetrSinePositionEmbedding,
)

from bridge_stg.model.configuration import SpatialConfig
from bridge_stg.model.spatial.deformable import sample_levels
from bridge_stg.model.spatial.encoder import ImageEncoder
from bridge_stg.model.spatial.localizer import SpatialLocalizer

STRIDES = [8, 16, 32]
CONFIG = SpatialConfig(
    num_levels=3,
    d_model=32,
    num_heads=4,
    num_points=2,
    ffn_dim=48,
    num_encoder_layers=3,
    backbone_out_stages=(2, 3),
)


def test_sampling_matches_bilinear_interpolation_by_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (2, 2)]
    total, heads, width, queries, points = 16, 2, 3, 5, 2
    value = torch.randn(2, total, heads, width, generator=generator, dtype=torch.float64)
    # Some points lie outside the map, where the value is zero.
    places = torch.rand(2, queries, heads, 2, points, 2, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.rand(2, queries, heads, 2, points, generator=generator, dtype=torch.float64)
    found = sample_levels(value, shapes, places, weights)
    starts = [0, 12]
    for row in range(2):
        for query in range(queries):
            for head in range(heads):
                expected = torch.zeros(width, dtype=torch.float64)
                for level, (rows, columns) in enumerate(shapes):
                    for point in range(points):
                        x = float(places[row, query, head, level, point, 0]) * columns - 0.5
                        y = float(places[row, query, head, level, point, 1]) * rows - 0.5
                        for i in (math.floor(y), math.floor(y) + 1):
                            for j in (math.floor(x), math.floor(x) + 1):
                                if 0 <= i < rows and 0 <= j < columns:
                                    share = (1 - abs(y - i)) * (1 - abs(x - j))
                                    token = value[row, starts[level] + i * columns + j, head]
                                    expected += weights[row, query, head, level, point] * share * token
                part = found[row, query, head * width : (head + 1) * width]
                torch.testing.assert_close(part, expected)


def random_encoder() -> ImageEncoder:
    """With offsets and shares that depend on the tokens, unlike at initialisation."""
    torch.manual_seed(0)
    encoder = ImageEncoder(CONFIG).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15)
    return encoder


def pyramid(height: int, width: int, frames: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(height * width)
    return [
        torch.randn(frames, 32, math.ceil(height / s), math.ceil(width / s), generator=generator)
        for s in STRIDES
    ]


@pytest.mark.parametrize("padded", [False, True])
def test_encoder_equals_the_library(padded: bool) -> None:
    height, width = 64, 96
    mask = torch.zeros(2, height, width, dtype=torch.bool)
    mask[0] = True
    mask[1, :32, :64] = True
    maps = pyramid(height, width)
    ours = random_encoder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = DeformableDetrEncoder(
            DeformableDetrConfig(
                d_model=32,
                num_feature_levels=3,
                encoder_layers=3,
                encoder_attention_heads=4,
                encoder_n_points=2,
                encoder_ffn_dim=48,
                dropout=0.0,
            )
        ).eval()
    stock.load_state_dict({k: v for k, v in ours.state_dict().items() if k != "level_embed"})

    embed = DeformableDetrSinePositionEmbedding(16, normalize=True)
    positions, masks, ratios = [], [], []
    for level, item in enumerate(maps):
        small = mask[:, :: STRIDES[level], :: STRIDES[level]]
        if not padded:
            small = torch.ones_like(small)
        masks.append(small.flatten(1))
        position = embed(item.shape, "cpu", torch.float32, small)
        positions.append(position.flatten(2).transpose(1, 2) + ours.level_embed[level])
        ratios.append(torch.stack([small[:, 0].float().mean(-1), small[:, :, 0].float().mean(-1)], dim=-1))
    shapes = [(item.shape[-2], item.shape[-1]) for item in maps]
    counts = [rows * columns for rows, columns in shapes]
    keep = torch.cat(masks, dim=1)
    with torch.no_grad():
        expected = stock(
            inputs_embeds=torch.cat([item.flatten(2).transpose(1, 2) for item in maps], dim=1),
            attention_mask=keep,
            spatial_position_embeddings=torch.cat(positions, dim=1),
            spatial_shapes=torch.tensor(shapes),
            spatial_shapes_list=shapes,
            level_start_index=torch.tensor([0, counts[0], counts[0] + counts[1]]),
            valid_ratios=torch.stack(ratios, dim=1),
        ).last_hidden_state
        found = ours(maps, STRIDES, (height, width), mask if padded else None).layers[-1]
    torch.testing.assert_close(found[keep], expected[keep], atol=2e-5, rtol=1e-4)


def test_padding_changes_nothing_inside_the_frame() -> None:
    # 40 x 56 is no multiple of the coarser strides, so the last cells are covered only in part.
    height, width = 40, 56
    ours = random_encoder()
    maps = pyramid(64, 96, frames=1)
    cropped = [
        item[:, :, : math.ceil(height / s), : math.ceil(width / s)]
        for item, s in zip(maps, STRIDES, strict=True)
    ]
    mask = torch.zeros(1, 64, 96, dtype=torch.bool)
    mask[:, :height, :width] = True
    with torch.no_grad():
        padded = ours(maps, STRIDES, (64, 96), mask)
        alone = ours(cropped, STRIDES, (height, width), None)
    keep = padded.grid.valid
    assert keep is not None
    assert alone.grid.valid is None
    torch.testing.assert_close(padded.grid.anchors[keep], alone.grid.anchors[0])
    torch.testing.assert_close(padded.grid.centres[keep], alone.grid.centres[0])
    assert torch.equal(padded.grid.selectable[keep], alone.grid.selectable[0])
    assert not padded.grid.selectable[~keep].any()
    for ours_padded, ours_alone in zip(padded.layers, alone.layers, strict=True):
        torch.testing.assert_close(ours_padded[keep], ours_alone[0], atol=1e-5, rtol=1e-4)


def test_sampling_starts_as_rings() -> None:
    config = SpatialConfig(
        backbone_embed_dim=8,
        backbone_depths=(1, 1),
        backbone_num_heads=(1, 1),
        backbone_window_size=4,
        backbone_out_stages=(2,),
        num_levels=2,
        d_model=16,
        num_heads=4,
        num_points=3,
        ffn_dim=16,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
    attention = SpatialLocalizer(config, 4).encoder.layers[0].self_attn
    offsets = attention.sampling_offsets.bias.detach().view(4, 2, 3, 2)
    directions = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]
    for head, (x, y) in enumerate(directions):
        for point in range(3):
            expected = torch.tensor([[x * (point + 1), y * (point + 1)]] * 2)
            torch.testing.assert_close(offsets[head, :, point], expected, atol=1e-5, rtol=0)
    assert attention.sampling_offsets.weight.abs().sum() == 0
    assert attention.attention_weights.weight.abs().sum() == 0
