"""Generated samples as the training loop asks for them: drawn when they are needed, named by their seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import InputError
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.shapes.configuration import ShapesData, ShapesTrainConfig
from bridge_stg.training.stage import SomeBatch

# (data, step, steps of the run, processor, share of the step) -> these samples.
Build = Callable[[ShapesData, int, int, BridgeSTGProcessor, slice], SomeBatch]
# (data, step, steps of the run) -> the seed of every sample of the step.
Seeds = Callable[[ShapesData, int, int], NDArray[np.int64]]


class GeneratedSamples(Generic[SomeBatch]):
    """Scenes of moving shapes.

    Raises:
        InputError: a step has fewer clips than there are ``parts`` to split it into.
    """

    def __init__(
        self,
        config: ShapesTrainConfig,
        processor: BridgeSTGProcessor,
        parts: int,
        build: Build[SomeBatch],
        seeds: Seeds,
    ) -> None:
        self.data, self.steps, self.processor = config.data, config.optim.steps, processor
        self.build, self.seeds = build, seeds
        fewest = config.data.clips_per_step
        if config.data.image_share > 0:
            fewest = min(fewest, config.data.images_per_step)

        if fewest < parts:
            raise InputError(
                f"a step of {fewest} clip(s) cannot be split into {parts} parts (processes times "
                "optim.accumulate); raise data.clips_per_step and data.images_per_step"
            )

    def batch(self, step: int, share: slice) -> SomeBatch:
        """The samples ``share`` of a step; a pure function of the step and the seed of the data."""
        return self.build(self.data, step, self.steps, self.processor, share)

    def names(self, step: int, share: slice) -> list[str]:
        """What these samples are called in messages."""
        return [f"clip {seed}" for seed in self.seeds(self.data, step, self.steps)[share]]
