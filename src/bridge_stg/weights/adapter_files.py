"""What LoRA tuning learned as small files beside the untouched base, and its way back to a whole model.

A folder holds ``adapter.safetensors`` (LoRA matrices and the rows of the new token), ``bridge.safetensors``,
``spatial.safetensors``, the tokenizer and ``config.json`` of the whole model, and ``adapter.json``: the base,
its fingerprint, rank and alpha.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig

from bridge_stg.errors import CheckpointError, one_line
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.lora import DEFAULT_ALPHA, DEFAULT_RANK, add_lora, lora_size, merge_lora
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, adapter_parameters, open_to_readers
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.weights.assemble import assemble
from bridge_stg.weights.fingerprint import base_fingerprint
from bridge_stg.weights.locate import ADAPTER_FILE
from bridge_stg.weights.reshape import reshape

SCHEMA = "bridge-stg/adapter/1"
# File -> whose parameters it holds.
_FILES = {"adapter.safetensors": "mllm.", "bridge.safetensors": "bridge.", "spatial.safetensors": "localizer."}


def save_adapters(
    model: BridgeSTGForVideoGrounding,
    processor: BridgeSTGProcessor,
    base: str,
    folder: str | Path,
    state: dict[str, Tensor] | None = None,
) -> None:
    """Write what ``add_lora`` left to learn on ``base``, the folder or hub id the model was made from.

    Args:
        state: all weights by name where the model itself holds only a share of them.

    Raises:
        ValueError: the model has no adapters.
    """
    if not adapter_parameters(model):
        raise ValueError("the model has no adapters; save it with save_pretrained")

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values = model.state_dict() if state is None else state
    for file, names in _saved_names(model).items():
        tensors = {name: values[name].detach().cpu().contiguous() for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})

    processor.save_pretrained(folder)
    open_to_readers(folder)

    rank, alpha = lora_size(model)
    about = {
        "schema": SCHEMA,
        "base": base,
        "fingerprint": base_fingerprint(model, state),
        "rank": rank,
        "alpha": alpha,
    }
    (folder / ADAPTER_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def load_adapters(
    folder: str | Path, base: str | Path | None = None, as_stored: bool = False
) -> tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor]:
    """The whole model of a folder that ``save_adapters`` wrote, adapters not merged.

    Args:
        base: where the base is now, if not where it was in training.
        as_stored: hold Qwen3-VL in the precision of its file instead of float32.

    Raises:
        CheckpointError: no such folder, a file or the base is missing or is another one.
    """
    folder = Path(folder)
    about = _read_about(folder)
    source = str(base or about["base"])
    try:
        config = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as problem:
        raise CheckpointError(f"{folder}: no readable config.json: {one_line(problem)}") from problem

    # The base, which must be the one that was tuned.
    model = _from_base(source, config, folder, as_stored)
    found = base_fingerprint(model)
    if found != about["fingerprint"]:
        raise CheckpointError(
            f"{source}: is not the base {folder} was tuned on (its norms differ); give that one with --base"
        )

    # What was learned on it.
    add_lora(model, int(about["rank"]), int(about["alpha"]))
    parameters = dict(model.named_parameters())
    for file, names in _saved_names(model).items():
        try:
            tensors = load_file(folder / file)
        except (OSError, SafetensorError) as problem:
            raise CheckpointError(f"{folder / file}: cannot be read ({problem})") from problem
        if set(tensors) != set(names):
            odd = sorted(set(tensors) ^ set(names))
            raise CheckpointError(f"{folder / file}: {len(odd)} keys too many or too few (first: {odd[0]})")

        with torch.no_grad():
            for name, value in tensors.items():
                if parameters[name].shape != value.shape:
                    raise CheckpointError(f"{folder / file}: {name} has the shape {tuple(value.shape)}")
                # In the precision it was learned in.
                parameters[name].data = value.to(parameters[name].device)

    model.eval()
    return model, BridgeSTGProcessor.from_pretrained(folder)


def merge_folder(folder: str | Path, out: str | Path, base: str | Path | None = None) -> Path:
    """One folder to deploy: the base with everything that was learned, as ``from_pretrained`` reads it, in the
    precision of the base.

    Raises:
        CheckpointError: as ``load_adapters``.
    """
    model, processor = load_adapters(folder, base, as_stored=True)
    merge_lora(model)
    # Of one type throughout; one parameter after the other, so that a large model is never there twice.
    dtype = model.mllm.get_input_embeddings().weight.dtype
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return Path(out)


def _saved_names(model: BridgeSTGForVideoGrounding) -> dict[str, list[str]]:
    """File -> the parameters it holds: all adapters, all of the bridge and of the spatial decoder."""
    adapters = set(adapter_parameters(model))
    names = [name for name, _ in model.named_parameters()]
    return {
        file: [name for name in names if name.startswith(prefix) and (prefix != "mllm." or name in adapters)]
        for file, prefix in _FILES.items()
    }


def _from_base(source: str, config: Any, folder: Path, as_stored: bool) -> BridgeSTGForVideoGrounding:
    """A model of ``config`` whose Qwen3-VL is that of the base; the rest is to be filled."""
    try:
        kind = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as problem:
        raise CheckpointError(
            f"{source}: the base of {folder} is not there; say where it is with --base"
        ) from problem
    if isinstance(kind, BridgeSTGConfig):
        held = None if as_stored else torch.float32
        model: BridgeSTGForVideoGrounding = BridgeSTGForVideoGrounding.from_pretrained(source, dtype=held)
        # Tuning may have changed the shape of what it saved in full.
        return model if model.config.to_dict() == config.to_dict() else reshape(model, config)[0]
    fields = (
        "eta_mode",
        "num_bridge_queries",
        "bridge",
        "objective",
        "sample_fps",
        "max_tokens_per_frame",
        "spatial_short_side",
        "initializer_range",
    )
    changes = {name: getattr(config, name) for name in fields}
    stored = kind.dtype if as_stored and isinstance(kind.dtype, torch.dtype) else None
    model, _, _ = assemble(source, None, config.spatial, mllm_dtype=stored, **changes)
    return model


def _read_about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / ADAPTER_FILE).read_text(encoding="utf-8"))
        if about["schema"] != SCHEMA:
            raise CheckpointError(
                f"{folder / ADAPTER_FILE}: schema {about['schema']!r}, this version reads {SCHEMA!r}"
            )
        return {"rank": DEFAULT_RANK, "alpha": DEFAULT_ALPHA, **about}
    except OSError as problem:
        raise CheckpointError(
            f"{folder}: holds no {ADAPTER_FILE}; give a folder that LoRA tuning wrote"
        ) from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise CheckpointError(f"{folder / ADAPTER_FILE}: cannot be read: {problem}") from problem
