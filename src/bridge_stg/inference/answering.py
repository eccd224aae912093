"""Inference on one clip: prefill once, answer every sentence, hand over the bridging queries.

The clip's key-value cache is computed once and shared by all sentences. Sentences are answered greedily side by
side; each stops at ``<det>`` (or at the end of its turn), and then ``<det>`` and the M queries enter as one
chunk on the same cache (Eq. 3). Only the last position's logits are ever computed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, EncodedVideo
from bridge_stg.model.temporal_alignment import ClipLayout

# An answer that tells a clip second by second takes about three tokens for each.
MAX_ANSWER_TOKENS = 256


@dataclass
class ReadClip:
    """A clip after prefill: its cache (one row), its length in tokens and where the text after it starts."""

    cache: DynamicCache
    length: int
    next_position: int


@dataclass
class Answers:
    """Greedy answers of S sentences, and the state of the language model after them.

    ``ids``: generated tokens without the ending one; ``log_probs`` the logarithm of each one's probability.
    ``asks_where``: whether the model itself ended with <det>.
    ``cache``: keys and values of clip, questions and answers, ``attention_mask`` (S, K) which of its K places
    are real in each row. ``lengths`` (S,): tokens of each question and its answer, padding not counted.
    """

    ids: list[list[int]]
    log_probs: list[list[float]]
    asks_where: list[bool]
    cache: DynamicCache
    attention_mask: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class _Padded:
    """Every sentence sees its own copy of the clip and its own earlier tokens, never padding.

    ``real`` (S, K): which keys are no padding; the last of them are those of the queries.
    """

    real: Tensor

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        queries, keys = query.shape[2], key.shape[2]
        causal = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)
        mask = causal & self.real.bool()[:, None, None, :]
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=scale, enable_gqa=query.shape[1] != key.shape[1]
        )


def read_clip(model: BridgeSTGForVideoGrounding, clip: ClipLayout, vision: EncodedVideo) -> ReadClip:
    """Prefill the opening of the turn and the clip."""
    device = model.device
    length = len(clip.input_ids)
    index = torch.arange(length)[None]
    positions = torch.cat([index, clip.positions])[:, None].to(device)
    cache = DynamicCache(config=model.config.mllm.text_config)
    model.read(clip.input_ids[None].to(device), positions, vision=vision, cache=cache)
    return ReadClip(cache, length, clip.next_position)


def answer(
    model: BridgeSTGForVideoGrounding,
    clip: ReadClip,
    questions: Sequence[Sequence[int]],
    turn_end: int,
    max_new_tokens: int = MAX_ANSWER_TOKENS,
) -> Answers:
    """Answer questions about a prefilled clip greedily, side by side; each answer is what it would be alone.

    Args:
        clip: stays as it is, so that more questions can be asked about it.
        questions: token ids of each, which end where its answer begins.
        turn_end: the token that ends an answer which does not ask where.
        max_new_tokens: an answer that is longer is cut there.
    """
    device, det = model.device, model.config.det_token_id
    count, longest = len(questions), max(len(question) for question in questions)
    # Every sentence goes on from its own copy of the clip.
    cache = copy.deepcopy(clip.cache)
    cache.batch_repeat_interleave(count)
    lengths = torch.tensor([len(question) for question in questions], device=device)
    ids = torch.full((count, longest), turn_end, device=device)
    for row, question in enumerate(questions):
        ids[row, : len(question)] = torch.tensor(question, device=device)
    # Padding sits to the right of short questions; its keys stay masked for good.
    real = torch.arange(longest, device=device)[None] < lengths[:, None]
    mask = torch.cat([torch.ones(count, clip.length, dtype=torch.long, device=device), real.long()], dim=1)
    steps = torch.arange(longest, device=device).expand(count, -1)
    hidden = model.read(ids, _positions(clip, steps), pattern=_Padded(mask), cache=cache)
    last = hidden[torch.arange(count, device=device), lengths - 1]

    generated: list[list[int]] = [[] for _ in questions]
    log_probs: list[list[float]] = [[] for _ in questions]
    asks_where = [False] * count
    alive = torch.ones(count, dtype=torch.bool, device=device)
    for _ in range(max_new_tokens):
        logits = model.mllm.lm_head(last)
        token = logits.argmax(-1)
        likely = logits.float().log_softmax(-1).amax(-1)
        # One transfer of each per step, not one per row: on a GPU each of them waits.
        values, certain, answering = token.tolist(), likely.tolist(), alive.tolist()
        for row, value in enumerate(values):
            if answering[row] and value in (det, turn_end):
                alive[row] = False
                asks_where[row] = value == det
            elif answering[row]:
                generated[row].append(value)
                log_probs[row].append(certain[row])
        if not alive.any():
            break
        # Finished rows run along, but what they write is never attended to, and their position stands still.
        mask = torch.cat([mask, alive.long()[:, None]], dim=1)
        hidden = model.read(
            token[:, None], _positions(clip, lengths[:, None]), pattern=_Padded(mask), cache=cache
        )
        last = hidden[:, 0]
        lengths = lengths + alive.long()
    return Answers(generated, log_probs, asks_where, cache, mask, lengths)


def bridge_answers(
    model: BridgeSTGForVideoGrounding, clip: ReadClip, answers: Answers, slots: int | None = None
) -> Tensor:
    """Feed <det> and the M queries as one chunk and project them: Q_bridge (S, M, D) of Eq. 3; (S, 1, D) if M
    is 0. ``slots`` queries instead of M where their number depends on the clip.

    An answer that ended without <det> gets one here, so that every sentence is asked where. The chunk stays in
    ``answers.cache``: call this once.
    """
    count = len(answers.ids)
    chunk = 1 + (model.config.query_slots if slots is None else slots)
    device = model.device
    ids = torch.full((count, chunk), model.config.det_token_id, device=device)
    is_query = torch.ones(count, chunk, dtype=torch.bool, device=device)
    is_query[:, 0] = False
    steps = answers.lengths[:, None] + torch.arange(chunk, device=device)
    mask = torch.cat([answers.attention_mask, torch.ones_like(ids)], dim=1)
    hidden = model.read(
        ids, _positions(clip, steps), slot_mask=is_query, pattern=_Padded(mask), cache=answers.cache
    )
    bridge: Tensor = model.bridge(hidden[:, min(1, chunk - 1) :])
    return bridge


def _positions(clip: ReadClip, steps: Tensor) -> Tensor:
    """(4, S, n) positions of running text, ``steps`` (S, n) tokens after the clip."""
    text = steps + clip.next_position
    return torch.stack([steps + clip.length, text, text, text])
