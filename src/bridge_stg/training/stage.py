"""What a kind of training has to say to the loop: its model, its data, its losses, and what it hands over.

The loop knows no kind of model, batch or output by name. ``bridge_stg.training.bridge_stage`` is the stage of
the paper; ``bridge_stg.cli.runs`` has the table of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.training.data.batch import Batch

# What the sums of a loss are divided by, as arguments of the model's forward.
Counts = dict[str, Tensor]
# Name in the log -> a sum and over how many items; tensors stay on their device until a line is written.
Notes = dict[str, tuple[float | Tensor, float | Tensor]]
Report = Callable[[str], None]

# What the names of the spatial decoder's parameters begin with in a Bridge-STG.
SPATIAL_PREFIX = "localizer."

SomeBatch = TypeVar("SomeBatch", bound=Batch)
MadeBatch = TypeVar("MadeBatch", bound=Batch, covariant=True)


@dataclass(frozen=True)
class Start:
    """The model of a stage, with exactly what learns trainable.

    origin: a hash of the weights that were read; "" where all of them are new.
    spatial_prefix: what the names of the parameters begin with that learn at the rate of the spatial decoder.
    """

    model: nn.Module
    processor: BridgeSTGProcessor
    origin: str
    spatial_prefix: str = SPATIAL_PREFIX


@dataclass(frozen=True)
class HeldOut:
    """What validation asks: ``folder`` holds truth.jsonl, of which at most ``videos`` are used; None is all."""

    folder: Path
    videos: int | None


class StepSource(Protocol[MadeBatch]):
    """Where training samples come from."""

    def batch(self, step: int, share: slice) -> MadeBatch:
        """The samples ``share`` of a step; a pure function of its arguments."""
        ...

    def names(self, step: int, share: slice) -> list[str]:
        """What these samples are called in messages."""
        ...


class Stage(Protocol[SomeBatch]):
    """One kind of training, made for one configuration."""

    can_be_sharded: bool

    @property
    def config(self) -> TrainConfig:
        """What this run is to be."""
        ...

    def build(self, report: Report) -> Start:
        """The model to train; ``report`` is told what was read and what is new.

        Raises:
            InputError: the base is missing, or is none that the stage can start from.
        """
        ...

    def whole(self, model: nn.Module) -> BridgeSTGForVideoGrounding:
        """The Bridge-STG in the model of this stage."""
        ...

    def source(
        self, processor: BridgeSTGProcessor, parts: int, run_folder: Path | None
    ) -> StepSource[SomeBatch]:
        """The samples, a step of which can be split into ``parts``; ``run_folder`` gets the unusable ones.

        Raises:
            InputError: a step cannot be split so, or a source cannot be read.
        """
        ...

    def counts(self, batch: SomeBatch) -> Counts:
        """What the losses of a batch are divided by; the loop adds them up over the step."""
        ...

    def options(self, processes: int) -> dict[str, Any]:
        """Further arguments of the model's forward."""
        ...

    def unreached(self, model: nn.Module, counts: Counts) -> Iterable[nn.Parameter]:
        """Parameters that no sample of a step with these counts reached.

        They must not move: a gradient of zeros would still move weights, by Adam's momentum.
        """
        ...

    def notes(self, output: Any, batch: SomeBatch, counts: Counts) -> Notes:
        """What the log says of a pass; ``counts`` are those of the whole step."""
        ...

    def held_out(self, out: Path, writes: bool) -> HeldOut:
        """What to validate on; made in the run's folder ``out`` by the process that ``writes``."""
        ...

    def export(
        self, model: nn.Module, processor: BridgeSTGProcessor, folder: Path, state: dict[str, Tensor] | None
    ) -> None:
        """Write the checkpoint that the stage hands over into an empty folder.

        Args:
            state: all weights by name where the model itself holds only a share of them (FSDP2).
        """
        ...
