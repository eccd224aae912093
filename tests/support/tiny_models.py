"""Tiny configurations of the real classes, and noise to feed them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig

from bridge_stg.model.configuration import SpatialConfig
from bridge_stg.types import SampledVideo, VideoInfo

WORDS = (
    "user",
    "assistant",
    "seconds",
    "red",
    "circle",
    "that",
    "moves",
    "left",
    "When",
    "and",
    "where",
    "does",
)


def tiny_mllm_config(
    tokenizer: PreTrainedTokenizerFast,
    tied: bool = True,
    spare_rows: int = 0,
    text: Mapping[str, Any] | None = None,
    vision: Mapping[str, Any] | None = None,
) -> Qwen3VLConfig:
    """8 pixels per visual token (patch 4, merge 2); 2 language and 2 vision layers with one DeepStack level.

    ``text`` and ``vision`` are sizes to take instead.
    """

    def token(name: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(name))

    return Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer) + spare_rows,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 512,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        }
        | dict(text or {}),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        }
        | dict(vision or {}),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=tied,
    )


def tiny_spatial_config(**changes: Any) -> SpatialConfig:
    return SpatialConfig(
        **{
            "backbone_embed_dim": 16,
            "backbone_depths": (1, 1, 1),
            "backbone_num_heads": (1, 2, 4),
            "backbone_window_size": 4,
            "backbone_image_size": 32,
            "backbone_drop_path": 0.0,
            "backbone_out_stages": (1, 2),
            "num_levels": 3,
            "d_model": 32,
            "num_heads": 2,
            "num_points": 2,
            "ffn_dim": 48,
            "num_encoder_layers": 2,
            "num_decoder_layers": 2,
            "topk": 6,
            "anchor_base": 0.2,
            "num_denoising": 2,
        }
        | changes
    )


def make_video(frames: int, width: int = 24, height: int = 16, seed: int = 0) -> SampledVideo:
    """Noise, sampled at 2 fps."""
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    info = VideoInfo("noise.mp4", width, height, Fraction(2), frames / 2, frames)
    return SampledVideo(info, pixels, np.arange(frames) / 2, np.arange(frames), 2.0)
