"""Architectures as numbers: the published Qwen3-VL (2B, 4B and 8B), and a small spatial decoder.

The library's own defaults describe none of the published ones.
"""

from __future__ import annotations

from transformers import Qwen3VLConfig

from bridge_stg.model.configuration import SpatialConfig

# The small spatial decoder reads frames with this short side: at less than half the cost of the size that the
# language model reads, it still tells small objects apart.
SMALL_SHORT_SIDE = 96

# name: (text width, text layers, text FFN, text heads, vision layers, vision width, vision FFN, DeepStack
# layers, tied)
_SIZES = {
    "2b": (2048, 28, 6144, 16, 24, 1024, 4096, (5, 11, 17), True),
    "4b": (2560, 36, 9728, 32, 24, 1024, 4096, (5, 11, 17), True),
    "8b": (4096, 36, 12288, 32, 27, 1152, 4304, (8, 16, 24), False),
}


def qwen3_vl_config(size: str) -> Qwen3VLConfig:
    """The configuration of Qwen3-VL-{2B,4B,8B}-Instruct; ``size`` is "2b", "4b" or "8b".

    The paper's "Qwen3-VL 7B" is the 8B: 8,767,123,696 parameters.

    Raises:
        ValueError: another size.
    """
    if size not in _SIZES:
        raise ValueError(f"size must be one of {sorted(_SIZES)}, got {size!r}")
    width, layers, inner, heads, depth, vision_width, vision_inner, deepstack, tied = _SIZES[size]

    text = {
        "vocab_size": 151936,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 262144,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5_000_000.0,
            # Of the 64 rotary frequencies: time, height, width.
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    }

    vision = {
        "depth": depth,
        "hidden_size": vision_width,
        "intermediate_size": vision_inner,
        "num_heads": 16,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 2304,
        "out_hidden_size": width,
        "deepstack_visual_indexes": list(deepstack),
    }

    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=151655,
        video_token_id=151656,
        vision_start_token_id=151652,
        vision_end_token_id=151653,
        tie_word_embeddings=tied,
    )


def small_spatial_config() -> SpatialConfig:
    """A Swin and a deformable decoder of 1.5 million parameters."""
    return SpatialConfig(
        backbone_embed_dim=32,
        backbone_depths=(2, 2, 2),
        backbone_num_heads=(2, 4, 8),
        backbone_window_size=6,
        backbone_image_size=96,
        backbone_drop_path=0.0,
        backbone_out_stages=(2, 3),
        num_levels=3,
        d_model=96,
        num_heads=4,
        num_points=2,
        ffn_dim=256,
        num_encoder_layers=2,
        num_decoder_layers=3,
        topk=24,
        anchor_base=0.15,
        num_denoising=5,
    )
