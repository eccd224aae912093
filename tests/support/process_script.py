"""Started by a launcher in several processes: a run in which one clip is broken.

torchrun process_script.py CONFIG.json OUT STEP CLIP
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from bridge_stg.cli.runs import read_configuration
from bridge_stg.shapes.source import GeneratedSamples
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


if __name__ == "__main__":
    torch.set_num_threads(1)
    config, out, step, clip = sys.argv[1:]
    break_clip(int(step), clip)
    train(read_configuration(Path(config)), Path(out), lambda line: print(line, flush=True))
