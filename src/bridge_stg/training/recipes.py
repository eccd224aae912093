"""Runs that can be started by name: functions that return a complete, validated configuration."""

from __future__ import annotations

from collections.abc import Callable

from bridge_stg.training.configuration import (
    DataConfig,
    OptimConfig,
    RecordsConfig,
    SourceConfig,
    TrainConfig,
)

# Table 1, in thousands of samples; each data set as `bridge-stg data build` writes it below the data folder.
# Section 4.1 gives HC-STVG about 107K samples and VidSTG about 10K, but HC-STVG has 15K in all and VidSTG 81K:
# the two numbers are taken as swapped. How VQA and REC divide over their data sets is not said; here NExT-QA
# has its 34K questions, and each RefCOCO a third.
TABLE_1: tuple[SourceConfig, ...] = (
    SourceConfig(name="vidstg", path="vidstg", split="train", weight=107),
    SourceConfig(name="hcstvg-v1", path="hcstvg-v1", split="train", weight=3),
    SourceConfig(name="hcstvg-v2", path="hcstvg-v2", split="train", weight=7),
    SourceConfig(name="self-collected", path="revos-stvg", weight=10),
    SourceConfig(name="charades-sta", path="charades-sta", split="train", weight=12),
    SourceConfig(name="got10k", path="got10k", split="train", weight=10),
    SourceConfig(name="nextqa", path="nextqa", split="train", weight=34),
    SourceConfig(name="clevrer", path="clevrer", split="train", weight=56),
    SourceConfig(name="refcoco", path="refcoco", split="train", weight=40),
    SourceConfig(name="refcoco+", path="refcoco+", split="train", weight=40),
    SourceConfig(name="refcocog", path="refcocog", split="train", weight=40),
)

# Swin-L and 6 + 6 layers, as the paper has them, with a decoder that attends to words; of the two large ones
# that which was not trained on RefCOCO.
DETECTOR = "openmmlab-community/mm_grounding_dino_large_o365v2_oiv6_goldg"


def paper_8xh100() -> TrainConfig:
    """Section 4.1 as far as it says: 359K samples of Table 1 once, 32 at a time, on eight processes.

    The numbers are the paper's. What it does not say: which detector (its "Swin-L" fits this one, and QGSL
    starts from all of it, not from the backbone alone), limits on gradient norms, drop path, four passes of one
    clip per process, and layers computed twice, without which clips of a minute and more do not fit.

    A sample here is a clip with one sentence, as in the paper; ``data.records.sentences_per_clip=4`` with
    ``data.records.clips_per_step=8`` and ``optim.accumulate=1`` asks up to as many questions on 8 clips.
    """
    return TrainConfig(
        name="paper-8xh100",
        stage="bridge",
        base="Qwen/Qwen3-VL-8B-Instruct",
        detector=DETECTOR,
        tune="lora",
        data=DataConfig(
            records=RecordsConfig(
                root="data", sources=TABLE_1, clips_per_step=32, clips_alike=8, sentences_per_clip=1
            ),
            num_positive=8,
            num_negative=2,
            workers=8,
        ),
        optim=OptimConfig(
            lr=1e-4,
            spatial_lr=1e-4,
            weight_decay=0.0,
            warmup_ratio=0.1,
            final_ratio=0.0,
            steps=11_219,
            accumulate=4,
        ),
        precision="bf16",
        gradient_checkpointing=True,
        save_minutes=20.0,
    )


def lora_8b_1x80gb() -> TrainConfig:
    """The paper's mixture and objective on one 80 GB card: up to 32 questions about 16 clips in a step."""
    return TrainConfig(
        name="lora-8b-1x80gb",
        stage="bridge",
        base="Qwen/Qwen3-VL-8B-Instruct",
        detector=DETECTOR,
        tune="lora",
        data=DataConfig(
            records=RecordsConfig(
                root="data", sources=TABLE_1, clips_per_step=16, clips_alike=1, sentences_per_clip=2
            ),
            # A step is 16 clips: more loader processes would hold more than 4 GiB of frames.
            workers=2,
        ),
        # One clip in each pass: nothing is padded, so the clips of a step need not be alike.
        optim=OptimConfig(steps=11_219, accumulate=16),
        precision="bf16",
        gradient_checkpointing=True,
        save_minutes=20.0,
    )


def lora_2b_1x24gb() -> TrainConfig:
    """The 2B on one 24 GB card: a quarter of the paper's samples, and half of its frames in QGSL."""
    return TrainConfig(
        name="lora-2b-1x24gb",
        stage="bridge",
        base="Qwen/Qwen3-VL-2B-Instruct",
        detector=DETECTOR,
        tune="lora",
        data=DataConfig(
            records=RecordsConfig(
                root="data", sources=TABLE_1, clips_per_step=16, clips_alike=1, sentences_per_clip=1
            ),
            num_positive=4,
            num_negative=1,
            workers=2,
        ),
        optim=OptimConfig(steps=5_600, accumulate=16),
        precision="bf16",
        gradient_checkpointing=True,
        save_minutes=10.0,
    )


def tune() -> TrainConfig:
    """One's own records (--data DIR: truth.jsonl or a store), tuned on a checkpoint (--set base=...).

    The base is a Bridge-STG, or a Qwen3-VL with ``detector`` for its spatial decoder. A thousand steps of eight
    clips are a beginning; ``validation.data`` names held-out videos, which say when to stop.
    """
    return TrainConfig(
        name="tune",
        tune="lora",
        data=DataConfig(
            records=RecordsConfig(
                sources=(SourceConfig(name="records", path="."),),
                clips_per_step=8,
                clips_alike=1,
                sentences_per_clip=4,
            ),
            workers=2,
        ),
        optim=OptimConfig(steps=1000, accumulate=8),
        precision="bf16",
        gradient_checkpointing=True,
        save_minutes=10.0,
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "paper-8xh100": paper_8xh100,
    "lora-8b-1x80gb": lora_8b_1x80gb,
    "lora-2b-1x24gb": lora_2b_1x24gb,
    "tune": tune,
}
