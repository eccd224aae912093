"""The laptop-scale configuration: a few million parameters, the same classes as the 8B."""

from __future__ import annotations

import re
import string
from functools import cache
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast, Qwen3VLConfig

from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.presets import SMALL_SHORT_SIDE, small_spatial_config
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.small_tokenizer import DET_TOKEN, build_small_tokenizer
from bridge_stg.prompting.templates import LOCATED, PROMPTS, WINDOW_WORDINGS, WINDOW_WORDINGS_WITH_FRAMES
from bridge_stg.shapes.branches import NAMED
from bridge_stg.shapes.captions import MOMENT
from bridge_stg.shapes.world.objects import SceneSettings
from bridge_stg.shapes.world.questions import captions, questions
from bridge_stg.shapes.world.scene import make_scene

CORPUS_SCENES = 200
# Squares of 24 pixels (patch 12, merge 2). Half as many hide how an object grows or spins in half a second.
MAX_TOKENS_PER_FRAME = 48


@cache
def corpus_words() -> tuple[str, ...]:
    """Every word that the small world and the prompts use; seconds of drawing lots, so done once."""
    texts = [*PROMPTS.values(), *WINDOW_WORDINGS, *WINDOW_WORDINGS_WITH_FRAMES, LOCATED, MOMENT, NAMED]
    texts += ["user", "assistant", "seconds", "nothing"]
    for seed in range(CORPUS_SCENES):
        scene = make_scene(seed, SceneSettings(min_objects=1, max_objects=6))
        for question in questions(scene, np.random.default_rng(seed)):
            texts += [question.query, *question.choices]
        texts += captions(scene, 0.0, 1.0)
    texts += list(string.ascii_uppercase)
    words = re.findall(r"[A-Za-z]+", re.sub(r"\{.*?\}", " ", " ".join(texts)))
    return tuple(sorted(set(words)))


def small_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the shipped checkpoint."""
    return build_small_tokenizer(corpus_words())


def new_model(**changes: Any) -> tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor]:
    """The laptop-scale model with random weights, from torch's generator, and its processor.

    Args:
        changes: fields of BridgeSTGConfig.
    """
    tokenizer = small_tokenizer()
    config = small_config(tokenizer, **changes)
    return BridgeSTGForVideoGrounding(config), BridgeSTGProcessor(tokenizer, config)


def small_config(tokenizer: PreTrainedTokenizerFast, **changes: Any) -> BridgeSTGConfig:
    """Bridge-STG at laptop scale; ``changes`` are fields of BridgeSTGConfig."""

    def token(name: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(name))

    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 32,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            # Of the 16 rotary frequencies: time, height, width.
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
        "pad_token_id": token("<|endoftext|>"),
    }

    # A patch of 12 pixels and a merger of 2: a visual token covers 24 x 24 pixels.
    vision = {
        "depth": 3,
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_heads": 4,
        "patch_size": 12,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": 128,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }

    mllm = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    return BridgeSTGConfig(
        mllm=mllm,
        spatial=small_spatial_config(),
        det_token_id=token(DET_TOKEN),
        max_tokens_per_frame=MAX_TOKENS_PER_FRAME,
        spatial_short_side=SMALL_SHORT_SIDE,
        **changes,
    )
