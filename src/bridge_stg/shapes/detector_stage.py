"""Stage 2: QGSL learns to see, and to find what is named, before the language model asks it.

The paper builds QGSL on OV-DINO (App. B.3), a detector that finds what a text names; at laptop scale this
stage stands for it. Sentences alone give one box per frame, too little to learn what a colour is (docs/log.md).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from bridge_stg.model.bridging import bridge_of
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.shapes.detector_probe import FrameBatch, FrameProbe, build_frames
from bridge_stg.shapes.generated_samples import GeneratedSamples
from bridge_stg.shapes.probe_stage import ProbeStage
from bridge_stg.shapes.vision_probe import UNKNOWN, scene_seeds
from bridge_stg.training.base_model import read_base
from bridge_stg.training.bridge_stage import freeze_unused, set_precision
from bridge_stg.training.stage import Counts, Report, Start, StepSource
from bridge_stg.weights.fingerprint import fingerprint_of


class DetectorStage(ProbeStage):
    """A Qwen3-VL is given a spatial decoder, which alone learns."""

    def build(self, report: Report) -> Start:
        base = read_base(self.config)
        report(base.report)
        model = base.model
        origin = fingerprint_of(model, base.loaded)
        model.requires_grad_(False)
        model.localizer.requires_grad_(True)

        # What asks this detector learns in the next stage, whatever the base had learned.
        model.bridge = bridge_of(model.config)
        if model.bridge is not None:
            model.bridge.requires_grad_(False)
        report("bridge: new weights")
        freeze_unused(model)
        set_precision(model, self.config)

        return Start(FrameProbe(model), base.processor, origin)

    def source(
        self, processor: BridgeSTGProcessor, parts: int, run_folder: Path | None
    ) -> StepSource[FrameBatch]:
        return GeneratedSamples(self.config, processor, parts, build_frames, scene_seeds)

    def counts(self, batch: FrameBatch) -> Counts:
        names = batch.object_names
        return {"num_objects": (names[..., 0] != UNKNOWN).sum(), "num_frames": torch.tensor(len(names))}

    def export(
        self, model: nn.Module, processor: BridgeSTGProcessor, folder: Path, state: dict[str, Tensor] | None
    ) -> None:
        """A whole Bridge-STG, whose bridge has not learned anything."""
        self.whole(model).save_pretrained(folder)
        processor.save_pretrained(folder)
