"""One step of a process: forward and backward over its batches, with the counts of the whole step."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.training.data.batch import Batch
from bridge_stg.training.data.step_data import StepData
from bridge_stg.training.log import RunLog
from bridge_stg.training.stage import Counts, Notes, Stage
from bridge_stg.training.throughput import StepOperations


@dataclass
class StepRunner:
    """Computes the gradient of a step; ``model`` is as accelerate prepared it."""

    accelerator: Accelerator
    stage: Stage[Any]
    model: nn.Module
    processor: BridgeSTGProcessor

    def __post_init__(self) -> None:
        self.bare = self.accelerator.unwrap_model(self.model)
        self.options = self.stage.options(self.accelerator.num_processes)
        self.operations = StepOperations(self.stage.whole(self.bare))

    def compute(self, batches: list[Batch], log: RunLog) -> tuple[list[Tensor], Notes]:
        """Forward and backward; the losses (each a share of the step's) and what the log says of them."""
        accelerator = self.accelerator
        counts = count_step(accelerator, self.stage, batches)
        losses: list[Tensor] = []
        notes: Notes = {}

        for number, batch in enumerate(batches, start=1):
            work = batch.work(self.processor)
            log.tally("samples", batch.samples)
            log.tally("tokens", work.tokens)
            log.tally("flops", self.operations(work))

            batch = batch.to(accelerator.device)
            last = number == len(batches)
            with contextlib.nullcontext() if last else accelerator.no_sync(self.model):
                output = self.model(**batch.inputs(self.processor), **counts, **self.options)
                # Processes average their gradients; the losses are shares, so their sum is wanted.
                accelerator.backward(output.loss * accelerator.num_processes)

            losses.append(output.loss.detach())
            for name, (value, count) in self.stage.notes(output, batch, counts).items():
                before = notes.get(name, (0.0, 0.0))
                notes[name] = (before[0] + value, before[1] + count)

        for parameter in self.stage.unreached(self.bare, counts):
            parameter.grad = None
        return losses, notes


def count_step(accelerator: Accelerator, stage: Stage[Any], batches: list[Batch]) -> Counts:
    """The counts of a whole step: over all parts of all processes."""
    counts = [stage.counts(batch) for batch in batches]
    own = {name: torch.stack([one[name] for one in counts]).sum(0) for name in counts[0]}
    on_device: Any = {name: value.to(accelerator.device) for name, value in own.items()}
    found: Counts = accelerator.reduce(on_device, reduction="sum")
    return found


def suspects(data: StepData, step: int, losses: list[Tensor]) -> list[str]:
    """The samples whose loss is not finite, in whichever process; all of the step if every loss is finite."""
    broken = [part for part, loss in enumerate(losses) if not bool(loss.isfinite())]
    own = {part: data.names(step, part) for part in range(len(losses))}
    found: list[str] = gather_object([name for part in broken for name in own[part]])
    return found or list(gather_object([name for names in own.values() for name in names]))
