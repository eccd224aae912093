"""What an answer hands over to the spatial decoder: bridging queries, or in the baselines finished boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge_stg.geometry.boxes import cxcywh_to_xyxy
from bridge_stg.geometry.spans import boxes_at
from bridge_stg.inference.answering import Answers, ReadClip, bridge_answers
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.prompting.written_boxes import read_boxes


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
    """The boxes that a text names, at the times of the frames, (F, 4).

    Between two named boxes the box is interpolated, before the first and after the last the nearest one holds.
    A text without boxes gives the whole frame.
    """
    found = sorted(read_boxes(text))
    if not found:
        return torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(len(times), 1)
    seconds, corners = zip(*found, strict=True)
    return torch.from_numpy(boxes_at(np.array(seconds), np.array(corners), times)).float()
