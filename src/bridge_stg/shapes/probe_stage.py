"""What the two stages share that teach a part of the model to see: they answer probes, and no sentences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.shapes.configuration import ShapesTrainConfig
from bridge_stg.training.data.batch import Batch
from bridge_stg.training.stage import Counts, HeldOut, Notes


@dataclass
class ProbeOutput:
    """``loss``; per question how many cells were named right out of how many; and ``share``, the part of the
    step's loss that this is.
    """

    loss: Tensor
    correct: dict[str, tuple[int, int]]
    share: Tensor


class ProbeStage:
    """A stage whose model is a probe around a Bridge-STG, in its field ``model``."""

    can_be_sharded = False

    def __init__(self, config: ShapesTrainConfig) -> None:
        self.config = config

    def whole(self, model: nn.Module) -> BridgeSTGForVideoGrounding:
        inner = model.model
        assert isinstance(inner, BridgeSTGForVideoGrounding)
        return inner

    def options(self, processes: int) -> dict[str, Any]:
        return {"weights": self.config.weights}

    def unreached(self, model: nn.Module, counts: Counts) -> Iterable[nn.Parameter]:
        return ()

    def notes(self, output: ProbeOutput, batch: Batch, counts: Counts) -> Notes:
        notes: Notes = {"probe": (output.loss.detach(), output.share)}
        for name, (right, asked) in output.correct.items():
            notes[f"probe/accuracy_{name}"] = (right, asked)
        return notes

    def held_out(self, out: Path, writes: bool) -> HeldOut:
        raise AssertionError("the configuration refuses validation of a model that does not ground")
