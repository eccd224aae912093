"""Assemble a first Bridge-STG checkpoint from a Qwen3-VL and a detector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration

from bridge_stg.errors import CheckpointError
from bridge_stg.model.configuration import BridgeSTGConfig, SpatialConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.small_tokenizer import DET_TOKEN
from bridge_stg.model.vision_attention import batch_equal_pairs


@dataclass(frozen=True)
class KeyReport:
    """Which keys came from where: taken from a source, new (random), left out of a source."""

    taken: tuple[str, ...]
    new: tuple[str, ...]
    left_out: tuple[str, ...]


def assemble(
    mllm: str | Path, detector: str | Path | None, spatial: SpatialConfig | None = None, **changes: Any
) -> tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor, KeyReport]:
    """A Bridge-STG model whose language model is ``mllm`` and whose spatial decoder starts from ``detector``."""
    try:
        language = Qwen3VLForConditionalGeneration.from_pretrained(mllm, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(mllm)
    except (OSError, ValueError) as problem:
        raise CheckpointError(f"{mllm}: not a Qwen3-VL folder or hub id: {problem}") from problem
    tokenizer.add_special_tokens({"additional_special_tokens": [DET_TOKEN]}, replace_extra_special_tokens=False)
    config = BridgeSTGConfig(
        mllm=language.config,
        spatial=spatial,
        det_token_id=tokenizer.convert_tokens_to_ids(DET_TOKEN),
        **changes,
    )
    model = BridgeSTGForVideoGrounding(config)
    model.mllm = language
    batch_equal_pairs(model.mllm.model.visual)
    new = tuple(name for name, _ in model.named_parameters() if not name.startswith("mllm."))
    taken = tuple(name for name, _ in model.named_parameters() if name.startswith("mllm."))
    return model, BridgeSTGProcessor(tokenizer, config), KeyReport(taken, new, ())
