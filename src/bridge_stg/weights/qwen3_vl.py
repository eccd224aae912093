"""Loading a Qwen3-VL as it was published, with its tokenizer and its chat template."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase, Qwen3VLForConditionalGeneration
from transformers.utils import cached_file

# Registers this package's own kind, so that it is known by name.
import bridge_stg.model.configuration  # noqa: F401
from bridge_stg.errors import CheckpointError, one_line

MODEL_TYPE = "qwen3_vl"
WHAT_TO_GIVE = "give a Qwen3-VL folder or hub id, such as Qwen/Qwen3-VL-4B-Instruct"


def model_type(folder: str, **hub: Any) -> str:
    """The kind of model in a folder or hub id, such as "qwen3_vl" or "bridge_stg".

    Raises:
        CheckpointError: there is no configuration that transformers knows.
    """
    try:
        return str(AutoConfig.from_pretrained(folder, **hub).model_type)
    except Exception as problem:
        raise CheckpointError(f"{folder}: configuration cannot be read: {one_line(problem)}") from problem


@dataclass(frozen=True)
class StockCheckpoint:
    """A Qwen3-VL as it was published; ``unused`` are the keys of its file that the model has no place for."""

    model: Qwen3VLForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    template: str | None
    unused: tuple[str, ...]


def load_stock_checkpoint(folder: str, dtype: Any, **hub: Any) -> StockCheckpoint:
    """The model on the CPU, its tokenizer, and its chat template if it has one; safetensors only.

    Args:
        folder: a folder or hub id.
        dtype: a torch dtype, or "auto" for the one of the file.
        hub: ``revision`` and ``token`` of a hub id.

    Raises:
        CheckpointError: missing, truncated, or not a (dense) Qwen3-VL.
    """
    kind = model_type(folder, **hub)
    if kind != MODEL_TYPE:
        raise CheckpointError(f"{folder}: holds a {kind} model, not a Qwen3-VL; {WHAT_TO_GIVE}")
    # The library would log a table of what does not match; here that is one error, below.
    log = logging.getLogger("transformers.modeling_utils")
    silent, log.disabled = log.disabled, True
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **hub)
        template = _processor_template(folder, **hub) or tokenizer.chat_template
        model, info = Qwen3VLForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **hub
        )
    except Exception as problem:
        raise CheckpointError(f"{folder}: cannot be loaded as a Qwen3-VL: {one_line(problem)}") from problem
    finally:
        log.disabled = silent
    missing = sorted(map(str, info["missing_keys"]))
    if missing:
        raise CheckpointError(f"{folder}: {len(missing)} weights are missing (first: {missing[0]})")
    return StockCheckpoint(model, tokenizer, template, tuple(sorted(map(str, info["unexpected_keys"]))))


def _processor_template(folder: str, **hub: Any) -> str | None:
    """The processor's chat template where it is a file of its own: a tokenizer's may know nothing of videos."""
    path = cached_file(folder, "chat_template.json", _raise_exceptions_for_missing_entries=False, **hub)
    if path is None:
        return None
    template = json.loads(Path(path).read_text(encoding="utf-8"))["chat_template"]
    return template if isinstance(template, str) else None
