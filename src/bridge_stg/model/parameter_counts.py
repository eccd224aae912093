"""How many parameters each part has, counted on the meta device: no weight is ever made."""

from __future__ import annotations

import re

import torch
from torch import nn

from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.lora import ATTENTION_PROJECTIONS, DEFAULT_RANK
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding

# Part -> the modules it holds. Every parameter of the model belongs to exactly one part.
PARTS = {
    "vision tower": ("mllm.model.visual.",),
    "language layers": ("mllm.model.language_model.layers.", "mllm.model.language_model.norm."),
    "embeddings": ("mllm.model.language_model.embed_tokens.",),
    "lm_head": ("mllm.lm_head.",),
    "bridge": ("bridge.",),
    "QGSL backbone": ("localizer.backbone.swin.",),
    "QGSL neck": ("localizer.backbone.input_proj.",),
    "QGSL encoder": ("localizer.encoder.",),
    "QGSL decoder": (
        "localizer.decoder.layers.",
        "localizer.decoder.norm.",
        "localizer.decoder.position_head.",
    ),
    # Query selection with its projection of the bridge, boxes, objectness.
    "QGSL heads": (
        "localizer.bridge_",
        "localizer.selector.",
        "localizer.candidate_",
        "localizer.decoder.box_heads.",
        "localizer.decoder.object_heads.",
    ),
}
MLLM_PARTS = ("vision tower", "language layers", "embeddings", "lm_head")


def parameter_counts(config: BridgeSTGConfig, rank: int = DEFAULT_RANK) -> dict[str, int]:
    """Parameters per part; tied embeddings count once. "LoRA" comes on top and vanishes when merged.

    The sum over MLLM_PARTS is the size of Qwen3-VL alone: 8,767,123,696 for the 8B.
    """
    with torch.device("meta"):
        model = BridgeSTGForVideoGrounding(config)
    counts = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        (part,) = (part for part, prefixes in PARTS.items() if name.startswith(prefixes))
        counts[part] += parameter.numel()
    counts["LoRA"] = sum(
        rank * (module.in_features + module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and re.fullmatch(ATTENTION_PROJECTIONS, name)
    )
    return counts
