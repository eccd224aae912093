"""The training loop, on accelerate: data by step, one loss, the same gradient however the step is split."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
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
from torch.utils.data import DataLoader

from bridge_stg.errors import BridgeSTGError, InputError
from bridge_stg.losses.objective import LossWeights
from bridge_stg.model.modeling import BridgeSTGOutput
from bridge_stg.shapes.vision_stage import ProbeOutput
from bridge_stg.training.checkpoints import (
    Position,
    changed_settings,
    refuse_changes,
    restore,
    save_state,
    save_what_moves,
    write_config,
)
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.data.record_source import refuse_missing
from bridge_stg.training.data.step_data import (
    Batch,
    StepData,
    count_step,
    open_source,
    samples,
    shows_motion,
)
from bridge_stg.training.optimization import (
    apply_settings,
    cosine_schedule,
    describe_groups,
    enable_checkpointing,
    group_settings,
    parameter_groups,
    take_step,
)
from bridge_stg.training.progress import RunLog, TokenGroups
from bridge_stg.training.stages import build_model, export, underlying, write_checkpoint
from bridge_stg.training.throughput import StepOperations, peak_memory_gb, peak_operations
from bridge_stg.training.validation import MakeJudge, Validation, agreed

# The others wait while one process validates or saves longer than they do.
PATIENCE = timedelta(hours=6)
Notes = dict[str, tuple[float | Tensor, float | Tensor]]


def train(
    config: TrainConfig,
    out: Path,
    report: Callable[[str], None] = print,
    judge: MakeJudge | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Path:
    """Run ``config`` in folder ``out``, going on from its last state if there is one.

    A run that was stopped and goes on computes what it would have computed in one go: batches follow from
    (seed, step), everything else is in the state. Every process of a launcher calls this with the same
    arguments.

    Args:
        report: is given a line for people now and then, in the main process.
        judge: makes what validation asks; needed if ``config.validation`` wants any.
        on_step: called with the steps done and all there are.

    Returns:
        The folder of the finished checkpoint: an ordinary Qwen3-VL folder after "vision" and "pretrain", after
        "detector" and "bridge" a Bridge-STG one, or with LoRA what was learned (see
        ``bridge_stg.weights.adapter_files``).

    Raises:
        InputError: the base is missing, the step cannot be split over the processes, or the run in ``out``
            began with settings that cannot be changed.
        BridgeSTGError: too many steps in a row without a finite loss; the weights are those before them.
    """
    accelerator = launch(config, out)
    main = accelerator.is_main_process
    say: Callable[[str], None] = report if main else _nothing
    parts = accelerator.num_processes * config.optim.accumulate
    refuse_missing(config)
    refuse_changes(out, config)
    set_seed(config.data.seed)
    model, processor, origin = build_model(config, say)
    model.train()
    source = open_source(config, processor, parts, out)
    data = StepData(
        source,
        config.optim.steps,
        config.optim.accumulate,
        accelerator.process_index,
        accelerator.num_processes,
    )
    groups = parameter_groups(model, config)
    for line in describe_groups(model, groups):
        say(line)
    if config.gradient_checkpointing:
        say(f"{enable_checkpointing(model)} layers are computed again in the backward pass")
    operations = StepOperations(underlying(model), processor.pad_id)
    optimizer = torch.optim.AdamW(groups, weight_decay=config.optim.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine_schedule(config))
    model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    if not main:
        # Noise of its own; the weights are the main process's.
        set_seed(config.data.seed + accelerator.process_index)

    if main:
        out.mkdir(parents=True, exist_ok=True)
    accelerator.wait_for_everyone()
    save_what_moves(accelerator)
    settings = group_settings(optimizer)
    position = restore(accelerator, out, origin)
    apply_settings(optimizer, schedule, settings)
    validation = Validation(accelerator, config, out, judge)
    if position.step:
        say(f"going on from step {position.step}")
        for change in changed_settings(out / "config.json", config):
            say(f"changed since the last start: {change}")
    if main:
        write_config(out / "config.json", config)
    accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": {"purge_step": position.step + 1}})
    peak = accelerator.num_processes * peak_operations(accelerator.device, config.precision)
    log = RunLog(out / "log.jsonl" if main else None, position.step, peak)

    def hand_over(folder: Path) -> None:
        """A checkpoint of the weights as they are."""
        state = _gathered(accelerator, model)
        if main:
            write_checkpoint(accelerator.unwrap_model(model), processor, config, folder, state)

    worker = Worker(accelerator, model, config, TokenGroups(processor.tokenizer), operations)
    saved = time.monotonic()
    for step, batches in enumerate(batches_from(data, config, position.step), start=position.step):
        losses, notes = worker.compute(batches, log)
        move = take_step(accelerator, optimizer, schedule, torch.stack(losses).sum())
        done, skipped = step + 1, 0 if move.finite else position.skipped + 1
        position = Position(done, skipped, origin)
        if move.finite:
            for name, (value, count) in (
                notes | {name: (norm, 1) for name, norm in move.norms.items()}
            ).items():
                log.add(name, value, count)
        else:
            named = suspects(data, step, losses)
            why = f"step {step}: not finite: {move.faults()}; nothing moved; samples: {', '.join(named)}"
            log.append({"step": done, "event": "skipped", "why": move.faults(), "samples": named})
            say(why)
            if skipped >= config.optim.max_skipped:
                raise BridgeSTGError(f"{why}; {skipped} step(s) in a row, the run ends")
        at_log = done % config.log_every == 0 or done == config.optim.steps
        if at_log:
            memory = peak_memory_gb(accelerator.device)
            lr = schedule.get_last_lr()[0]
            means = log.write(done, gather_object, lr=lr, peak_memory_gb=memory)
            accelerator.log({name: value for name, value in means.items() if name != "step"}, step=done)
            say(" ".join(f"{name}={value}" for name, value in means.items()))
        if validation.due(done, at_log):
            began = time.perf_counter()
            scores = validation.run(underlying(accelerator.unwrap_model(model)), processor, done, hand_over)
            log.append({"step": done, "event": "validation", **scores})
            accelerator.log({f"validation/{name}": value for name, value in scores.items()}, step=done)
            say(f"validation after step {done}: " + " ".join(f"{key}={scores[key]}" for key in scores))
            log.leave_out(time.perf_counter() - began)
        # Only where no average is half done, and always at the end, so that there is nothing to redo.
        late = time.monotonic() - saved > config.save_minutes * 60 or done == config.optim.steps
        if at_log and agreed(accelerator, late):
            save_state(accelerator, out, position, config.keep_states)
            saved = time.monotonic()
        if on_step is not None:
            on_step(done, config.optim.steps)
    state = _gathered(accelerator, model)
    if main:
        export(accelerator.unwrap_model(model), processor, config, out, state)
    accelerator.wait_for_everyone()
    say(f"wrote {out / 'checkpoint'}")
    accelerator.end_training()
    return out / "checkpoint"


def launch(config: TrainConfig, out: Path) -> Accelerator:
    """One process, or those that accelerate's or torch's launcher started; DDP unless it was told FSDP2."""
    ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
    accelerator = Accelerator(
        # Without a GPU accelerate joins processes only when told that CPUs are meant.
        cpu=not torch.accelerator.is_available(),
        mixed_precision=config.precision,
        log_with="tensorboard" if is_tensorboard_available() else None,
        project_dir=out,
        # Otherwise the schedule would take a step per process.
        step_scheduler_with_optimizer=False,
        kwargs_handlers=[ddp, InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if accelerator.distributed_type == DistributedType.FSDP and config.stage != "bridge":
        raise InputError(f"the stage {config.stage!r} trains a small model; start it without FSDP")
    return accelerator


def batches_from(data: StepData, config: TrainConfig, start: int) -> Iterator[list[Batch]]:
    """The batches of this process, from step ``start`` on.

    Raises:
        BridgeSTGError: what stopped a worker process, as it was raised there.
    """
    loader = DataLoader(
        data,
        batch_size=None,
        sampler=range(start, config.optim.steps),
        num_workers=config.data.workers,
        prefetch_factor=4 if config.data.workers else None,
        worker_init_fn=_one_thread,
        # Its own generator: a loader without one draws from the global one whenever a run starts or goes on,
        # and the noise of the steps after that would be another one.
        generator=torch.Generator().manual_seed(config.data.seed),
    )
    for item in loader:
        if isinstance(item, BridgeSTGError):
            raise item
        yield item


class Worker:
    """What a process does with its batches of a step."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        config: TrainConfig,
        groups: TokenGroups,
        operations: StepOperations,
    ) -> None:
        self.accelerator, self.model, self.groups, self.operations = accelerator, model, groups, operations
        self.options: dict[str, Any] = {"weights": LossWeights(**config.weights.model_dump())}
        if config.stage == "bridge":
            # DDP waits for a gradient of every parameter from every process.
            self.options["every_module"] = accelerator.num_processes > 1
            whole = underlying(accelerator.unwrap_model(model))
            self.locating = [*whole.bridge.parameters(), *whole.localizer.parameters()]

    def compute(self, batches: list[Batch], log: RunLog) -> tuple[list[Tensor], Notes]:
        """Forward and backward; the losses (each a share of the step's) and what is worth knowing."""
        accelerator = self.accelerator
        counts = count_step(accelerator, batches)
        losses: list[Tensor] = []
        notes: Notes = {}
        for number, batch in enumerate(batches, start=1):
            log.tally("samples", samples(batch))
            log.tally("tokens", self.operations.tokens(batch))
            log.tally("flops", self.operations(batch))
            kind = "video" if shows_motion(batch) else "image"
            batch = {name: value.to(accelerator.device, non_blocking=True) for name, value in batch.items()}
            last = number == len(batches)
            with contextlib.nullcontext() if last else accelerator.no_sync(self.model):
                output = self.model(**batch, **counts, **self.options)
                # Processes average their gradients; the losses are shares, so their sum is wanted.
                accelerator.backward(output.loss * accelerator.num_processes)
            losses.append(output.loss.detach())
            for name, (value, count) in note(output, batch, counts, self.groups, kind).items():
                before = notes.get(name, (0.0, 0.0))
                notes[name] = (before[0] + value, before[1] + count)
        if self.options.get("every_module") and not int(counts["num_rows"]):
            # Nothing was located anywhere. Gradients of zeros would still move weights, by Adam's momentum.
            for parameter in self.locating:
                parameter.grad = None
        return losses, notes


def note(
    output: BridgeSTGOutput | ProbeOutput, batch: Batch, counts: Batch, groups: TokenGroups, kind: str
) -> Notes:
    """Losses by name and token accuracy by group, of images apart from videos: (sum, count) each."""
    notes: Notes = {}
    if isinstance(output, ProbeOutput):
        assert output.loss is not None  # a ModelOutput may be anything to a type checker
        notes["probe"] = (output.loss.detach(), output.share)
        for name, (right, asked) in output.correct.items():
            notes[f"probe/accuracy_{name}"] = (right, asked)
        return notes
    if output.token_loss is not None and output.logits is not None:
        labels = batch["labels"][batch["labels"] != -100]
        notes[f"{kind}/token"] = (output.token_loss.detach() * counts["num_tokens"], len(labels))
        right, asked = groups.accuracy(output.logits.detach(), labels)
        for index, name in enumerate(groups.names):
            notes[f"{kind}/accuracy_{name}"] = (right[index], asked[index])
    if output.spatial_losses is not None:
        # What the loss was divided by, and how much of it is of this batch.
        found = counts["num_targets"] > 0
        whole = torch.where(found, counts["num_targets"], counts["num_rows"])
        own = torch.where(found, batch["has_target"].sum(), len(batch["has_target"]))
        for term in dataclasses.fields(output.spatial_losses):
            value: Tensor = getattr(output.spatial_losses, term.name)
            notes[f"{kind}/{term.name}"] = (value.detach() * whole, own)
    return notes


def suspects(data: StepData, step: int, losses: list[Tensor]) -> list[str]:
    """The samples whose loss is not finite, in whichever process; all of the step if every loss is finite."""
    broken = [part for part, loss in enumerate(losses) if not bool(loss.isfinite())]
    own = {part: data.names(step, part) for part in range(len(losses))}
    found: list[str] = gather_object([name for part in broken for name in own[part]])
    return found or list(gather_object([name for names in own.values() for name in names]))


def _gathered(accelerator: Accelerator, model: nn.Module) -> dict[str, Tensor] | None:
    """All weights in the main process where each holds a share; None where the model has them."""
    if accelerator.distributed_type != DistributedType.FSDP:
        return None
    state: dict[str, Tensor] = accelerator.get_state_dict(model)
    return state


def _nothing(line: str) -> None:
    pass


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
