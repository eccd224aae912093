"""Sentences as branches of one row over one cache: the clip's keys are read once for all of them.

Each sentence keeps the keys and values of its own tokens only. What is fed in one pass is one row of tokens of
all sentences, each of which may bring another number of them.

Shape letters: A sentences fed in one pass, Q the most tokens that one of them brings, N tokens of all of them,
H heads, G heads per key-value head (K), W own tokens so far, C channels of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bridge_stg.model.attention_parts import attend_part, join_outputs
from bridge_stg.model.shared_keys import SharedKeys

# Room is made for this many tokens at a time.
BLOCK = 64


class BranchCache:
    """Keys and values of S sentences beside those of their clip; a ``Pattern`` of the language model.

    ``lengths`` says how many of a sentence's own tokens are kept; a smaller number forgets the last ones.
    """

    def __init__(self, clip: SharedKeys, sentences: int, groups: int) -> None:
        """``groups``: the heads that share a key-value head."""
        self.clip, self.groups = clip, groups
        self.lengths = [0] * sentences
        first, _ = clip.layers[0]
        shape = (sentences, first.shape[1], 0, first.shape[-1])
        self.keys = [first.new_empty(shape) for _ in clip.layers]
        self.values = [first.new_empty(shape) for _ in clip.layers]

    @property
    def nbytes(self) -> int:
        """What the sentences' own tokens take."""
        return sum(part.nbytes for part in (*self.keys, *self.values))

    def feed(self, sentences: Sequence[int], counts: Sequence[int]) -> Tensor:
        """Prepare a pass in which each of ``sentences`` brings some tokens: their places (N,) in its text."""
        device = self.keys[0].device
        before = [self.lengths[sentence] for sentence in sentences]
        after = [start + count for start, count in zip(before, counts, strict=True)]
        self._make_room(max(after))
        for sentence, length in zip(sentences, after, strict=True):
            self.lengths[sentence] = length

        # Where each token is: its sentence, its place there, and its row and column in a padded batch.
        rows_A = torch.tensor(list(sentences))
        counts_A = torch.tensor(list(counts))
        row_N = torch.arange(len(counts)).repeat_interleave(counts_A)
        column_N = torch.arange(len(row_N)) - (counts_A.cumsum(0) - counts_A)[row_N]
        place_N = torch.tensor(before)[row_N] + column_N
        self._every = list(sentences) == list(range(len(self.lengths)))
        self._rows_A, self._sentence_N = rows_A.to(device), rows_A[row_N].to(device)
        self._place_N = place_N.to(device)
        self._most, self._used = max(counts), max(after)

        # Where all sentences bring equally many tokens there is no padding; else cells are filled by index.
        self._cell_N, self._token_AQ = None, None
        if min(counts) != self._most:
            token_AQ = torch.zeros(len(counts), self._most, dtype=torch.long)
            token_AQ[row_N, column_N] = torch.arange(len(row_N))
            self._cell_N, self._token_AQ = (row_N.to(device), column_N.to(device)), token_AQ.to(device)

        # A token sees its sentence up to itself; padding sees the first token, so that nothing is NaN.
        place_AQ = torch.zeros(len(counts), self._most, dtype=torch.long)
        place_AQ[row_N, column_N] = place_N
        hidden_AQW = torch.arange(self._used) > place_AQ[..., None]
        bias = torch.zeros(hidden_AQW.shape).masked_fill(hidden_AQW, -torch.inf)
        self._bias_A1QW = bias.repeat(1, self.groups, 1)[:, None].to(device, self.keys[0].dtype)
        return self._place_N

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """The contract of ``Pattern``: one row of queries (1, H, N, C), keys and values (1, K, N, C)."""
        # Every sentence keeps its own keys and values.
        self.keys[layer][self._sentence_N, :, self._place_N] = key[0].transpose(0, 1)
        self.values[layer][self._sentence_N, :, self._place_N] = value[0].transpose(0, 1)

        # The clip, for all tokens together: heads that share keys are more queries of one head.
        query_KGNC = query.reshape(key.shape[1], self.groups, *query.shape[2:])
        clip_out, clip_lse = self.clip.attend(layer, query_KGNC.flatten(1, 2), scale)
        clip_out, clip_lse = clip_out.view(query_KGNC.shape), clip_lse.view(query_KGNC.shape[:-1])

        # The sentences themselves, padded to the one that brings the most tokens.
        if self._token_AQ is None:
            query_KGAQC = query_KGNC.reshape(*query_KGNC.shape[:2], -1, self._most, query.shape[-1])
        else:
            query_KGAQC = query_KGNC[:, :, self._token_AQ]
        grouped_AKQC = query_KGAQC.permute(2, 0, 1, 3, 4).flatten(2, 3)
        own_keys, own_values = self._own(self.keys[layer]), self._own(self.values[layer])
        out, lse = attend_part(grouped_AKQC, own_keys, own_values, scale, bias=self._bias_A1QW)
        own_out = out.reshape(*out.shape[:2], self.groups, self._most, -1).permute(1, 2, 0, 3, 4)
        own_lse = lse.reshape(*lse.shape[:2], self.groups, self._most).permute(1, 2, 0, 3)
        if self._cell_N is None:
            clip_out, clip_lse = clip_out.view(own_out.shape), clip_lse.view(own_lse.shape)
        else:
            row_N, column_N = self._cell_N
            own_out, own_lse = own_out[:, :, row_N, column_N], own_lse[:, :, row_N, column_N]

        return join_outputs(clip_out, clip_lse, own_out, own_lse).reshape(query.shape)

    def _own(self, kept: Tensor) -> Tensor:
        """(A, K, W, C) of the sentences that are fed."""
        used = kept[:, :, : self._used]
        return used if self._every else used[self._rows_A]

    def _make_room(self, length: int) -> None:
        """Make room for more tokens of each sentence; at least half as much again, so that it is rare."""
        room = self.keys[0].shape[2]
        if length <= room:
            return
        new = -(-max(length, room + room // 2) // BLOCK) * BLOCK
        for parts in (self.keys, self.values):
            for layer, old in enumerate(parts):
                grown = old.new_empty(old.shape[0], old.shape[1], new, old.shape[3])
                grown[:, :, :room] = old
                # What was never written is multiplied by a weight of 0, which NaN would survive.
                grown[:, :, room:] = 0
                parts[layer] = grown
