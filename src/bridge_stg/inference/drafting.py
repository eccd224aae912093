"""Drafts of answers in tokens: what ``prompting.drafts`` says in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bridge_stg.geometry.spans import frame_pairs
from bridge_stg.inference.decoded_answers import AskedQueries
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.prompting.drafts import direct_draft, scan_draft
from bridge_stg.prompting.timestamps import named_second
from bridge_stg.types import WINDOW_TASKS

# What follows a text, given the answer as far as it is foreseen.
Continuation = Callable[[str, str], str]


class TextDrafter:
    """A ``Drafter`` of S sentences, each with its own continuation."""

    def __init__(
        self, processor: BridgeSTGProcessor, continuations: Sequence[Continuation], opening: str = ""
    ) -> None:
        """``opening`` is the beginning of the answers where it is part of the questions."""
        self.processor = processor
        self.continuations = continuations
        self.opening = opening

    def draft(self, sentence: int, said: Sequence[int], predicted: Sequence[int]) -> Sequence[int]:
        decode = self.processor.tokenizer.decode
        text = self.opening + decode(list(said))
        guess = self.opening + decode([*said, *predicted])
        return self.processor.plain_ids(self.continuations[sentence](text, guess))


def drafter_of(
    processor: BridgeSTGProcessor, asked: AskedQueries, times: NDArray[np.float64], first: int = 0
) -> TextDrafter | None:
    """Drafts of the answers to ``asked`` from sentence ``first`` on; None for tasks without wordings.

    Args:
        times: (F,) seconds of the frames that the model reads, on the clock of the clip.
    """
    config = processor.config
    if asked.task not in WINDOW_TASKS or config.objective == "entangled":
        return None
    queries = asked.queries[first:]
    if asked.style == "scan":
        seconds = scan_seconds(times)
        continuations: list[Continuation] = [
            partial(scan_draft, query=query, seconds=seconds) for query in queries
        ]
    else:
        continuations = [partial(direct_draft, fps=config.sample_fps) for _ in queries]
    return TextDrafter(processor, continuations, asked.opening)


def scan_seconds(times: NDArray[np.float64]) -> list[int]:
    """The seconds that a scan names, one of each pair of the frames at ``times`` (F,)."""
    return [named_second(float(time)) for time in times[frame_pairs(len(times))[:, 0]]]
