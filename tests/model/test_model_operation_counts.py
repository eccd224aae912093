"""Operations against torch's own counter, published figures, and a product worked by hand."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextModel, Qwen3VLVisionModel

from bridge_stg.model.configuration import SpatialConfig
from bridge_stg.model.operation_counts import (
    decoder_operations,
    encoder_operations,
    language_operations,
    level_sizes,
    swin_operations,
    vision_operations,
)
from bridge_stg.model.presets import qwen3_vl_config, small_spatial_config
from bridge_stg.model.spatial.localizer import SpatialLocalizer


def test_the_language_layers_of_the_8b() -> None:
    config = qwen3_vl_config("8b")
    text = config.text_config
    # Queries and output 4096 x 4096, keys and values 4096 x 1024, three feed-forward matrices.
    matrices = 36 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 12288)
    assert language_operations(config, 1, before=1000) == 2 * matrices + 36 * 4 * 4096 * 1000.5

    # Torch counts the whole square of a causal attention, which is twice what there is to do.
    with torch.device("meta"):
        layers = Qwen3VLTextModel(text).layers
        hidden, rotary = torch.empty(1, 64, 4096), torch.empty(1, 64, 128)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for layer in layers:
            hidden = layer(hidden, position_embeddings=(rotary, rotary))
    assert counter.get_total_flops() == language_operations(config, 64) + 36 * 4 * 4096 * 64 * 64 / 2


def test_the_vision_tower_of_the_8b() -> None:
    config = qwen3_vl_config("8b")
    pairs, patches = 3, 4 * 192
    with torch.device("meta"):
        tower = Qwen3VLVisionModel(config.vision_config)
    ends = torch.arange(pairs + 1) * patches
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        hidden = tower.patch_embed(torch.empty(pairs * patches, 1536, device="meta"))
        rotary = torch.empty(pairs * patches, 72, device="meta")
        for block in tower.blocks:
            hidden = block(hidden, cu_seqlens=ends, position_embeddings=(rotary, rotary))
        for merger in (tower.merger, *tower.deepstack_merger_list):
            merger(hidden)
    assert counter.get_total_flops() == vision_operations(config, pairs, patches // 4)


@pytest.mark.parametrize(("side", "window", "published"), [(224, 7, 34.5), (384, 12, 103.9)])
def test_swin_l_as_published(side: int, window: int, published: float) -> None:
    """Table 1 of the Swin Transformer's paper, in billions of multiplications."""
    config = SpatialConfig(backbone_window_size=window)
    assert swin_operations(config, side, side) / 2e9 == pytest.approx(published, abs=0.1)


def test_the_spatial_decoder_as_torch_counts_it() -> None:
    config = small_spatial_config()
    localizer = SpatialLocalizer(config, bridge_width=128).eval()
    height, width, frames = 96, 128, 2
    levels = level_sizes(config, height, width)
    assert levels == [12 * 16, 6 * 8, 3 * 4]
    with torch.no_grad():
        with FlopCounterMode(display=False) as encoding:
            features = localizer.encode(torch.zeros(frames, 3, height, width))
        with FlopCounterMode(display=False) as decoding:
            localizer.locate(features, torch.arange(frames), torch.zeros(frames, 8, 128))

    # Torch's count has the neck too, the projection of the bridge, and ours the candidates' projections, which
    # are made while decoding.
    counted = (encoding.get_total_flops() + decoding.get_total_flops()) / frames
    ours = swin_operations(config, height, width) + encoder_operations(config, levels)
    assert counted == pytest.approx(ours + decoder_operations(config, levels), rel=0.05)
