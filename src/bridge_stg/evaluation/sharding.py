"""Which of several processes this is, and which videos are its own.

The processes are those of accelerate's or torch's launcher. Each is a rank and writes a file of its own; a run
can go on with another number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bridge_stg.errors import BridgeSTGError

# The fast processes wait for the slow ones at the end, which on a long benchmark takes longer than any default.
PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Shard:
    """The part of one process: ``rank`` of ``processes``; alone unless a launcher started several."""

    rank: int = 0
    processes: int = 1
    state: Any = None  # accelerate.PartialState, if there are several

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def of(self, videos: Sequence[str]) -> list[str]:
        """The videos of this rank, dealt out with a stride, so that neighbours of a kind are spread evenly."""
        return list(videos[self.rank :: self.processes])

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.state is not None:
            self.state.wait_for_everyone()

    def device(self, wanted: str | None) -> str | None:
        """The device of this rank: its own GPU where no particular one is wanted."""
        if self.state is None or wanted not in (None, "cuda"):
            return wanted
        # Not "cpu:0": devices are compared by name.
        return "cpu" if self.state.device.type == "cpu" else str(self.state.device)

    def leave(self) -> None:
        """End the process group."""
        if self.state is not None:
            self.state.destroy_process_group()


def launched(device: str | None) -> Shard:
    """The shard that a launcher gave this process; reads the environment, and loads accelerate only if needed.

    Args:
        device: as the caller wants it; "cpu" keeps the processes off the GPUs.

    Raises:
        BridgeSTGError: the launcher and accelerate do not agree on how many there are.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes < 2 or "RANK" not in os.environ:
        return Shard()
    import torch
    from accelerate import PartialState

    # Without a GPU accelerate joins processes only when told that CPUs are meant.
    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available(), timeout=PATIENCE)
    if state.num_processes != processes:
        # Each would think it is alone and write the whole file.
        raise BridgeSTGError(
            f"the launcher started {processes} processes, but accelerate joined {state.num_processes}; "
            "start them with torchrun, or with accelerate launch --multi_gpu"
        )
    return Shard(state.process_index, processes, state)
