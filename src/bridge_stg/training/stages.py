"""The model that a stage begins with, and the checkpoint that it hands over."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import Qwen3VLForConditionalGeneration

from bridge_stg.errors import CheckpointError, one_line
from bridge_stg.model.lora import add_lora
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, open_to_readers
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.shapes.detector_stage import FrameProbe
from bridge_stg.shapes.model import small_config, small_tokenizer
from bridge_stg.shapes.vision_stage import CellProbe
from bridge_stg.training.base_model import base_folder, fingerprint_of, lasting_name, read_base
from bridge_stg.training.checkpoints import replace_folder
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.weights.adapter_files import save_adapters


class Start(NamedTuple):
    """A stage's model, and a hash of what it was read from: "" where all of it is new."""

    model: nn.Module
    processor: BridgeSTGProcessor
    origin: str


def build_model(config: TrainConfig, say: Callable[[str], None] | None = None) -> Start:
    """The model of a stage, with exactly the parameters of that stage trainable, and those in float32.

    Args:
        say: is told which keys of the base and its detector were taken, are new or were left out.

    Raises:
        InputError: the base is missing, or is none that the stage can start from.
    """
    if config.stage in ("vision", "pretrain"):
        return _small_model(config)
    if say is not None and config.from_hub:
        say(f"downloading {' and '.join(config.from_hub)} from the hub, unless the cache has them")
    base = read_base(config)
    if say is not None:
        say(base.report)
    model, processor = base.model, base.processor
    origin = fingerprint_of(model, base.taken)
    if config.stage == "detector":
        model.requires_grad_(False)
        model.localizer.requires_grad_(True)
    # On no path of a backbone, and loading a checkpoint makes every parameter trainable.
    model.localizer.backbone.swin.swin.layernorm.requires_grad_(False)
    if config.stage == "bridge":
        model.mllm.requires_grad_(False)
        if config.tune == "lora":
            add_lora(model)
        else:
            model.mllm.model.language_model.requires_grad_(True)
            model.mllm.lm_head.requires_grad_(True)
    _set_precision(model, config)
    return Start(FrameProbe(model) if config.stage == "detector" else model, processor, origin)


def _small_model(config: TrainConfig) -> Start:
    """The laptop-scale model with random weights, but for the vision tower of ``base``."""
    tokenizer = small_tokenizer()
    model_config = small_config(tokenizer)
    model = BridgeSTGForVideoGrounding(model_config)
    processor = BridgeSTGProcessor(tokenizer, model_config)
    model.requires_grad_(False)
    visual = model.mllm.model.visual
    origin = ""
    if config.base is not None:
        folder = base_folder(config.base)
        try:
            seen = Qwen3VLForConditionalGeneration.from_pretrained(folder, use_safetensors=True)
            visual.load_state_dict(seen.model.visual.state_dict())
        except Exception as problem:
            line = one_line(problem)
            raise CheckpointError(
                f"base {folder!r} has no vision tower of the small model: {line}"
            ) from problem
        origin = fingerprint_of(visual, [name for name, _ in visual.named_parameters()])
    if config.stage == "vision":
        visual.requires_grad_(True)
        return Start(CellProbe(model), processor, origin)
    model.mllm.requires_grad_(True)
    # A vision tower that has learned to see stays as it is: the token loss would make it forget
    # (docs/log.md).
    visual.requires_grad_(config.base is None)
    return Start(model, processor, origin)


def _set_precision(model: BridgeSTGForVideoGrounding, config: TrainConfig) -> None:
    """What learns in float32, whatever its file says: steps of Adam vanish in bfloat16."""
    for name, parameter in model.named_parameters():
        half = config.half_base and name.startswith("mllm.") and not parameter.requires_grad
        parameter.data = parameter.data.to(torch.bfloat16 if half else torch.float32)


def underlying(model: nn.Module) -> BridgeSTGForVideoGrounding:
    """The model itself, without the probes of the stages that teach to see."""
    whole = model.model if isinstance(model, (CellProbe, FrameProbe)) else model
    assert isinstance(whole, BridgeSTGForVideoGrounding)
    return whole


def export(
    model: nn.Module,
    processor: BridgeSTGProcessor,
    config: TrainConfig,
    out: Path,
    state: dict[str, Tensor] | None = None,
) -> Path:
    """Write the finished checkpoint ``out/checkpoint``, which appears when it is whole."""
    folder, fresh = out / "checkpoint", out / "checkpoint.new"
    shutil.rmtree(fresh, ignore_errors=True)
    write_checkpoint(model, processor, config, fresh, state)
    replace_folder(fresh, folder)
    return folder


def write_checkpoint(
    model: nn.Module,
    processor: BridgeSTGProcessor,
    config: TrainConfig,
    folder: Path,
    state: dict[str, Tensor] | None = None,
) -> None:
    """What a stage hands over, into an empty folder.

    An ordinary Qwen3-VL after "vision" and "pretrain", a whole Bridge-STG after "detector" and after "bridge"
    in full; after LoRA tuning only what was learned (``bridge_stg.weights.adapter_files``), and the base stays
    where it is.

    Args:
        state: all weights by name where the model itself holds only a share of them (FSDP2).
    """
    whole = underlying(model)
    if config.stage in ("vision", "pretrain"):
        whole.mllm.save_pretrained(folder)
        open_to_readers(folder)
        processor.tokenizer.save_pretrained(folder)
    elif config.stage == "bridge" and config.tune == "lora":
        assert config.base is not None  # build_model has seen to it
        save_adapters(whole, processor, lasting_name(config.base), folder, state)
    else:
        whole.save_pretrained(folder, state_dict=state)
        processor.save_pretrained(folder)
