"""The published Qwen3-VL architectures, as numbers: what the 2B, 4B and 8B models are without their weights.

The library's own defaults describe none of them.
"""

from __future__ import annotations

from transformers import Qwen3VLConfig

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
    return Qwen3VLConfig(
        text_config={
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
        },
        vision_config={
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
        },
        image_token_id=151655,
        video_token_id=151656,
        vision_start_token_id=151652,
        vision_end_token_id=151653,
        tie_word_embeddings=tied,
    )
