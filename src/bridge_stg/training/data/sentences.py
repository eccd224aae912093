"""What a located sentence is for each objective: the words to learn, and the rows that boxes come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import Branch
from bridge_stg.prompting.written_boxes import boxes_text
from bridge_stg.training.configuration import DataConfig
from bridge_stg.training.data.positive_negative_frames import draw_frames
from bridge_stg.training.data.training_clip import ClipRows
from bridge_stg.types import AnswerStyle, TimeSpan


@dataclass(frozen=True)
class Track:
    """Where an object is: ``times`` (F,) seconds of the sampled frames, ``box`` (F, 4) xyxy in [0, 1] and where
    (F,) it is ``annotated``; ``begin`` is when the clip begins.
    """

    times: NDArray[np.float64]
    box: NDArray[np.float64]
    annotated: NDArray[np.bool_]
    begin: float = 0.0


@dataclass(frozen=True)
class Sentence:
    """A question that is answered with boxes."""

    task: str
    query: str
    answer: str
    style: AnswerStyle | None = None


def located_branch(
    sentence: Sentence, track: Track, frames: NDArray[np.int64], processor: BridgeSTGProcessor
) -> Branch:
    """The sentence with its answer; an entangled model writes the boxes of ``frames`` after it."""
    answer, locates = sentence.answer, processor.config.objective != "entangled"
    if not locates:
        written = [(float(track.times[f] - track.begin), tuple(track.box[f].tolist())) for f in frames]
        answer = f"{answer} {boxes_text(written)}"
    return processor.branch(
        sentence.task, sentence.query, answer, locates, sentence.style, frames=len(track.times)
    )


def frames_to_learn(
    track: Track, window: TimeSpan, data: DataConfig, seed: int, objective: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positive and negative frames of a sentence.

    P and N of section 4.1 for the spatial decoder; the baselines, which pay nothing for a frame more, learn
    from all that are annotated inside the window.
    """
    if objective == "bridge":
        chosen = draw_frames(track.times, track.annotated, window, data.num_positive, data.num_negative, seed)
        return chosen.positive, chosen.negative
    inside = (track.times >= window.start) & (track.times < window.end) & track.annotated
    return np.flatnonzero(inside), np.zeros(0, dtype=np.int64)


def add_rows(
    rows: ClipRows, track: Track, positive: NDArray[np.int64], negative: NDArray[np.int64], objective: str
) -> None:
    """The rows of the sentence that was just added; an entangled model has none."""
    if objective == "entangled":
        return
    rows.add(positive, track.box, True)
    rows.add(negative, track.box, False)
    rows.sentences += 1
