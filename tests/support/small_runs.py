"""Configurations of runs that take seconds, and what is read from their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.recipes import recipe
from bridge_stg.training.settings import override

# A step of a second or less, logged and saved every time.
TINY = [
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
