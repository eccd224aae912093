"""Floating-point operations of each part by its configuration: a product and a sum are two of them.

Matrix products and attention are counted; norms, activations and the bilinear samples of deformable attention,
together one or two percent, are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from transformers import Qwen3VLConfig

from bridge_stg.model.configuration import SpatialConfig

# Width of Swin's feed-forward layers over that of their stage.
_SWIN_EXPANSION = 4
_COLOURS = 3


def vision_operations(config: Qwen3VLConfig, pairs: int, tokens_per_pair: int) -> float:
    """The vision tower on frame pairs that each become ``tokens_per_pair`` visual tokens.

    Every pair attends to itself alone. The patch merger runs once at the end and once per DeepStack layer.
    """
    vision = config.vision_config
    width, merge = vision.hidden_size, vision.spatial_merge_size**2
    patches = tokens_per_pair * merge

    # Attention has four matrices, the feed-forward layers two.
    block = patches * 2 * (4 * width**2 + 2 * width * vision.intermediate_size) + 4 * patches**2 * width
    pixels = _COLOURS * vision.temporal_patch_size * vision.patch_size**2
    merged = merge * width
    merger = tokens_per_pair * 2 * merged * (merged + vision.out_hidden_size)
    mergers = 1 + len(vision.deepstack_visual_indexes)
    return float(pairs * (vision.depth * block + patches * 2 * pixels * width + mergers * merger))


def language_operations(config: Qwen3VLConfig, new: int, before: int = 0) -> float:
    """The language layers on ``new`` tokens that see ``before`` earlier ones and, causally, each other."""
    text = config.text_config
    heads = text.num_attention_heads * text.head_dim
    attention = text.hidden_size * (2 * heads + 2 * text.num_key_value_heads * text.head_dim)
    layer = attention + 3 * text.hidden_size * text.intermediate_size
    seen = new * before + new**2 / 2
    return float(text.num_hidden_layers * (2 * layer * new + 4 * heads * seen))


def swin_operations(config: SpatialConfig, height: int, width: int) -> float:
    """The backbone on one frame of that many pixels, up to the last stage that is read.

    Attention is within windows, and maps are padded to whole ones.
    """
    rows, columns = (math.ceil(side / config.backbone_patch_size) for side in (height, width))
    channels = config.backbone_embed_dim
    total = 2.0 * rows * columns * _COLOURS * config.backbone_patch_size**2 * channels
    for stage, depth in enumerate(config.backbone_depths[: max(config.backbone_out_stages)]):
        if stage:
            # Four patches become one of twice the width.
            rows, columns = math.ceil(rows / 2), math.ceil(columns / 2)
            total += 2 * rows * columns * 4 * channels * 2 * channels
            channels *= 2
        side = config.backbone_window_size
        windows = math.ceil(rows / side) * math.ceil(columns / side)
        attention = windows * side**2 * (8 * channels**2 + 4 * side**2 * channels)
        feed_forward = rows * columns * 4 * _SWIN_EXPANSION * channels**2
        total += depth * (attention + feed_forward)
    return total


def level_sizes(config: SpatialConfig, height: int, width: int) -> list[int]:
    """Tokens of each feature level of one frame, the finest first."""
    first = config.backbone_patch_size * 2 ** (min(config.backbone_out_stages) - 1)
    strides = [first * 2**level for level in range(config.num_levels)]
    return [math.ceil(height / stride) * math.ceil(width / stride) for stride in strides]


def encoder_operations(config: SpatialConfig, levels: Sequence[int]) -> float:
    """The image encoder on one frame, with the projections that its tokens are selected by."""
    width, tokens = config.d_model, sum(levels)
    layer = tokens * (_deformable(config) + 2 * width**2 + 4 * width * config.ffn_dim)
    selection = config.num_selecting_layers * 2 * tokens * width**2
    return float(config.num_encoder_layers * layer + selection)


def decoder_operations(config: SpatialConfig, levels: Sequence[int]) -> float:
    """The spatial decoder on one frame for one sentence: K queries of each encoder layer (Eq. 4, 5)."""
    width, tokens = config.d_model, sum(levels)
    queries = config.num_selecting_layers * min(config.topk, tokens)

    # Self-attention, the queries' side of the attention to the bridge, and to the frame, whose values are
    # projected once per layer.
    attention = queries * (8 + 4) * width**2 + 4 * queries**2 * width
    attention += queries * _deformable(config) + 2 * tokens * width**2

    # The feed-forward layers, and the heads of box and position.
    heads = 2 * (2 * width**2 + 4 * width) + 2 * 3 * width**2
    rest = queries * (4 * width * config.ffn_dim + heads)
    return float(config.num_decoder_layers * (attention + rest))


def _deformable(config: SpatialConfig) -> int:
    """Per query: offsets, weights and output; the values it reads are projected elsewhere."""
    points = config.num_heads * config.num_levels * config.num_points
    return 2 * config.d_model * (3 * points + config.d_model)
