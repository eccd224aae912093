"""Validation during a run: when, on what, and the best checkpoint so far.

How answers are made and scored is handed in by the caller, because a trainer knows neither predictions nor
protocols.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import broadcast_object_list, gather_object

from bridge_stg.errors import InputError
from bridge_stg.files.hashes import file_hash
from bridge_stg.files.output_files import write_whole
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.training.checkpoints import finish_checkpoint, replace_folder
from bridge_stg.training.stage import Stage
from bridge_stg.weights.locate import best_checkpoint

BEST_BY = "m_vIoU"


class Judge(Protocol):
    """Answers the questions of a held-out folder and scores the answers."""

    def answer(
        self, model: BridgeSTGForVideoGrounding, processor: BridgeSTGProcessor, rank: int, processes: int
    ) -> list[Any]:
        """The answers of one of several processes."""
        ...

    def score(self, answers: list[Any]) -> dict[str, float]:
        """Metrics in percent of the answers of all processes, ``m_vIoU`` among them."""
        ...


# (folder of truth.jsonl, at most so many videos or all) -> a judge, or an error when the truth cannot be used.
MakeJudge = Callable[[Path, int | None], Judge]


class Validation:
    """Whether it is time, the scores, and ``out/best``.

    Raises:
        InputError: validation is wanted of a sharded model, or without a judge.
    """

    def __init__(self, accelerator: Accelerator, stage: Stage[Any], out: Path, make: MakeJudge | None) -> None:
        config = stage.config
        self.settings, self.steps, self.best_folder = (
            config.validation,
            config.optim.steps,
            best_checkpoint(out),
        )
        self.accelerator = accelerator
        self.judge: Judge | None = None
        self.last = time.monotonic()
        if not self.settings.wanted:
            return
        if make is None:
            raise InputError("validation is wanted, but train() was given no judge")

        if accelerator.distributed_type == DistributedType.FSDP:
            raise InputError(
                "a model that is sharded over processes (FSDP2) cannot answer questions one by one; leave "
                "validation out and run bridge-stg predict on the checkpoint"
            )

        if accelerator.is_main_process:
            self._recover()
        held_out = stage.held_out(out, writes=accelerator.is_main_process)
        accelerator.wait_for_everyone()
        self.judge = make(held_out.folder, held_out.videos)

        # Only scores on the same questions say which checkpoint is better. They are told by their content, not
        # by where they lie.
        truth = file_hash(held_out.folder / "truth.jsonl")
        self.questions = {"truth": truth, "videos": held_out.videos}

    def due(self, done: int, at_log: bool) -> bool:
        """Whether to validate after ``done`` steps; the last step always is. The same in every process."""
        if self.judge is None:
            return False
        if done == self.steps:
            return True
        if self.settings.every_steps is not None and done % self.settings.every_steps == 0:
            return True
        if self.settings.every_minutes is None or not at_log:
            return False

        return agreed(self.accelerator, time.monotonic() - self.last > 60 * self.settings.every_minutes)

    def run(
        self,
        model: BridgeSTGForVideoGrounding,
        processor: BridgeSTGProcessor,
        step: int,
        export: Callable[[Path], None],
    ) -> dict[str, float]:
        """Scores, and the best checkpoint replaced if this one is better.

        Args:
            export: writes a checkpoint of the model into a folder; every process calls it.
        """
        assert self.judge is not None
        # Generators go on where they were: a run with validation is the run without it.
        with torch.random.fork_rng(), self.accelerator.autocast():
            own = self.judge.answer(
                model, processor, self.accelerator.process_index, self.accelerator.num_processes
            )

        model.train()
        answers = gather_object(own)
        found: list[Any] = [None]
        if self.accelerator.is_main_process:
            found = [self.judge.score(answers)]
        scores: dict[str, float] = broadcast_object_list(found)[0]
        value = scores[BEST_BY]
        if agreed(self.accelerator, math.isfinite(value) and value > self.best()):
            self._keep(scores, step, export)
        self.last = time.monotonic()

        return scores

    def best(self) -> float:
        """The score of ``out/best`` on the same questions, below every score without one."""
        path = self.best_folder / "best.json"
        if not path.is_file():
            return -1.0
        kept = json.loads(path.read_text(encoding="utf-8"))
        return float(kept[BEST_BY]) if kept.get("validation") == self.questions else -1.0

    def _keep(self, scores: dict[str, float], step: int, export: Callable[[Path], None]) -> None:
        fresh = self.best_folder.with_name("best.new")
        with finish_checkpoint(self.accelerator, fresh, self.best_folder):
            export(fresh)
            if self.accelerator.is_main_process:
                line = json.dumps({"step": step, **scores, "validation": self.questions}, indent=2)
                # Its name says that the folder is complete, so it appears whole or not at all.
                write_whole(fresh / "best.json", line + "\n")

    def _recover(self) -> None:
        """Finish what a run began that was killed between removing the old best and renaming the new one."""
        fresh = self.best_folder.with_name("best.new")
        if (fresh / "best.json").is_file():
            replace_folder(fresh, self.best_folder)


def agreed(accelerator: Accelerator, wish: bool) -> bool:
    """The wish of the main process, in every process: their clocks differ, and all have to do the same."""
    if accelerator.num_processes == 1:
        return wish
    wishes: list[bool] = broadcast_object_list([wish])
    return wishes[0]
