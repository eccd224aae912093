"""The runs that ablation tables need: ordinary commands, each in a folder of its own, in the order of need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bridge_stg.ablations.tables import DEFAULT_LAYERS, AblationRow, AblationTable
from bridge_stg.weights.locate import finished_checkpoint

# All rows have these: the paper's 8 + 2 frames of one sentence, and answers in the style that learns at this
# size. The detector has the paper's number of encoder layers.
COMMON = (
    "data.num_positive=8",
    "data.num_negative=2",
    "data.mix.located=1",
    "data.mix.tracked=0",
)
HELD_OUT_SEED, HELD_OUT_VIDEOS = 2000, 60
# Clips of this many seconds at most, in training and held out: a row is to take minutes.
CLIP_SECONDS = 8.0
LESSONS = f'[{{"until": 1.0, "min_objects": 2, "max_objects": 4, "max_duration": {CLIP_SECONDS}}}]'
# What a row learns beside the located sentence of each clip.
WORLD_MIX = (
    f"data.curriculum={LESSONS}",
    "data.clips_per_step=2",
    "data.image_share=0",
    "data.mix.lookups=1",
    "data.mix.scans=2",
    "data.mix.contrasts=0",
    "data.mix.names=2",
    "data.mix.retold=1",
    "data.mix.choices=0",
)


@dataclass(frozen=True)
class AblationPlan:
    """How a table is run.

    base: what every row is tuned from; None prepares a vision tower, a small Qwen3-VL with native timestamps
        and a detector for each number of encoder layers.
    start: a checkpoint whose vision tower, language tower and detector the preparation goes on from.
    steps: of every row; prepare_steps: of every stage before, None for those of the recipes.
    extra: settings of every training run.
    """

    out: Path
    seeds: int = 2
    steps: int = 150
    prepare_steps: int | None = None
    base: Path | None = None
    start: Path | None = None
    videos: int = HELD_OUT_VIDEOS
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class AblationJob:
    """Commands of ``bridge-stg`` that make ``result``, once the jobs ``needs`` are done."""

    name: str
    folder: Path
    commands: tuple[tuple[str, ...], ...]
    result: Path
    needs: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return self.result.is_file()

    @property
    def trainings(self) -> list[tuple[str, list[str]]]:
        """The recipe of every training among the commands, and its settings."""
        return [
            (command[1], [word for flag, word in pairwise(command) if flag == "--set"])
            for command in self.commands
            if command[0] == "train"
        ]


def run_name(row: AblationRow, seed: int) -> str:
    """The folder of a row's run; rows with the same settings share it.

    >>> run_name(AblationRow("10:0", ("data.num_positive=10", "data.num_negative=0")), 1)
    'num_positive=10,num_negative=0-seed1'
    >>> run_name(AblationRow("1:0.02", ("weights.spatial=0.02",)), 0)
    'spatial=0.02-seed0'
    """
    pairs = [setting.partition("=") for setting in row.settings]
    words = [f"{key.split('.')[-1]}={value}" for key, _, value in pairs] or ["default"]
    return re.sub(r"[^\w=,.-]", "_", ",".join(words)) + f"-seed{seed}"


def jobs_for(tables: Sequence[AblationTable], plan: AblationPlan) -> list[AblationJob]:
    """Every job of the tables once, those that others need first."""
    rows = [row for table in tables for row in table.rows]
    jobs = {"data": _data(plan)}
    if plan.base is None:
        for job in _preparation(sorted({row.layers for row in rows}), plan):
            jobs[job.name] = job

    for seed in range(plan.seeds):
        for row in rows:
            job = _tuning(row, seed, plan)
            jobs.setdefault(job.name, job)

    return list(jobs.values())


def _data(plan: AblationPlan) -> AblationJob:
    """The held-out videos."""
    folder = plan.out / "data"
    command = ("data", "shapes", "--out", str(folder), "--videos", str(plan.videos), "--split", "test")
    length = ("--max-duration", f"{CLIP_SECONDS:g}")
    return AblationJob(
        "data", folder, ((*command, *length, "--seed", str(HELD_OUT_SEED)),), folder / "truth.jsonl"
    )


def _preparation(layers: Sequence[int], plan: AblationPlan) -> list[AblationJob]:
    """The stages before the tuning, as the paper's base has them: native timestamps, a trained detector.

    From nothing, or from the checkpoint ``plan.start``, whose language tower and detector learn on.
    """
    same: tuple[str, ...] = ()
    native = "model.eta_mode=native"
    if plan.start is None:
        vision = _training("vision", "shapes-vision", (), plan)
        seen = f"base={finished_checkpoint(vision.folder)}"
        pretrain = _training("pretrain", "shapes-pretrain", (seen, native), plan, vision)
        stages = [vision, pretrain]
    else:
        same = ("spatial=null", "max_tokens_per_frame=null")
        words = ("data.mix.located=0", "data.mix.tracked=0", native, *WORLD_MIX)
        pretrain = _training("pretrain", "shapes", (f"base={plan.start}", *same, *words), plan)
        stages = [pretrain]

    read = f"base={finished_checkpoint(pretrain.folder)}"
    for n in layers:
        settings = (read, *same, f"model.num_encoder_layers={n}")
        stages.append(_training(f"detector-n{n}", "shapes-detector", settings, plan, pretrain))
    return stages


def _training(
    name: str, recipe: str, settings: Sequence[str], plan: AblationPlan, after: AblationJob | None = None
) -> AblationJob:
    folder = plan.out / "prepared" / name
    steps = () if plan.prepare_steps is None else (f"optim.steps={plan.prepare_steps}",)
    command = _train(recipe, folder, (*settings, *steps, *plan.extra))
    needs = () if after is None else (after.name,)
    return AblationJob(name, folder, (command,), finished_checkpoint(folder) / "config.json", needs)


def _tuning(row: AblationRow, seed: int, plan: AblationPlan) -> AblationJob:
    """Tune, answer the held-out questions, score."""
    name = run_name(row, seed)
    folder, data = plan.out / "runs" / name, plan.out / "data"
    base = plan.base or finished_checkpoint(plan.out / "prepared" / f"detector-n{row.layers}")
    needs = ("data",) if plan.base is not None else ("data", f"detector-n{row.layers}")

    # A given base has the number of layers that it has.
    layers = () if plan.base is not None else (f"model.num_encoder_layers={DEFAULT_LAYERS}",)
    settings = (
        f"name={name}",
        f"base={base}",
        "spatial=null",
        "max_tokens_per_frame=null",
        f"data.seed={seed + 1}",
        f"optim.steps={plan.steps}",
        "model.eta_mode=virtual",
        *layers,
        *WORLD_MIX,
        *COMMON,
        *row.settings,
        *plan.extra,
    )
    answers, scores = folder / "predictions.jsonl", folder / "scores.json"
    predict = ("predict", "--data", str(data), "--task", "stvg", "--out", str(answers))
    score = ("score", "--truth", str(data / "truth.jsonl"), "--predictions", str(answers), "--task", "stvg")
    commands = (
        _train("shapes", folder, settings),
        (*predict, "--checkpoint", str(finished_checkpoint(folder))),
        (*score, "--out", str(scores)),
    )

    return AblationJob(name, folder, commands, scores, needs)


def _train(recipe: str, folder: Path, settings: Sequence[str]) -> tuple[str, ...]:
    words = [word for setting in settings for word in ("--set", setting)]
    return ("train", recipe, "--out", str(folder), *words)
