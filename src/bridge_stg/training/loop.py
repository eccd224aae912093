"""The training loop, on accelerate: data by step, one loss, the same gradient however the step is split."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import (
    DistributedDataParallelKwargs,
    InitProcessGroupKwargs,
    gather_object,
    is_tensorboard_available,
    set_seed,
)
from torch import Tensor, nn

from bridge_stg.errors import BridgeSTGError, InputError
from bridge_stg.training.checkpoints import (
    Position,
    changed_settings,
    finish_checkpoint,
    refuse_changes,
    restore,
    save_state,
    save_trainable_only,
    write_config,
)
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.data.record_source import refuse_missing
from bridge_stg.training.data.step_data import StepData, batches_from
from bridge_stg.training.log import RunLog
from bridge_stg.training.optimization import (
    StepOutcome,
    apply_settings,
    cosine,
    describe_groups,
    enable_checkpointing,
    group_settings,
    parameter_groups,
    set_rates,
    take_step,
)
from bridge_stg.training.stage import Notes, Report, Stage
from bridge_stg.training.step import StepRunner, suspects
from bridge_stg.training.throughput import peak_memory_gb, peak_operations
from bridge_stg.training.validation import MakeJudge, Validation, agreed
from bridge_stg.weights.locate import finished_checkpoint

# How long the other processes wait for one that validates or saves.
PATIENCE = timedelta(hours=6)
# Called after each step with the steps done, and what the log last said.
OnStep = Callable[[int, dict[str, float]], None]


def train(
    stage: Stage[Any],
    out: Path,
    report: Report = print,
    judge: MakeJudge | None = None,
    on_step: OnStep | None = None,
) -> Path:
    """Run ``stage`` in folder ``out``, going on from its last state if there is one.

    A run that was stopped and goes on computes what it would have computed in one go: batches follow from
    (seed, step), everything else is in the state. Every process of a launcher calls this with the same
    arguments.

    Args:
        report: is given a line for people now and then, in the main process.
        judge: makes what validation asks; needed if the configuration wants any.
        on_step: called when the first step begins, and after each step.

    Returns:
        The folder of the finished checkpoint, as the stage exports it.

    Raises:
        InputError: the base is missing, the step cannot be split over the processes, or the run in ``out``
            began with settings that cannot be changed.
        BridgeSTGError: too many steps in a row without a finite loss; the weights are those before them.
    """
    accelerator = launch(stage, out)
    if not accelerator.is_main_process:
        report = _no_report
    refuse_missing(stage.config)
    refuse_changes(out, stage.config)
    run = _Run(accelerator, stage, out, report, judge)
    if on_step is not None:
        on_step(run.position.step, {})

    for step, batches in enumerate(run.batches(), start=run.position.step):
        run.step(step, batches)
        run.write_log(step + 1)
        run.validate(step + 1)
        run.save(step + 1)
        if on_step is not None:
            on_step(step + 1, run.said)

    return run.finish()


def launch(stage: Stage[Any], out: Path) -> Accelerator:
    """One process, or those that accelerate's or torch's launcher started; DDP unless it was told FSDP2.

    Raises:
        InputError: FSDP2 for a stage that cannot be sharded.
    """
    ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
    accelerator = Accelerator(
        # Without a GPU accelerate joins processes only when told that CPUs are meant.
        cpu=not torch.accelerator.is_available(),
        mixed_precision=stage.config.precision,
        log_with="tensorboard" if is_tensorboard_available() else None,
        project_dir=out,
        kwargs_handlers=[ddp, InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if accelerator.distributed_type == DistributedType.FSDP and not stage.can_be_sharded:
        raise InputError(f"the stage {stage.config.stage!r} trains a small model; start it without FSDP")

    return accelerator


class _Run:
    """A run that was set up, or restored from its last state, and what happens after each of its steps."""

    def __init__(
        self,
        accelerator: Accelerator,
        stage: Stage[Any],
        out: Path,
        report: Report,
        judge: MakeJudge | None,
    ) -> None:
        config: TrainConfig = stage.config
        self.accelerator, self.stage, self.config = accelerator, stage, config
        self.out = out
        self.main = accelerator.is_main_process
        # Lines are kept until nothing can refuse the run any more: a refused run reports nothing else.
        found: list[str] = []
        self.report: Report = found.append

        # The model, the same in every process.
        set_seed(config.data.seed)
        start = stage.build(self.report)
        start.model.train()
        self.processor = start.processor
        self.data = StepData(
            stage.source(start.processor, accelerator.num_processes * config.optim.accumulate, out),
            config.optim.steps,
            config.optim.accumulate,
            accelerator.process_index,
            accelerator.num_processes,
        )

        # What moves, and how.
        groups = parameter_groups(start.model, config, start.spatial_prefix)
        for line in describe_groups(start.model, groups):
            self.report(line)
        if config.gradient_checkpointing:
            self.report(f"{enable_checkpointing(start.model)} layers are computed again in the backward pass")
        optimizer = torch.optim.AdamW(groups, weight_decay=config.optim.weight_decay)
        self.model, self.optimizer = accelerator.prepare(start.model, optimizer)
        self.runner = StepRunner(accelerator, stage, self.model, start.processor)
        if not self.main:
            # Random numbers of its own from here on; the weights are the same in every process.
            set_seed(config.data.seed + accelerator.process_index)

        self._restore(start.origin)
        self.validation = Validation(accelerator, stage, out, judge)
        if self.main:
            write_config(out / "config.json", config)
        self._open_log()

        self.report = report
        for line in found:
            report(line)

    def _restore(self, origin: str) -> None:
        """Go on from the last state; rates, decays and clipping are those of the configuration."""
        if self.main:
            self.out.mkdir(parents=True, exist_ok=True)
        self.accelerator.wait_for_everyone()
        save_trainable_only(self.accelerator)
        settings = group_settings(self.optimizer)
        self.position = restore(self.accelerator, self.out, origin)
        apply_settings(self.optimizer, settings)

        if self.position.step:
            self.report(f"going on from step {self.position.step}")
            for change in changed_settings(self.out / "config.json", self.config):
                self.report(f"changed since the last start: {change}")

    def _open_log(self) -> None:
        begin = self.position.step
        self.accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": {"purge_step": begin + 1}})
        device = self.accelerator.device
        peak = self.accelerator.num_processes * peak_operations(device, self.config.precision)
        self.log = RunLog(self.out / "log.jsonl" if self.main else None, begin, peak)
        self.said: dict[str, float] = {}
        self.saved = time.monotonic()

    def batches(self) -> Any:
        """The batches of every step that is left."""
        return batches_from(self.data, self.position.step, self.config.data.workers, self.config.data.seed)

    def step(self, step: int, batches: Any) -> None:
        """Compute a step and move the weights, unless something is not finite.

        Raises:
            BridgeSTGError: that happened too often in a row.
        """
        # The rate depends on the step alone, as the data do, also when the step leaves the weights as they are.
        set_rates(self.optimizer, self.config.optim, step)
        losses, notes = self.runner.compute(batches, self.log)
        outcome = take_step(self.accelerator, self.optimizer, torch.stack(losses).sum())
        skipped = 0 if outcome.finite else self.position.skipped + 1
        self.position = Position(step + 1, skipped, self.position.origin)

        if outcome.finite:
            self._note(notes, outcome)
        else:
            self._refuse(step, losses, outcome)

    def _note(self, notes: Notes, outcome: StepOutcome) -> None:
        for name, (value, count) in notes.items():
            self.log.add(name, value, count)
        for name, norm in outcome.norms.items():
            self.log.add(name, norm)

    def _refuse(self, step: int, losses: list[Tensor], outcome: StepOutcome) -> None:
        """Name the samples of a step that moved nothing."""
        named = suspects(self.data, step, losses)
        why = f"step {step}: not finite: {outcome.faults()}; nothing moved; samples: {', '.join(named)}"
        self.log.append({"step": step + 1, "event": "skipped", "why": outcome.faults(), "samples": named})
        self.report(why)
        if self.position.skipped >= self.config.optim.max_skipped:
            raise BridgeSTGError(f"{why}; {self.position.skipped} step(s) in a row, the run ends")

    def _at_log(self, done: int) -> bool:
        return done % self.config.log_every == 0 or done == self.config.optim.steps

    def write_log(self, done: int) -> None:
        """Write a line of averages, every few steps."""
        if not self._at_log(done):
            return
        memory = peak_memory_gb(self.accelerator.device)

        # The learning rate is that of the step that comes next.
        lr = self.config.optim.lr * cosine(self.config.optim, done)
        self.said = self.log.write(done, gather_object, lr=lr, peak_memory_gb=memory)
        self.accelerator.log({name: value for name, value in self.said.items() if name != "step"}, step=done)
        self.report(" ".join(f"{name}={value}" for name, value in self.said.items()))

    def validate(self, done: int) -> None:
        """Score the model on held-out videos, when it is time."""
        if not self.validation.due(done, self._at_log(done)):
            return
        began = time.perf_counter()
        whole = self.stage.whole(self.accelerator.unwrap_model(self.model))
        scores = self.validation.run(whole, self.processor, done, self._export)
        self.log.append({"step": done, "event": "validation", **scores})
        self.accelerator.log({f"validation/{name}": value for name, value in scores.items()}, step=done)
        self.report(f"validation after step {done}: " + " ".join(f"{key}={scores[key]}" for key in scores))
        self.log.leave_out(time.perf_counter() - began)

    def save(self, done: int) -> None:
        """Write a state to go on from, every few minutes and at the end.

        Only when a line of the log was written, so that no average of the log is lost.
        """
        minutes = (time.monotonic() - self.saved) / 60
        late = minutes > self.config.save_minutes or done == self.config.optim.steps
        if self._at_log(done) and agreed(self.accelerator, late):
            save_state(self.accelerator, self.out, self.position, self.config.keep_states)
            self.saved = time.monotonic()

    def finish(self) -> Path:
        """Write the checkpoint that the stage hands over."""
        folder = finished_checkpoint(self.out)
        fresh = folder.with_name("checkpoint.new")
        with finish_checkpoint(self.accelerator, fresh, folder):
            self._export(fresh)
        self.report(f"wrote {folder}")
        self.accelerator.end_training()
        return folder

    def _export(self, folder: Path) -> None:
        """Write a checkpoint of the weights as they are; every process calls it."""
        state = _gathered(self.accelerator, self.model)
        if self.main:
            self.stage.export(self.accelerator.unwrap_model(self.model), self.processor, folder, state)


def _gathered(accelerator: Accelerator, model: nn.Module) -> dict[str, Tensor] | None:
    """All weights in the main process where each holds a share; None where the model has them."""
    if accelerator.distributed_type != DistributedType.FSDP:
        return None
    state: dict[str, Tensor] = accelerator.get_state_dict(model)
    return state


def _no_report(line: str) -> None:
    """Only the main process speaks."""
