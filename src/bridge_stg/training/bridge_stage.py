"""Bridge-STG tuning (section 4.1) on annotated videos: the stage of the paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bridge_stg.model.lora import add_lora
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, BridgeSTGOutput
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import IGNORE
from bridge_stg.training.base_model import lasting_name, read_base
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.data.batch import ClipBatch
from bridge_stg.training.data.record_source import AnnotatedClips
from bridge_stg.training.stage import Counts, HeldOut, Notes, Report, Start, StepSource
from bridge_stg.training.token_accuracy import TokenGroups
from bridge_stg.weights.adapter_files import save_adapters
from bridge_stg.weights.fingerprint import fingerprint_of


class BridgeStage:
    """Language model, bridge and spatial decoder learn together: Eq. 7 on annotated videos."""

    can_be_sharded = True
    # Words whose accuracy is logged apart from that of the others: word -> the name of its group.
    word_groups: dict[str, str] = {}  # noqa: RUF012 - a constant, which other stages replace

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def build(self, report: Report) -> Start:
        config = self.config
        base = read_base(config)
        report(base.report)
        model, processor = base.model, base.processor
        origin = fingerprint_of(model, base.loaded)

        # Section 4.1: the vision tower stays, LoRA or all of the language tower moves, and the rest in full.
        freeze_unused(model)
        model.mllm.requires_grad_(False)
        if config.tune == "lora":
            add_lora(model)
        else:
            model.mllm.model.language_model.requires_grad_(True)
            model.mllm.lm_head.requires_grad_(True)

        set_precision(model, config)
        self.groups = TokenGroups(processor.tokenizer, self.word_groups)
        return Start(model, processor, origin)

    def whole(self, model: nn.Module) -> BridgeSTGForVideoGrounding:
        assert isinstance(model, BridgeSTGForVideoGrounding)
        return model

    def source(
        self, processor: BridgeSTGProcessor, parts: int, run_folder: Path | None
    ) -> StepSource[ClipBatch]:
        return AnnotatedClips(self.config, processor, parts, run_folder)

    def counts(self, batch: ClipBatch) -> Counts:
        located = batch.located
        return {
            "num_tokens": (batch.trees.labels != IGNORE).sum(),
            "num_targets": torch.tensor(0) if located is None else located.has_target.sum(),
            "num_rows": torch.tensor(batch.rows),
        }

    def options(self, processes: int) -> dict[str, Any]:
        # DDP waits for a gradient of every parameter from every process.
        return {"weights": self.config.weights, "every_module": processes > 1}

    def unreached(self, model: nn.Module, counts: Counts) -> Iterable[nn.Parameter]:
        if int(counts["num_rows"]):
            return ()
        whole = self.whole(model)
        parts = [part for part in (whole.bridge, whole.localizer) if part is not None]
        return [parameter for part in parts for parameter in part.parameters()]

    def notes(self, output: BridgeSTGOutput, batch: ClipBatch, counts: Counts) -> Notes:
        """Losses by name and token accuracy by group, of images apart from videos."""
        notes: Notes = {}
        if output.token_loss is not None and output.logits is not None:
            labels = batch.trees.labels[batch.trees.labels != IGNORE]
            notes[f"{batch.kind}/token"] = (output.token_loss.detach() * counts["num_tokens"], len(labels))
            right, asked = self.groups.accuracy(output.logits.detach(), labels)
            for index, name in enumerate(self.groups.names):
                notes[f"{batch.kind}/accuracy_{name}"] = (right[index], asked[index])

        if output.spatial_losses is not None and batch.located is not None:
            # What the loss was divided by, and how much of it is of this batch.
            found = counts["num_targets"] > 0
            divisor = torch.where(found, counts["num_targets"], counts["num_rows"])
            own = torch.where(found, batch.located.has_target.sum(), batch.rows)
            for term in dataclasses.fields(output.spatial_losses):
                value: Tensor = getattr(output.spatial_losses, term.name)
                notes[f"{batch.kind}/{term.name}"] = (value.detach() * divisor, own)

        return notes

    def held_out(self, out: Path, writes: bool) -> HeldOut:
        settings = self.config.validation
        assert settings.data is not None  # the configuration has seen to it
        return HeldOut(Path(settings.data), settings.videos)

    def export(
        self, model: nn.Module, processor: BridgeSTGProcessor, folder: Path, state: dict[str, Tensor] | None
    ) -> None:
        """A whole Bridge-STG; after LoRA tuning only what was learned, and the base stays where it is."""
        whole = self.whole(model)
        if self.config.tune == "lora":
            assert self.config.base is not None  # build has seen to it
            save_adapters(whole, processor, lasting_name(self.config.base), folder, state)
        else:
            whole.save_pretrained(folder, state_dict=state)
            processor.save_pretrained(folder)


def freeze_unused(model: BridgeSTGForVideoGrounding) -> None:
    """Weights that Swin has and no output depends on; loading a checkpoint makes every parameter trainable."""
    if model.localizer is not None:
        model.localizer.backbone.swin.swin.layernorm.requires_grad_(False)


def set_precision(model: BridgeSTGForVideoGrounding, config: TrainConfig) -> None:
    """What learns in float32, whatever its file says: steps of Adam vanish in bfloat16."""
    for name, parameter in model.named_parameters():
        half = config.half_base and name.startswith("mllm.") and not parameter.requires_grad
        parameter.data = parameter.data.to(torch.bfloat16 if half else torch.float32)
