"""A clip that the language model has read, and what answers about it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.inference.answer_outcome import Found
from bridge_stg.inference.answering import ReadClip
from bridge_stg.inference.clip_cost import ClipCost, StageClock
from bridge_stg.inference.decoded_answers import AskedQueries
from bridge_stg.types import SampledVideo, TimeSpan


@dataclass(frozen=True)
class LoadedClip:
    """A clip that the language model has read. ``grid`` (P, H, W) is in merged visual tokens.

    ``seconds``: (F,) of its frames on the clock of the clip; a frame that is on screen as it begins is at 0.
    """

    extent: TimeSpan
    sampled: SampledVideo
    seconds: NDArray[np.float64]
    grid: tuple[int, int, int]
    read: ReadClip

    def cost(self, asked: AskedQueries, found: Sequence[Found], clock: StageClock) -> ClipCost:
        """What reading the clip and answering ``asked`` took."""
        pairs, height, width = self.grid
        sampled = self.sampled
        return ClipCost(
            frames=len(sampled),
            frame_width=sampled.frames.shape[2],
            frame_height=sampled.frames.shape[1],
            source_fps=float(sampled.info.fps),
            visual_tokens=pairs * height * width,
            prompt_tokens=tuple(self.read.length + len(ids) for ids in asked.ids),
            answer_tokens=tuple(len(one.answer.pieces) + one.tokens_before for one in found),
            located_frames=tuple(0 if one.tube is None else len(one.tube) for one in found),
            milliseconds=dict(clock.milliseconds),
        )
