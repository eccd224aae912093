"""Inference on one clip: prefill once, answer every sentence, hand over the bridging queries.

The clip's key-value cache is computed once and read by all sentences, which are branches of one row over it
(``branch_cache``). Sentences are answered greedily side by side; each stops at ``<det>`` (or at the end of its
turn), and then ``<det>`` and the M queries enter as one chunk (Eq. 3). Only the logits that choose a token are
ever computed.

Words that are likely to come may be drafted: they are fed together, and those that the model would have said
itself are kept. So drafts change how many passes an answer takes, never what it says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from bridge_stg.inference.branch_cache import BranchCache
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding, EncodedVideo
from bridge_stg.model.row_tower import RowTower
from bridge_stg.model.shared_keys import SharedKeys
from bridge_stg.model.temporal_alignment import ClipLayout

# An answer that tells a clip second by second takes about three tokens for each.
MAX_ANSWER_TOKENS = 256
# A baseline that writes its boxes: a hundred of 40 tokens, in a vocabulary that spells every digit.
MAX_WRITTEN_TOKENS = 4096
# Of each place of an answer: more than the digits there are, and than the seconds of a clip of the small world.
MOST_ALTERNATIVES = 20

# The likeliest tokens in one place with their log probabilities, the likeliest first.
Alternatives = Sequence[tuple[int, float]]


@dataclass
class ReadClip:
    """A clip after prefill: its keys and values, its length in tokens and where the text after it starts.

    ``tower`` is the language model as it was then, ready for what follows; None if it has adapters or the like.
    """

    keys: SharedKeys
    length: int
    next_position: int
    tower: RowTower | None = None


class Drafter(Protocol):
    """Guesses how an answer goes on."""

    def draft(self, sentence: int, said: Sequence[int], predicted: Sequence[int]) -> Sequence[int]:
        """Token ids that may follow ``said``.

        ``predicted`` is what the model made of the last draft's places after ``said``: each token follows the
        words of that draft, not those that are predicted.
        """
        ...


@dataclass(frozen=True)
class RefusalRule:
    """When an answer begins with ``token``, the first one of a refusal: from the probability ``threshold`` on.

    Greedy answers do so where no other token is likelier.
    """

    token: int
    threshold: float

    def choose(self, alternatives: Alternatives) -> tuple[int, float]:
        """The first token of an answer and its log probability."""
        for token, log_prob in alternatives:
            if token == self.token and math.exp(log_prob) >= self.threshold:
                return token, log_prob
        return next(one for one in alternatives if one[0] != self.token)


@dataclass(frozen=True)
class WhereRule:
    """When an answer that could end asks where: from a probability ``threshold`` of ``det`` on.

    Greedy answers do so where <det> is likelier than ``turn_end``.
    """

    det: int
    turn_end: int
    threshold: float

    def choose(self, token: int, alternatives: Alternatives) -> int:
        """The token that is said instead of the likeliest one, ``token``."""
        if token not in (self.det, self.turn_end):
            return token
        asks = any(one == self.det and math.exp(log_prob) >= self.threshold for one, log_prob in alternatives)
        return self.det if asks else self.turn_end


@dataclass
class Answers:
    """Greedy answers of S sentences, and the state of the language model after them.

    ``ids``: generated tokens without the ending one; ``log_probs``: the natural logarithm of the probability of
    each; ``alternatives``: the likeliest tokens in the place of each. ``asks_where``: whether the model itself
    ended with <det>. ``passes``: forward passes that each answer took, its question's included. ``branches``:
    keys and values of questions and answers; ``pending``: the last tokens of each, if any, that are not among
    them yet.
    """

    ids: list[list[int]]
    log_probs: list[list[float]]
    alternatives: list[list[Alternatives]]
    asks_where: list[bool]
    passes: list[int]
    branches: BranchCache
    pending: list[list[int]]


@dataclass
class _Sentence:
    """An answer on its way: what was said, and what is to be fed next."""

    index: int
    feed: list[int]
    draft: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    alternatives: list[Alternatives] = field(default_factory=list)
    passes: int = 0
    ended_with: int | None = None

    def take(
        self,
        places: Sequence[Alternatives],
        ends: Sequence[int],
        limit: int,
        refusal: RefusalRule | None,
        where: WhereRule | None,
    ) -> int:
        """Accept what the model says after ``feed`` and each drafted word: how many of those were right."""
        for right, alternatives in enumerate(places):
            token, log_prob = alternatives[0]
            if refusal is not None and not self.ids:
                token, log_prob = refusal.choose(alternatives)
            if where is not None:
                token = where.choose(token, alternatives)
            if token in ends:
                self.ended_with, self.feed = token, []
                return right
            self.ids.append(token)
            self.log_probs.append(log_prob)
            self.alternatives.append(alternatives)
            self.feed = [token]
            if len(self.ids) == limit or right == len(self.draft) or self.draft[right] != token:
                return right
        raise AssertionError("the model says one word more than were drafted")


def answer_limit(config: BridgeSTGConfig) -> int:
    """Tokens that an answer may have by default."""
    return MAX_WRITTEN_TOKENS if config.objective == "entangled" else MAX_ANSWER_TOKENS


def read_clip(
    model: BridgeSTGForVideoGrounding, clip: ClipLayout, vision: EncodedVideo, compiler: str | None = None
) -> ReadClip:
    """Prefill the opening of the turn and the clip. ``compiler``: see ``RowTower.of``."""
    device = model.device
    length = len(clip.input_ids)
    index = torch.arange(length)[None]
    positions = torch.cat([index, clip.positions])[:, None].to(device)
    cache = DynamicCache(config=model.config.mllm.text_config)
    model.read(clip.input_ids[None].to(device), positions, vision=vision, cache=cache)
    tower = RowTower.of(model.mllm.model.language_model, compiler)
    return ReadClip(SharedKeys(cache), length, clip.next_position, tower)


def answer(
    model: BridgeSTGForVideoGrounding,
    clip: ReadClip,
    questions: Sequence[Sequence[int]],
    turn_end: int,
    max_new_tokens: int = MAX_ANSWER_TOKENS,
    drafter: Drafter | None = None,
    refusal: RefusalRule | None = None,
    where: WhereRule | None = None,
) -> Answers:
    """Answer questions about a prefilled clip greedily, side by side; each answer is what it would be alone.

    Args:
        clip: stays as it is, so that more questions can be asked about it.
        questions: token ids of each, which end where its answer begins.
        turn_end: the token that ends an answer which does not ask where.
        max_new_tokens: an answer that is longer is cut there.
        drafter: guesses words; without one every pass gives one token.
        refusal: when an answer begins as a refusal does; None: where nothing else is likelier.
        where: when an answer ends with <det>; None: where it is likelier than the end of the turn.
    """
    det = model.config.det_token_id
    text = model.config.mllm.text_config
    groups = text.num_attention_heads // text.num_key_value_heads
    branches = BranchCache(clip.keys, len(questions), groups)
    sentences = [_Sentence(index, list(question)) for index, question in enumerate(questions)]
    going = list(sentences) if max_new_tokens > 0 else []
    if drafter is not None:
        for sentence in going:
            sentence.draft = list(drafter.draft(sentence.index, [], []))

    while going:
        # One row of tokens: of each sentence what was not read yet and what may follow.
        chunks = [[*sentence.feed, *sentence.draft] for sentence in going]
        chosen = [len(sentence.draft) + 1 for sentence in going]
        hidden = _feed(model, clip, branches, [sentence.index for sentence in going], chunks)
        places = _likeliest(model, hidden, [len(chunk) for chunk in chunks], chosen)

        # Accept the drafted words that the model says too, and the first one that it says otherwise.
        for sentence, said in zip(going, places, strict=True):
            drafted = len(sentence.draft)
            right = sentence.take(said, (det, turn_end), max_new_tokens, refusal, where)
            sentence.passes += 1
            branches.lengths[sentence.index] -= drafted - right
            if drafter is not None and sentence.ended_with is None:
                predicted = [alternatives[0][0] for alternatives in said[right + 1 :]]
                sentence.draft = list(drafter.draft(sentence.index, sentence.ids, predicted))

        # Sentences that have ended leave.
        going = [s for s in going if s.ended_with is None and len(s.ids) < max_new_tokens]

    return Answers(
        ids=[sentence.ids for sentence in sentences],
        log_probs=[sentence.log_probs for sentence in sentences],
        alternatives=[sentence.alternatives for sentence in sentences],
        asks_where=[sentence.ended_with == det for sentence in sentences],
        passes=[sentence.passes for sentence in sentences],
        branches=branches,
        pending=[sentence.feed for sentence in sentences],
    )


def bridge_answers(
    model: BridgeSTGForVideoGrounding, clip: ReadClip, answers: Answers, slots: int | None = None
) -> Tensor:
    """Feed <det> and the M queries as one chunk and project them: Q_bridge (S, M, D) of Eq. 3; (S, 1, D) if M
    is 0. ``slots`` queries instead of M where their number depends on the clip.

    An answer that ended without <det> gets one here, so that every sentence is asked where.
    """
    det = model.config.det_token_id
    slots = model.config.query_slots if slots is None else slots
    lengths = list(answers.branches.lengths)
    chunks = [[*pending, det, *[det] * slots] for pending in answers.pending]

    # The last tokens of each sentence are learned queries.
    ends = torch.tensor([len(chunk) for chunk in chunks]).cumsum(0)
    slot_mask = torch.zeros(1, int(ends[-1]), dtype=torch.bool)
    slot_mask[0, (ends[:, None] - 1 - torch.arange(slots)).flatten()] = True
    hidden = _feed(model, clip, answers.branches, range(len(chunks)), chunks, slot_mask)
    # Nothing is said after them: the sentences stay as they were.
    answers.branches.lengths = lengths

    # Without queries the state of <det> itself is handed over.
    read = max(slots, 1)
    places = ends[:, None] - read + torch.arange(read)
    bridge: Tensor = model.bridge(hidden[places.to(hidden.device)])
    return bridge


def _feed(
    model: BridgeSTGForVideoGrounding,
    clip: ReadClip,
    branches: BranchCache,
    sentences: Sequence[int],
    chunks: Sequence[Sequence[int]],
    slot_mask: Tensor | None = None,
) -> Tensor:
    """Hidden states (N, D) of the next tokens of some sentences, one sentence after the other."""
    device = model.device
    steps = branches.feed(sentences, [len(chunk) for chunk in chunks])
    ids = torch.tensor([token for chunk in chunks for token in chunk], device=device)
    text = steps + clip.next_position
    positions = torch.stack([steps + clip.length, text, text, text])[:, None]
    if slot_mask is not None:
        slot_mask = slot_mask.to(device)
    if clip.tower is None:
        return model.read(ids[None], positions, slot_mask=slot_mask, pattern=branches)[0]
    return clip.tower(model.embed(ids[None], slot_mask)[0], positions, branches)


def _likeliest(
    model: BridgeSTGForVideoGrounding, hidden: Tensor, counts: Sequence[int], chosen: Sequence[int]
) -> list[list[Alternatives]]:
    """The likeliest tokens after each of the last ``chosen`` of the ``counts`` tokens of every sentence."""
    places: list[int] = []
    end = 0
    for count, last in zip(counts, chosen, strict=True):
        end += count
        places += range(end - last, end)
    logits = model.mllm.lm_head(hidden[torch.tensor(places, device=hidden.device)]).float()
    best = logits.topk(min(MOST_ALTERNATIVES, logits.shape[-1]))
    log_probs = best.values - logits.logsumexp(-1, keepdim=True)

    # Two transfers per pass, not one per token: on a GPU each of them waits.
    rows: list[Alternatives] = [
        tuple(zip(tokens, sure, strict=True))
        for tokens, sure in zip(best.indices.tolist(), log_probs.tolist(), strict=True)
    ]
    found, begin = [], 0
    for last in chosen:
        found.append(rows[begin : begin + last])
        begin += last
    return found
