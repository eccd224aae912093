"""The keys and values of a clip, which all sentences about it attend to in each step.

Shape letters: K key-value heads, R queries of one of them (of all its heads, tokens and sentences), P tokens of
the clip, C channels of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache

from bridge_stg.model.attention_parts import attend_part
from bridge_stg.model.cpu_linear import has_onednn_product, onednn_product

# With fewer keys one kernel over all heads costs less than its products one by one.
MIN_TOKENS = 1024
# Rows whose scores are made at once, so that they stay in a processor's cache.
ROWS = 64


class SharedKeys:
    """A prefilled cache of one row, laid out for being read many times.

    On a CPU in float32 keys are kept with their tokens beside each other, which oneDNN's product reads fastest;
    they take the place of those in the cache, so that nothing is kept twice.
    """

    def __init__(self, cache: DynamicCache) -> None:
        self.layers = [(layer.keys, layer.values) for layer in cache.layers]
        keys = self.layers[0][0]
        self.by_products = has_onednn_product(keys) and keys.shape[2] >= MIN_TOKENS
        if self.by_products:
            for index, layer in enumerate(cache.layers):
                layer.keys = layer.keys.transpose(2, 3).contiguous().transpose(2, 3)
                self.layers[index] = layer.keys, layer.values

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for layer in self.layers for part in layer)

    def attend(self, layer: int, query_KRC: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """(K, R, C), and the log-sum-exps (K, R) of the scores."""
        keys_1KPC, values_1KPC = self.layers[layer]
        if not self.by_products:
            out_1KRC, lse_1KR = attend_part(query_KRC[None], keys_1KPC, values_1KPC, scale)
            return out_1KRC[0], lse_1KR[0]

        query_KRC = query_KRC * scale
        out_KRC = torch.empty_like(query_KRC)
        top_KR, share_KR = query_KRC.new_empty(2, *query_KRC.shape[:2])
        for head, (keys_PC, values_PC) in enumerate(zip(keys_1KPC[0], values_1KPC[0], strict=True)):
            for first in range(0, query_KRC.shape[1], ROWS):
                rows = slice(first, first + ROWS)
                scores_RP = onednn_product(query_KRC[head, rows], keys_PC)
                torch.amax(scores_RP, -1, out=top_KR[head, rows])
                torch.softmax(scores_RP, -1, out=scores_RP)
                torch.amax(scores_RP, -1, out=share_KR[head, rows])
                out_KRC[head, rows] = onednn_product(scores_RP, values_PC.t())
        # The share of the highest score is exp(it - lse).
        return out_KRC, top_KR - share_KR.log()
