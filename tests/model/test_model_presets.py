"""Parameter counts of the published sizes, on the meta device."""

from __future__ import annotations

import resource

import pytest
import torch
from support.tiny_models import tiny_spatial_config

from bridge_stg.model.configuration import BridgeSTGConfig, SpatialConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.parameter_counts import MLLM_PARTS, parameter_counts
from bridge_stg.model.presets import qwen3_vl_config


def counts_by_hand(width: int, layers: int, inner: int, heads: int) -> int:
    """Language layers with 8 key-value heads of width 128: attention, its norms, SwiGLU, two norms; one final
    norm.
    """
    attention = width * 128 * (heads + 8 + 8) + heads * 128 * width + 2 * 128
    return layers * (attention + 3 * width * inner + 2 * width) + width


def vision_by_hand(depth: int, width: int, inner: int, out: int) -> int:
    patch = width * 3 * 2 * 16 * 16 + width + 2304 * width
    block = (
        4 * width + 3 * width * width + 3 * width + width * width + width + 2 * width * inner + inner + width
    )
    merged = 4 * width
    linears = merged * merged + merged + merged * out + out
    # The main merger normalises before merging four patches, the three DeepStack mergers after.
    return patch + depth * block + (2 * width + linears) + 3 * (2 * merged + linears)


@pytest.mark.parametrize(
    ("size", "total", "language", "vision"),
    [
        ("2b", 2_127_532_032, counts_by_hand(2048, 28, 6144, 16), vision_by_hand(24, 1024, 4096, 2048)),
        ("4b", 4_437_815_808, counts_by_hand(2560, 36, 9728, 32), vision_by_hand(24, 1024, 4096, 2560)),
        ("8b", 8_767_123_696, counts_by_hand(4096, 36, 12288, 32), vision_by_hand(27, 1152, 4304, 4096)),
    ],
)
def test_sizes_of_qwen3_vl(size: str, total: int, language: int, vision: int) -> None:
    config = BridgeSTGConfig(mllm=qwen3_vl_config(size))
    counts = parameter_counts(config)
    width = config.mllm.text_config.hidden_size
    assert counts["language layers"] == language
    assert counts["vision tower"] == vision
    assert counts["embeddings"] == 151936 * width
    # Tied: one matrix, counted once.
    assert counts["lm_head"] == (151936 * width if size == "8b" else 0)
    assert sum(counts[part] for part in MLLM_PARTS) == total
    # Q_init and two linear layers.
    assert counts["bridge"] == 8 * width + 2 * (width * width + width)


def test_the_rest_of_the_8b() -> None:
    counts = parameter_counts(BridgeSTGConfig(mllm=qwen3_vl_config("8b")))
    assert counts["LoRA"] == 7_667_712
    # Three 1x1 projections of 384, 768, 1536 channels, one 3x3 of 1536, biases, and four group norms of 256.
    assert counts["QGSL neck"] == 256 * (384 + 768 + 1536 + 9 * 1536) + 4 * 256 + 4 * 2 * 256
    # Swin-L with the norms of its three stages.
    assert round(counts["QGSL backbone"] / 1e6, 2) == 195.20
    assert set(counts) >= {"QGSL encoder", "QGSL decoder", "QGSL heads"}
    assert all(count > 0 for count in counts.values())


def test_every_parameter_is_counted_once_and_none_is_made() -> None:
    spatial = tiny_spatial_config(backbone_out_stages=(2, 3))
    config = BridgeSTGConfig(mllm=qwen3_vl_config("2b"), spatial=spatial, num_bridge_queries=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = parameter_counts(config)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    # 2 billion parameters would be 8 GB; a kilobyte is the unit.
    assert grown < 200_000
    with torch.device("meta"):
        model = BridgeSTGForVideoGrounding(config)
    assert sum(counts.values()) - counts["LoRA"] == sum(p.numel() for p in model.parameters())


def test_the_8b_spatial_default_is_the_papers() -> None:
    with pytest.raises(ValueError, match="size"):
        qwen3_vl_config("7b")
    config = qwen3_vl_config("8b")
    assert config.text_config.rope_parameters["mrope_section"] == [24, 20, 20]
    # One visual token covers 32 x 32 pixels.
    assert BridgeSTGConfig(mllm=config, spatial=SpatialConfig()).pixels_per_token_side == 32
