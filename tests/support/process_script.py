"""Started by a launcher in several processes: a run in which one clip is broken.

torchrun process_script.py CONFIG.json OUT STEP CLIP
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from bridge_stg.cli.train import read_configuration
from bridge_stg.training.data.step_data import Batch, GeneratedClips
from bridge_stg.training.loop import train


def break_clip(step: int, clip: str) -> None:
    """From here on the batch of ``step`` that holds ``clip`` has a pixel that is not a number."""
    whole = GeneratedClips.batch

    def batch(self: GeneratedClips, number: int, share: slice) -> Batch:
        made = whole(self, number, share)
        if number == step and clip in self.names(number, share):
            made["pixel_values_videos"][0, 0] = float("nan")
        return made

    GeneratedClips.batch = batch  # type: ignore[method-assign]


if __name__ == "__main__":
    torch.set_num_threads(1)
    config, out, step, clip = sys.argv[1:]
    break_clip(int(step), clip)
    train(read_configuration(Path(config)), Path(out), lambda line: print(line, flush=True))
