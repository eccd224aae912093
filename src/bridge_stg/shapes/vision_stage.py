"""Stage 0: the vision tower learns to see before the language model listens.

Qwen3-VL's vision tower is pretrained on its own before the whole is; here too. Captions alone give the vision
tower too little gradient to find motion in the time a laptop has (docs/log.md).
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.shapes.generated_samples import GeneratedSamples
from bridge_stg.shapes.model import new_model
from bridge_stg.shapes.pretrain_stage import write_qwen3_vl
from bridge_stg.shapes.probe_stage import ProbeStage
from bridge_stg.shapes.vision_probe import UNKNOWN, CellBatch, CellProbe, build_cells, scene_seeds
from bridge_stg.training.base_model import read_vision_tower
from bridge_stg.training.stage import Counts, Report, Start, StepSource


class VisionStage(ProbeStage):
    """Linear probes on the visual tokens of a small Qwen3-VL name what each of them shows."""

    def build(self, report: Report) -> Start:
        model, processor = new_model()
        origin = read_vision_tower(model, self.config.base)
        model.requires_grad_(False)
        model.mllm.model.visual.requires_grad_(True)
        return Start(CellProbe(model), processor, origin)

    def source(
        self, processor: BridgeSTGProcessor, parts: int, run_folder: Path | None
    ) -> StepSource[CellBatch]:
        return GeneratedSamples(self.config, processor, parts, build_cells, scene_seeds)

    def counts(self, batch: CellBatch) -> Counts:
        return {"num_cells": (batch.cells != UNKNOWN).sum(0)}

    def export(
        self, model: nn.Module, processor: BridgeSTGProcessor, folder: Path, state: dict[str, Tensor] | None
    ) -> None:
        """An ordinary Qwen3-VL folder, whose language model has not learned anything."""
        write_qwen3_vl(self.whole(model).mllm, processor, folder)
