"""Boxes from the language model alone, all frames in one forward pass: the parallel baseline.

After ``<det>`` one learned query per sampled frame of the clip enters the language model as one chunk; a small
head turns its last hidden state into the box of that frame. Nothing is autoregressive over boxes, and there is
no detector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bridge_stg.model.spatial.heads import MLP

# Longest period of the sines that tell frames apart, in frames.
LONGEST_PERIOD = 10_000.0


class FrameQueries(nn.Module):
    """One query for all frames, their numbers, and the box head.

    Args:
        width: D, the language model's width; even.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(width))
        self.number = nn.Linear(width, width)
        self.head = MLP(width, width, 4, depth=3)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, std: float = 0.02) -> None:
        """The query and the map of frame numbers as small as token embeddings."""
        nn.init.normal_(self.query, std=std)
        nn.init.normal_(self.number.weight, std=std)
        nn.init.zeros_(self.number.bias)

    def insert_queries(self, inputs_embeds: Tensor, slot_mask: Tensor) -> Tensor:
        """Put the query of frame k into the k-th place of every run of ``slot_mask`` (B, L)."""
        # Places within a run: distance to the last place before it.
        index = torch.arange(slot_mask.shape[1], device=slot_mask.device).expand_as(slot_mask)
        before = torch.where(slot_mask, -1, index).cummax(dim=1).values
        frame = (index - before - 1)[slot_mask]
        rows = self.query + self.number(_sines(frame, len(self.query)).to(self.query.dtype))
        return inputs_embeds.masked_scatter(slot_mask[..., None], rows.to(inputs_embeds.dtype))

    def forward(self, hidden: Tensor) -> Tensor:
        """Last hidden states (..., D) of frame queries -> boxes (..., 4), cxcywh in [0, 1], float32."""
        boxes: Tensor = self.head(hidden).float().sigmoid()
        return boxes


def _sines(numbers: Tensor, width: int) -> Tensor:
    """(N,) whole numbers -> (N, width) sines and cosines of them."""
    half = width // 2
    steps = torch.arange(half, device=numbers.device, dtype=torch.float32) / half
    angles = numbers.float()[:, None] / LONGEST_PERIOD**steps
    return torch.cat([angles.sin(), angles.cos()], dim=1)
