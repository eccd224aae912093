"""Stage 3: Bridge-STG tuning as in section 4.1, in miniature, on generated clips."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.shapes.clips import build_batch, clip_seeds
from bridge_stg.shapes.configuration import ShapesTrainConfig
from bridge_stg.shapes.source import GeneratedSamples
from bridge_stg.shapes.world.objects import ACTIONS, COLOURS, SHAPES
from bridge_stg.shapes.world.writer import write_shapes
from bridge_stg.training.bridge_stage import BridgeStage
from bridge_stg.training.data.batch import ClipBatch
from bridge_stg.training.stage import HeldOut, StepSource

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

    def source(
        self, processor: BridgeSTGProcessor, parts: int, run_folder: Path | None
    ) -> StepSource[ClipBatch]:
        if self.config.data.records is not None:
            return super().source(processor, parts, run_folder)
        build = partial(build_batch, style=self.config.model.answer or "scan")
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
                split="test",
                workers=1,
                per_video_questions=QUESTIONS_PER_VIDEO,
            )
        return HeldOut(folder, count)
