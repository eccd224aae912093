"""Configurations of runs that take seconds, and what is read from their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

from bridge_stg.cli.runs import open_stage, recipe
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.training import loop
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.data.batch import Batch, Inputs
from bridge_stg.training.settings import override
from bridge_stg.training.stage import StepSource

# A step of a second or less, logged and saved every time: clips of a few frames, with few objects.
TINY = [
    'data.curriculum=[{"until": 1.0, "min_objects": 1, "max_objects": 3, "max_duration": 5}]',
    "data.workers=0",
    "data.clips_per_step=1",
    "data.images_per_step=1",
    "data.image_share=0.3",
    "log_every=1",
    "save_minutes=1e-9",
]
# What a clock or the machine says.
CLOCK = ("seconds", "samples_per_second", "tokens_per_second", "mfu", "peak_memory_gb")


def pretrain(steps: int) -> TrainConfig:
    return override(
        recipe("shapes-pretrain").model_copy(update={"base": None}), [*TINY, f"optim.steps={steps}"]
    )


def bridge(base: Path, steps: int, *more: str) -> TrainConfig:
    return override(recipe("shapes"), [*TINY, f"base={base}", f"optim.steps={steps}", *more])


def quiet(line: str) -> None:
    pass


class Built(NamedTuple):
    model: Any
    processor: BridgeSTGProcessor
    origin: str


def build_model(config: TrainConfig) -> Built:
    """What the stage of a configuration starts from."""
    start = open_stage(config).build(quiet)
    return Built(start.model, start.processor, start.origin)


def source_of(config: TrainConfig, processor: BridgeSTGProcessor, parts: int = 1) -> StepSource[Any]:
    return open_stage(config).source(processor, parts, None)


def train(config: TrainConfig, out: Path, report: Any = print, **options: Any) -> Path:
    """A run in this process."""
    return loop.train(open_stage(config), out, report, **options)


def with_a_hole(batch: Batch) -> Batch:
    """The batch with a pixel that is not a number."""
    kind = type(batch)

    class Broken(kind):  # type: ignore[misc, valid-type]
        def inputs(self, processor: BridgeSTGProcessor) -> Inputs:
            made: Inputs = super().inputs(processor)
            made["pixel_values_videos"][0, 0] = float("nan")
            return made

    return Broken(**{name: getattr(batch, name) for name in batch.__dataclass_fields__})


def curve(out: Path) -> list[dict[str, Any]]:
    """The log without what a clock says."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in lines]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "checkpoint" / "model.safetensors")


def same_weights(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
