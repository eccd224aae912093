"""Runs of the laptop-scale model that can be started by name, one per stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bridge_stg.losses.weights import LossWeights
from bridge_stg.shapes.configuration import (
    ClipMix,
    ImageMix,
    LeadWeights,
    Lesson,
    ShapesData,
    ShapesTrainConfig,
)
from bridge_stg.training.configuration import OptimConfig
from bridge_stg.weights.locate import finished_checkpoint

# A language model that learns everything here needs more of the spatial gradient than one that could speak
# before: lambda_2 = 0.02 left the bridging queries without the name of the object (docs/log.md).
LOSS_WEIGHTS = replace(LossWeights.ovdino(), spatial=0.4, objectness=2.0)


def shapes_vision() -> ShapesTrainConfig:
    """Stage 0: the vision tower alone learns colours, shapes and motion."""
    return ShapesTrainConfig(
        name="shapes-vision",
        stage="vision",
        data=ShapesData(
            seed=2,
            clips_per_step=16,
            image_share=0.0,
            curriculum=(
                Lesson(until=0.1, min_objects=1, max_objects=3, max_duration=8.0),
                Lesson(until=1.0, min_objects=1, max_objects=6, max_duration=8.0),
            ),
        ),
        optim=OptimConfig(lr=1.5e-3, warmup_ratio=0.05, final_ratio=0.05, steps=3500),
    )


def shapes_pretrain() -> ShapesTrainConfig:
    """Stage 1: a small Qwen3-VL learns to read clips, from dense captions and scans."""
    return ShapesTrainConfig(
        name="shapes-pretrain",
        stage="pretrain",
        base="runs/shapes-vision/checkpoint",
        data=ShapesData(
            clips_per_step=8,
            images_per_step=16,
            image_share=0.3,
            curriculum=(
                Lesson(until=0.20, min_objects=1, max_objects=1, max_duration=8.0),
                Lesson(until=0.40, min_objects=1, max_objects=2, max_duration=8.0),
                Lesson(until=0.70, min_objects=1, max_objects=4, max_duration=10.0),
                Lesson(until=1.00, min_objects=1, max_objects=6, max_duration=14.0),
            ),
            mix=ClipMix(captions=2, moments=1, scans=4, windows=1, choices=1),
            # Scans are told without their clips; the image stands for nothing.
            image_mix=ImageMix(retold=5),
        ),
        optim=OptimConfig(lr=1e-3, warmup_ratio=0.02, final_ratio=0.3, steps=3500),
    )


def shapes_detector() -> ShapesTrainConfig:
    """Stage 2: QGSL learns to see and to find what is named, as the detector has that the paper starts from."""
    return ShapesTrainConfig(
        name="shapes-detector",
        stage="detector",
        base="runs/shapes-pretrain/checkpoint",
        spatial="small",
        max_tokens_per_frame=48,
        data=ShapesData(
            seed=3,
            clips_per_step=8,
            image_share=0.0,
            curriculum=(Lesson(until=1.0, min_objects=1, max_objects=6, max_duration=10.0),),
        ),
        optim=OptimConfig(lr=1e-3, warmup_ratio=0.02, final_ratio=0.1, steps=3000),
        weights=replace(LossWeights.ovdino(), objectness=2.0),
    )


def shapes() -> ShapesTrainConfig:
    """Stage 3: Bridge-STG tuning as in section 4.1, in miniature, on the folder that stage 2 wrote."""
    return ShapesTrainConfig(
        name="shapes",
        stage="bridge",
        base="runs/shapes-detector/checkpoint",
        spatial="small",
        max_tokens_per_frame=48,
        data=ShapesData(
            seed=1,
            clips_per_step=6,
            images_per_step=16,
            image_share=0.25,
            curriculum=(
                Lesson(until=0.20, min_objects=1, max_objects=4, max_duration=12.0),
                Lesson(until=1.00, min_objects=2, max_objects=6, max_duration=16.0),
            ),
            # How often each question about a clip is asked.
            mix=ClipMix(
                moments=1,
                lookups=3,
                scans=4,
                contrasts=1,
                names=5,
                retold=2,
                choices=1,
                located=2,
                tracked=1,
            ),
            image_mix=ImageMix(referred=3, retold=1),
            num_positive=2,
            num_negative=1,
        ),
        # QGSL knows its world already; what moves most is what asks it.
        optim=OptimConfig(lr=6e-4, spatial_lr=2e-4, warmup_ratio=0.02, final_ratio=0.03, steps=2500),
        weights=LOSS_WEIGHTS,
    )


def shapes_direct() -> ShapesTrainConfig:
    """Stage 4: short answers as in the paper, refusals, given boxes; two more layers, and attention is led."""
    return ShapesTrainConfig(
        name="shapes-direct",
        stage="bridge",
        base="runs/shapes/checkpoint",
        layers=8,
        lead=LeadWeights(),
        data=ShapesData(
            seed=4,
            clips_per_step=4,
            image_share=0.0,
            curriculum=(
                Lesson(until=0.4, min_objects=1, max_objects=4, max_duration=10.0),
                Lesson(until=1.0, min_objects=1, max_objects=6, max_duration=14.0),
            ),
            mix=ClipMix(named=4, direct=6, absent=3, choices=3, spots=2, lookups=1, scans=1, names=1),
        ),
        optim=OptimConfig(lr=7e-4, warmup_ratio=0.03, final_ratio=0.5, steps=800),
        weights=LOSS_WEIGHTS,
    )


def shapes_both() -> ShapesTrainConfig:
    """Stage 5: both styles of answer with their boxes, on the folder that stage 4 wrote."""
    return ShapesTrainConfig(
        name="shapes-both",
        stage="bridge",
        base="runs/shapes-direct/checkpoint",
        lead=LeadWeights(),
        data=ShapesData(
            seed=5,
            clips_per_step=4,
            images_per_step=12,
            image_share=0.12,
            curriculum=(Lesson(until=1.0, min_objects=2, max_objects=6, max_duration=16.0),),
            # How often each question about a clip is asked.
            mix=ClipMix(
                named=1,
                direct=4,
                absent=5,
                choices=3,
                spots=2,
                lookups=1,
                scans=4,
                names=3,
                retold=2,
                located=1,
                located_direct=2,
                tracked=1,
            ),
            image_mix=ImageMix(referred=3, retold=1),
            num_positive=3,
            num_negative=1,
        ),
        optim=OptimConfig(lr=7e-4, spatial_lr=2e-4, warmup_ratio=0.02, final_ratio=0.02, steps=2000),
        weights=LOSS_WEIGHTS,
    )


def shapes_longer() -> ShapesTrainConfig:
    """Stage 6: the same on clips of up to 24 seconds, with more tracks, on the folder that stage 5 wrote."""
    both = shapes_both()
    mix = {"choices": 3, "tracked": 3, "absent": 3, "spots": 1, "names": 2, "retold": 1}
    data = {
        "seed": 6,
        "curriculum": (Lesson(until=1.0, min_objects=2, max_objects=6, max_duration=24.0),),
        "mix": both.data.mix.model_copy(update=mix),
    }
    return both.model_copy(
        update={
            "name": "shapes-longer",
            "base": "runs/shapes-both/checkpoint",
            "data": both.data.model_copy(update=data),
            "optim": both.optim.model_copy(update={"lr": 6e-4, "steps": 760}),
        }
    )


def shapes_quick(folder: Path) -> tuple[ShapesTrainConfig, ...]:
    """All stages from nothing, one after the other, in half an hour: does it learn at all?

    Words are learned on scenes of one or two objects, eyes on scenes of up to six.
    Each stage writes into a folder of its own name below ``folder``, where the next one finds its base.
    """
    few = (
        Lesson(until=0.5, min_objects=1, max_objects=1, max_duration=8.0),
        Lesson(until=1.0, min_objects=1, max_objects=2, max_duration=8.0),
    )
    # Steps, and clips a step. In so short a run many steps on few clips teach more than few on many.
    sizes = {
        "shapes-vision": (320, 8),
        "shapes-pretrain": (400, 4),
        "shapes-detector": (150, 8),
        "shapes": (250, 4),
    }
    found: list[ShapesTrainConfig] = []
    for make in (shapes_vision, shapes_pretrain, shapes_detector, shapes):
        config = make()
        steps, clips = sizes[config.name]
        base = str(finished_checkpoint(folder / found[-1].name)) if found else None
        # The more objects there are, the faster eyes learn; the fewer, the faster words.
        lessons = config.data.curriculum if config.stage in ("vision", "detector") else few
        data = config.data.model_copy(update={"curriculum": lessons, "clips_per_step": clips})
        optim = config.optim.model_copy(update={"steps": steps, "final_ratio": 0.05})
        found.append(config.model_copy(update={"base": base, "data": data, "optim": optim}))
    return tuple(found)


RECIPES: dict[str, Callable[[], ShapesTrainConfig]] = {
    "shapes-vision": shapes_vision,
    "shapes-pretrain": shapes_pretrain,
    "shapes-detector": shapes_detector,
    "shapes": shapes,
    "shapes-direct": shapes_direct,
    "shapes-both": shapes_both,
    "shapes-longer": shapes_longer,
}

# Several runs in a row below one folder.
SERIES: dict[str, Callable[[Path], tuple[ShapesTrainConfig, ...]]] = {"shapes-quick": shapes_quick}
