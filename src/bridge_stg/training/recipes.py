"""Runs that can be started by name: functions that return a complete, validated configuration."""

from __future__ import annotations

from collections.abc import Callable

from bridge_stg.errors import InputError
from bridge_stg.training.configuration import (
    ClipMix,
    DataConfig,
    Lesson,
    OptimConfig,
    TrainConfig,
    WeightsConfig,
)


def shapes_vision() -> TrainConfig:
    """Stage 0: the vision tower alone learns colours, shapes and motion."""
    return TrainConfig(
        name="shapes-vision",
        stage="vision",
        data=DataConfig(
            seed=2,
            clips_per_step=16,
            image_share=0.0,
            curriculum=(
                Lesson(until=0.1, min_objects=1, max_objects=3, max_duration=8.0),
                Lesson(until=1.0, min_objects=1, max_objects=6, max_duration=8.0),
            ),
            mix=ClipMix(),
            image_mix=ClipMix(),
        ),
        optim=OptimConfig(lr=1.5e-3, warmup_ratio=0.05, final_ratio=0.05, steps=3500),
    )


def shapes_pretrain() -> TrainConfig:
    """Stage 1: a small Qwen3-VL learns to read clips, from dense captions and scans."""
    return TrainConfig(
        name="shapes-pretrain",
        stage="pretrain",
        base="runs/shapes-vision/checkpoint",
        data=DataConfig(
            clips_per_step=8,
            image_share=0.0,
            curriculum=(
                Lesson(until=0.20, min_objects=1, max_objects=1, max_duration=8.0),
                Lesson(until=0.40, min_objects=1, max_objects=2, max_duration=8.0),
                Lesson(until=0.70, min_objects=1, max_objects=4, max_duration=10.0),
                Lesson(until=1.00, min_objects=1, max_objects=6, max_duration=14.0),
            ),
            mix=ClipMix(captions=3, moments=1, scans=3, windows=2, choices=1),
            image_mix=ClipMix(),
        ),
        optim=OptimConfig(lr=1e-3, warmup_ratio=0.02, final_ratio=0.3, steps=3500),
    )


def shapes() -> TrainConfig:
    """Stage 2: Bridge-STG tuning as in section 4.1, in miniature, on the folder that stage 1 wrote."""
    return TrainConfig(
        name="shapes",
        stage="bridge",
        base="runs/shapes-pretrain/checkpoint",
        data=DataConfig(
            seed=1,
            clips_per_step=6,
            images_per_step=16,
            image_share=0.15,
            curriculum=(
                Lesson(until=0.30, min_objects=1, max_objects=4, max_duration=10.0),
                Lesson(until=1.00, min_objects=2, max_objects=6, max_duration=16.0),
            ),
            mix=ClipMix(captions=2, scans=2, windows=1, choices=1, located=2, tracked=1),
            image_mix=ClipMix(referred=3),
            num_positive=2,
            num_negative=1,
        ),
        optim=OptimConfig(lr=7e-4, spatial_lr=1e-3, warmup_ratio=0.03, final_ratio=0.05, steps=1500),
        # A language model that learns everything here needs more of the spatial gradient than one that could
        # speak before: lambda_2 = 0.02 left the bridging queries without the name of the object (docs/log.md).
        weights=WeightsConfig(box=5.0, spatial=0.2),
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "shapes-vision": shapes_vision,
    "shapes-pretrain": shapes_pretrain,
    "shapes": shapes,
}


def recipe(name: str) -> TrainConfig:
    """The configuration of a named recipe.

    Raises:
        InputError: no recipe of that name.
    """
    if name not in RECIPES:
        raise InputError(f"no recipe {name!r}; there are {', '.join(sorted(RECIPES))}")
    return RECIPES[name]()
