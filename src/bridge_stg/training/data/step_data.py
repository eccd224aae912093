"""The samples of a step, split over processes and over parts that each process computes one after the other.

Which samples a step has is a pure function of (seed, step), whatever the number of processes and parts. Every
loss is a sum divided by a count of the whole step, so the gradient does not depend on the split either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from bridge_stg.errors import BridgeSTGError
from bridge_stg.training.data.batch import Batch
from bridge_stg.training.stage import StepSource

# Steps that a loader process works on or has ready; each holds all frames of a step. One more is with the loop.
STEPS_AHEAD = 1


class StepData(Dataset[list[Batch] | BridgeSTGError]):
    """Item ``step``: the batches that process ``rank`` of ``processes`` computes, one after the other.

    An error that a user can act on is an item too: raised in a worker process of a loader, its one line would
    arrive inside the text of a traceback.
    """

    def __init__(
        self, source: StepSource[Any], steps: int, accumulate: int = 1, rank: int = 0, processes: int = 1
    ) -> None:
        self.source, self.steps = source, steps
        parts = accumulate * processes
        # A stride, so that neighbours of a kind are spread evenly.
        self.shares = [slice(rank * accumulate + part, None, parts) for part in range(accumulate)]

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> list[Batch] | BridgeSTGError:
        try:
            return [self.source.batch(step, share) for share in self.shares]
        except BridgeSTGError as problem:
            return problem

    def names(self, step: int, part: int) -> list[str]:
        """What the samples of one batch are called."""
        return self.source.names(step, self.shares[part])


def batches_from(data: StepData, start: int, workers: int, seed: int) -> Iterator[list[Batch]]:
    """The batches of this process, from step ``start`` on, made by ``workers`` loader processes.

    Raises:
        BridgeSTGError: what stopped a loader process, as it was raised there.
    """
    loader = DataLoader(
        data,
        batch_size=None,
        sampler=range(start, len(data)),
        num_workers=workers,
        prefetch_factor=STEPS_AHEAD if workers else None,
        worker_init_fn=_one_thread,
        # Its own generator: a loader without one draws from the global one whenever a run starts or goes on,
        # and the noise of the steps after that would be another one.
        generator=torch.Generator().manual_seed(seed),
    )

    for item in loader:
        if isinstance(item, BridgeSTGError):
            raise item
        yield item


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
