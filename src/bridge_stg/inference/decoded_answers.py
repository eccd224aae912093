"""What is asked of a model, and what it says: tokens of answers, and what else was likely in their place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bridge_stg.inference.answering import Answers, RefusalRule, WhereRule
from bridge_stg.inference.confidence import LikelyTexts
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.prompting.templates import ABSENT
from bridge_stg.types import AnswerStyle, Task, TimeSpan

NEVER = 2.0  # no probability reaches it
# How bytes are decoded that are no letter by themselves.
_NO_LETTER_YET = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class AskedQueries:
    """What is asked about a video: S sentences and their tokens.

    ``style`` is None where the task knows no styles. ``opening`` is the beginning of the answer where it is
    given, ``windows`` those of each sentence that are not for the answer to name, ``limit`` the most tokens of
    an answer, ``refusal`` when one begins as a refusal (None: greedily).
    """

    queries: Sequence[str]
    task: Task
    style: AnswerStyle | None
    ids: list[tuple[int, ...]]
    opening: str
    windows: list[tuple[TimeSpan, ...]] | None
    limit: int
    refusal: RefusalRule | None = None


@dataclass(frozen=True)
class DecodedAnswer:
    """One answer, its tokens and their log probabilities.

    ``pieces``: the text of each token; together they are the text, but for spaces around it and for an opening
    that was given. ``alternatives``: the likeliest texts in the place of each number, nothing elsewhere.
    ``refusal``: how probable it was that the answer begins as a refusal does; None where its beginning was
    given. ``is_cut``: it did not end by itself. ``times_seen``: how many times of the event its scan was read
    for one by one. ``taken_back``: it stands in the place of a refusal that a check did not confirm.
    """

    text: str
    pieces: list[str]
    log_probs: list[float]
    alternatives: list[LikelyTexts]
    refusal: float | None
    asks_where: bool
    is_cut: bool
    times_seen: int = 1
    taken_back: bool = False


def refusal_rule(processor: BridgeSTGProcessor, style: AnswerStyle) -> RefusalRule | None:
    """When an answer of a style begins as a refusal does; None: where no other word is likelier."""
    threshold = (processor.config.refusal_threshold or {}).get(style)
    return None if threshold is None else RefusalRule(_refusing(processor), threshold)


def never_refusing(asked: AskedQueries, processor: BridgeSTGProcessor) -> AskedQueries:
    """The same questions, whose answers may not begin as a refusal does, however probable that is."""
    return replace(asked, refusal=RefusalRule(_refusing(processor), NEVER))


def where_rule(processor: BridgeSTGProcessor) -> WhereRule | None:
    """When an answer asks where; None: where no other end is likelier."""
    config = processor.config
    if config.det_threshold is None:
        return None
    return WhereRule(config.det_token_id, processor.turn_end, config.det_threshold)


def decode_answers(processor: BridgeSTGProcessor, asked: AskedQueries, answers: Answers) -> list[DecodedAnswer]:
    """The answers of several sentences in words."""
    decode = processor.tokenizer.decode
    refusing = _refusing(processor)
    writes_boxes = processor.config.objective == "entangled"

    decoded = []
    for ids, log_probs, places, asks in zip(
        answers.ids, answers.log_probs, answers.alternatives, answers.asks_where, strict=True
    ):
        # What else a number could have been; nothing asks that of other words.
        pieces = token_texts(processor, ids)
        alternatives: list[LikelyTexts] = [
            [(piece if token == said else decode([token]), sure) for token, sure in place]
            if _has_digit(piece)
            else ()
            for said, piece, place in zip(ids, pieces, places, strict=True)
        ]

        # How probable it was that the answer begins as a refusal.
        refusal = None
        if places and not asked.opening:
            refusal = sum((math.exp(sure) for token, sure in places[0] if token == refusing), 0.0)

        decoded.append(
            DecodedAnswer(
                text=(asked.opening + decode(ids)).strip(),
                pieces=pieces,
                log_probs=log_probs,
                alternatives=alternatives,
                refusal=refusal,
                asks_where=asks or writes_boxes,
                # An answer that ended by itself has fewer tokens than the limit: the last one is its end.
                is_cut=len(ids) >= asked.limit,
            )
        )
    return decoded


def token_texts(processor: BridgeSTGProcessor, ids: Sequence[int]) -> list[str]:
    """The text of each token; together they are the text of all.

    A letter that several tokens write, each a part of its bytes, is in the text of the last of them.
    """
    texts: list[str] = []
    begun: list[int] = []
    for token in ids:
        begun.append(token)
        text = processor.tokenizer.decode(begun)
        if text.endswith(_NO_LETTER_YET):
            texts.append("")
        else:
            texts.append(text)
            begun = []
    if begun:
        texts[-1] = processor.tokenizer.decode(begun)
    return texts


def _refusing(processor: BridgeSTGProcessor) -> int:
    """The token with which a refusal begins."""
    return processor.plain_ids(ABSENT)[0]


def _has_digit(text: str) -> bool:
    return any(map(str.isdecimal, text))
