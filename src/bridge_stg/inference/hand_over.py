"""What boxes come from after an answer: bridging queries, or in the baselines the boxes themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge_stg.geometry.boxes import cxcywh_to_xyxy
from bridge_stg.geometry.spans import boxes_at
from bridge_stg.inference.answering import MAX_ANSWER_TOKENS, Answers, ReadClip, bridge_answers
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.prompting.written_boxes import read_boxes

# A hundred boxes of 40 tokens, in a vocabulary that spells every digit.
MAX_WRITTEN_TOKENS = 4096


def answer_limit(config: BridgeSTGConfig) -> int:
    """Tokens that an answer may have by default."""
    return MAX_WRITTEN_TOKENS if config.objective == "entangled" else MAX_ANSWER_TOKENS


def hand_over(
    model: BridgeSTGForVideoGrounding,
    clip: ReadClip,
    answers: Answers,
    texts: Sequence[str],
    times: NDArray[np.float64],
) -> Tensor:
    """Q_bridge (S, M, D) of S answers; of a baseline the box of every frame (S, F, 4), xyxy in [0, 1].

    Args:
        texts: the answers in words. times: (F,) seconds of the frames, on the clock of the clip.
    """
    objective = model.config.objective
    if objective == "entangled":
        return torch.stack([_written(text, times) for text in texts])
    queries = bridge_answers(model, clip, answers, model.config.slots_for(len(times)))
    return cxcywh_to_xyxy(queries).clamp(0.0, 1.0) if objective == "parallel" else queries


def _written(text: str, times: NDArray[np.float64]) -> Tensor:
    """(F, 4) the boxes that a text names, at the times of the frames: between two of them on the line, beyond
    them the nearest; the whole frame where it names none.
    """
    found = sorted(read_boxes(text))
    if not found:
        return torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(len(times), 1)
    seconds, corners = zip(*found, strict=True)
    return torch.from_numpy(boxes_at(np.array(seconds), np.array(corners), times)).float()
