"""The model that a stage begins with, and the checkpoint that it hands over."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import Tensor, nn
from transformers import AutoConfig, Qwen3VLForConditionalGeneration

from bridge_stg.errors import InputError
from bridge_stg.model.adapter_files import save_adapters
from bridge_stg.model.adapters import add_lora
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.initialization import assemble
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.training.checkpoints import replace_folder
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.detector_frames import FrameProbe
from bridge_stg.training.small_model import (
    MAX_TOKENS_PER_FRAME,
    small_config,
    small_spatial_config,
    small_tokenizer,
)
from bridge_stg.training.vision_cells import CellProbe


def build_model(config: TrainConfig) -> tuple[nn.Module, BridgeSTGProcessor]:
    """The model of a stage, with exactly the parameters of that stage trainable.

    Raises:
        InputError: the base checkpoint is missing.
    """
    if config.stage in ("vision", "pretrain"):
        tokenizer = small_tokenizer()
        model_config = small_config(tokenizer)
        model = BridgeSTGForVideoGrounding(model_config)
        processor = BridgeSTGProcessor(tokenizer, model_config)
        model.requires_grad_(False)
        if config.stage == "vision":
            model.mllm.model.visual.requires_grad_(True)
            return CellProbe(model), processor
        if config.base is not None:
            vision = Qwen3VLForConditionalGeneration.from_pretrained(_folder(config.base), use_safetensors=True)
            model.mllm.model.visual.load_state_dict(vision.model.visual.state_dict())
        model.mllm.requires_grad_(True)
        # A vision tower that has learned to see stays as it is: the token loss would make it forget
        # (docs/log.md).
        model.mllm.model.visual.requires_grad_(config.base is None)
        return model, processor
    folder = _folder(config.base)
    if isinstance(AutoConfig.from_pretrained(folder), BridgeSTGConfig):
        # A Bridge-STG checkpoint is tuned further; a Qwen3-VL gets a bridge and a spatial decoder first.
        model = BridgeSTGForVideoGrounding.from_pretrained(folder)
        processor = BridgeSTGProcessor.from_pretrained(folder)
    else:
        spatial = small_spatial_config()
        model, processor, _ = assemble(folder, None, spatial, max_tokens_per_frame=MAX_TOKENS_PER_FRAME)
    if config.stage == "detector":
        model.requires_grad_(False)
        localizer = model.localizer
        for part in (localizer.backbone, localizer.encoder, localizer.selector, localizer.candidate_box):
            part.requires_grad_(True)
    # On no path of a backbone, and loading a checkpoint makes every parameter trainable.
    model.localizer.backbone.swin.swin.layernorm.requires_grad_(False)
    if config.stage == "detector":
        return FrameProbe(model), processor
    model.mllm.requires_grad_(False)
    if config.tune == "lora":
        add_lora(model)
    else:
        model.mllm.model.language_model.requires_grad_(True)
        model.mllm.lm_head.requires_grad_(True)
    return model, processor


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
    in full; after LoRA tuning only what was learned (``bridge_stg.model.adapter_files``), and the base stays
    where it is.

    Args:
        state: all weights by name where the model itself holds only a share of them (FSDP2).
    """
    whole = underlying(model)
    if config.stage in ("vision", "pretrain"):
        whole.mllm.save_pretrained(folder)
        processor.tokenizer.save_pretrained(folder)
    elif config.stage == "bridge" and config.tune == "lora":
        assert config.base is not None  # build_model has seen to it
        save_adapters(whole, processor, config.base, folder, state)
    else:
        whole.save_pretrained(folder, state_dict=state)
        processor.save_pretrained(folder)


def _folder(base: str | None) -> str:
    if base is None or not Path(base).is_dir():
        raise InputError(
            f"base {base!r} is not a folder; it is what the recipe of the stage before writes, "
            "or what assemble() saved (docs/training_data.md)"
        )
    return base
