"""The clips of a step, split over processes and over parts that each process computes one after the other.

Which clips a step has is a pure function of (seed, step), whatever the number of processes and parts. Every
loss is a sum divided by a count of the whole step, so the gradient does not depend on the split either.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import Dataset

from bridge_stg.errors import BridgeSTGError, InputError
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import IGNORE
from bridge_stg.shapes.clips import build_batch, clip_seeds
from bridge_stg.shapes.detector_stage import build_frames
from bridge_stg.shapes.vision_stage import UNKNOWN, build_cells, scene_seeds
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.data.record_source import AnnotatedClips

Batch = dict[str, Tensor]


class StepSource(Protocol):
    """Where training samples come from."""

    def batch(self, step: int, share: slice) -> Batch:
        """The model's inputs for the samples ``share`` of a step; a pure function of its arguments."""
        ...

    def names(self, step: int, share: slice) -> list[str]:
        """What these samples are called in messages."""
        ...


class GeneratedClips:
    """Scenes of moving shapes, drawn when they are needed; named by their seeds.

    Raises:
        InputError: a step has fewer clips than there are ``parts`` to split it into.
    """

    def __init__(self, config: TrainConfig, processor: BridgeSTGProcessor, parts: int = 1) -> None:
        self.config, self.steps, self.processor = config.data, config.optim.steps, processor
        self.stage = config.stage
        fewest = config.data.clips_per_step
        if config.data.image_share > 0:
            fewest = min(fewest, config.data.images_per_step)
        if fewest < parts:
            raise InputError(
                f"a step of {fewest} clip(s) cannot be split into {parts} parts (processes times "
                "optim.accumulate); raise data.clips_per_step and data.images_per_step"
            )

    def batch(self, step: int, share: slice) -> Batch:
        build = {"vision": build_cells, "detector": build_frames}.get(self.stage, build_batch)
        return build(self.config, step, self.steps, self.processor, share)

    def names(self, step: int, share: slice) -> list[str]:
        if self.stage in ("vision", "detector"):
            seeds = scene_seeds(self.config, step)
        else:
            seeds = clip_seeds(self.config, step, self.steps)
        return [f"clip {seed}" for seed in seeds[share]]


def open_source(
    config: TrainConfig, processor: BridgeSTGProcessor, parts: int = 1, run_folder: Path | None = None
) -> StepSource:
    """Annotated videos if the configuration names some, else generated clips.

    Args:
        parts: a step is split into; processes times accumulate.
        run_folder: where unusable clips are written down.

    Raises:
        InputError: a step cannot be split into so many parts, or a source cannot be read.
    """
    if config.data.records is not None:
        return AnnotatedClips(config, processor, parts, run_folder)
    return GeneratedClips(config, processor, parts)


class StepData(Dataset[list[Batch] | BridgeSTGError]):
    """Item ``step``: the batches that process ``rank`` of ``processes`` computes, one after the other.

    An error that a user can act on is an item too: raised in a worker process of a loader, its one line would
    arrive inside the text of a traceback.
    """

    def __init__(
        self, source: StepSource, steps: int, accumulate: int = 1, rank: int = 0, processes: int = 1
    ) -> None:
        self.source, self.steps = source, steps
        parts = accumulate * processes
        # Every so-manieth sample: neighbours of a kind are spread evenly.
        self.shares = [slice(rank * accumulate + part, None, parts) for part in range(accumulate)]

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> list[Batch] | BridgeSTGError:
        try:
            return [self.source.batch(step, share) for share in self.shares]
        except BridgeSTGError as problem:
            return problem

    def names(self, step: int, part: int) -> list[str]:
        """What the samples of one batch are called."""
        return self.source.names(step, self.shares[part])


def samples(batch: Batch) -> int:
    """Clips, or frames where there are no clips."""
    return len(batch["video_grid_thw"] if "video_grid_thw" in batch else batch["spatial_pixel_values"])


def shows_motion(batch: Batch) -> bool:
    """Whether any of its clips is more than a single image."""
    return "video_grid_thw" in batch and bool((batch["video_grid_thw"][:, 0] > 1).any())


def count(batch: Batch) -> Batch:
    """What the losses of a batch are divided by, as arguments of the model's forward."""
    if "cells" in batch:
        return {"num_cells": (batch["cells"] != UNKNOWN).sum(0)}
    if "object_names" in batch:
        names = batch["object_names"]
        return {"num_objects": (names[..., 0] != UNKNOWN).sum(), "num_frames": torch.tensor(len(names))}
    has_target = batch.get("has_target", torch.zeros(0, dtype=torch.bool))
    return {
        "num_tokens": (batch["labels"] != IGNORE).sum(),
        "num_targets": has_target.sum(),
        "num_rows": torch.tensor(len(has_target)),
    }


def count_step(accelerator: Accelerator, batches: list[Batch]) -> Batch:
    """``count`` of a whole step: over all parts of all processes."""
    counts = [count(batch) for batch in batches]
    own = {name: torch.stack([one[name] for one in counts]).sum(0) for name in counts[0]}
    on_device: Any = {name: value.to(accelerator.device) for name, value in own.items()}
    found: Batch = accelerator.reduce(on_device, reduction="sum")
    return found
