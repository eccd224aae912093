"""Spatio-Temporal Semantic Bridging (STSB, section 3.2): from the language model's context to Q_bridge.

After ``<det>``, M learned queries enter the language model as one chunk; their last-layer hidden states pass
through an MLP and become the bridging queries (Eq. 3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.frame_queries import FrameQueries


class SemanticBridge(nn.Module):
    """Q_init and the MLP of Eq. 3.

    Args:
        num_queries: M; 0 means that the hidden state of ``<det>`` alone is projected (the "no bridge"
            ablation).
        width: D, the language model's width.
        constants: cut the bridge: how many learned vectors are projected, whatever the language model says.
    """

    def __init__(self, num_queries: int, width: int, constants: int = 0) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.queries = nn.Parameter(torch.empty(num_queries, width)) if num_queries else None
        self.constants = nn.Parameter(torch.empty(constants, width)) if constants else None
        self.projection = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, std: float = 0.02) -> None:
        """Queries as small as token embeddings, linear layers by Xavier."""
        for learned in (self.queries, self.constants):
            if learned is not None:
                nn.init.normal_(learned, std=std)
        for layer in self.projection:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    @property
    def tokens_per_sentence(self) -> int:
        """How many hidden states one sentence hands over: M, or 1 when M is 0."""
        return max(self.num_queries, 1)

    def insert_queries(self, inputs_embeds: Tensor, slot_mask: Tensor) -> Tensor:
        """Put Q_init into ``inputs_embeds`` (B, L, D) where ``slot_mask`` (B, L) is True, M per sentence."""
        if self.queries is None:
            return inputs_embeds
        slots = int(slot_mask.sum())
        if slots % self.num_queries:
            raise ValueError(
                f"{slots} query slots are not a multiple of the {self.num_queries} bridging queries"
            )
        rows = self.queries.repeat(slots // self.num_queries, 1).to(inputs_embeds.dtype)
        return inputs_embeds.masked_scatter(slot_mask[..., None], rows)

    def forward(self, hidden: Tensor) -> Tensor:
        """Eq. 3: last-layer hidden states (S, M, D) -> Q_bridge (S, M, D)."""
        if self.constants is not None:
            hidden = self.constants.to(hidden.dtype).expand(len(hidden), -1, -1)
        return self.projection(hidden)


def bridge_of(config: BridgeSTGConfig) -> SemanticBridge | FrameQueries | None:
    """What a model hands over to boxes, with new weights; None where boxes are written as text."""
    if config.objective == "entangled":
        return None
    if config.objective == "parallel":
        queries = FrameQueries(config.mllm.text_config.hidden_size)
        queries.reset_parameters(config.initializer_range)
        return queries
    constants = config.num_bridge_queries if config.bridge == "none" else 0
    bridge = SemanticBridge(config.query_slots, config.mllm.text_config.hidden_size, constants)
    bridge.reset_parameters(config.initializer_range)
    return bridge
