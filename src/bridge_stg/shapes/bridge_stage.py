"""Stage 3: Bridge-STG tuning as in section 4.1, in miniature, on generated clips."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.small_tokenizer import with_box_numbers
from bridge_stg.shapes.configuration import ShapesTrainConfig
from bridge_stg.shapes.drawn_clips import build_batch, clip_seeds
from bridge_stg.shapes.generated_samples import GeneratedSamples
from bridge_stg.shapes.grow import grow
from bridge_stg.shapes.led_model import LedModel, LedOutput
from bridge_stg.shapes.world.objects import ACTIONS, COLOURS, SHAPES, SceneSettings
from bridge_stg.shapes.world.writer import write_shapes
from bridge_stg.training.bridge_stage import BridgeStage
from bridge_stg.training.data.batch import ClipBatch
from bridge_stg.training.stage import Counts, HeldOut, Notes, Report, Start, StepSource

QUESTIONS_PER_VIDEO = 4
GENERATED_VIDEOS = 24


class ShapesBridgeStage(BridgeStage):
    """The stage of the paper; without annotated videos it draws its clips, those it is validated on too."""

    config: ShapesTrainConfig
    word_groups = (
        dict.fromkeys(COLOURS, "colour")
        | dict.fromkeys(SHAPES, "shape")
        | dict.fromkeys([*(word for kind in ACTIONS for word in kind.split()), "rests"], "action")
    )

    def __init__(self, config: ShapesTrainConfig) -> None:
        super().__init__(config)

    def build(self, report: Report) -> Start:
        """The model of the base, with the layers and words that it is to have, and led if that is wanted."""
        start = super().build(report)
        model, processor = self.whole(start.model), start.processor
        if self.config.layers is not None:
            moving = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
            processor = BridgeSTGProcessor(with_box_numbers(processor.tokenizer), model.config)
            model = grow(model, self.config.layers, len(processor.tokenizer))
            processor.config = model.config
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(moving.get(name, True))
            report(f"language tower: {self.config.layers} layers, {len(processor.tokenizer)} words")

        # What it learns to do both ways it is asked for by name.
        if self.config.data.mix.has_direct and self.config.model.answer != "direct":
            model.config.answer_styles = ("scan", "direct")
        if self.config.lead is None:
            return Start(model, processor, start.origin)
        led = LedModel(model, self.config.lead.attention, self.config.lead.probe)
        return Start(led, processor, start.origin, f"model.{start.spatial_prefix}")

    def whole(self, model: nn.Module) -> BridgeSTGForVideoGrounding:
        return super().whole(model.model if isinstance(model, LedModel) else model)

    def notes(self, output: Any, batch: ClipBatch, counts: Counts) -> Notes:
        notes = super().notes(output, batch, counts)
        if isinstance(output, LedOutput):
            notes |= {f"{batch.kind}/{name}": pair for name, pair in (output.correct or {}).items()}
        return notes

    def source(
        self, processor: BridgeSTGProcessor, parts: int, run_folder: Path | None
    ) -> StepSource[ClipBatch]:
        if self.config.data.records is not None:
            return super().source(processor, parts, run_folder)
        build = partial(build_batch, style=self.config.model.answer or "scan", led=self.config.lead is not None)
        return GeneratedSamples(self.config, processor, parts, build, clip_seeds)

    def held_out(self, out: Path, writes: bool) -> HeldOut:
        """The videos of the configuration, else those of the split "test", which no training clip is from."""
        settings = self.config.validation
        if settings.data is not None:
            return super().held_out(out, writes)
        count = settings.videos or GENERATED_VIDEOS
        folder = out / "validation" / f"{count}-videos-seed-{settings.seed}"

        if writes and not folder.exists():
            write_shapes(
                folder,
                count,
                settings.seed,
                SceneSettings(split="test"),
                per_video_questions=QUESTIONS_PER_VIDEO,
                workers=1,
            )

        return HeldOut(folder, count)
