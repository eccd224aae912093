"""What the processes of a launcher do: a run in which one clip is broken."""

from __future__ import annotations

from pathlib import Path

from bridge_stg.cli.runs import read_configuration
from bridge_stg.shapes.generated_samples import GeneratedSamples
from bridge_stg.training.data.batch import Batch
from support.small_runs import train, with_a_hole


def break_clip(step: int, clip: str) -> None:
    """From here on the batch of ``step`` that holds ``clip`` has a pixel that is not a number."""
    whole = GeneratedSamples.batch

    def batch(self: GeneratedSamples[Batch], number: int, share: slice) -> Batch:
        made = whole(self, number, share)
        if number == step and clip in self.names(number, share):
            made = with_a_hole(made)
        return made

    GeneratedSamples.batch = batch  # type: ignore[method-assign]


def broken_run(config: Path, out: Path, step: int, clip: str) -> None:
    break_clip(step, clip)
    train(read_configuration(config), out, lambda line: print(line, flush=True))
