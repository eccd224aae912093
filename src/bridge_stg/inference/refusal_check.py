"""A refusal is checked before it counts: is what is asked for to be seen when no answer may refuse?

What a model never saw together, such as a colour and a shape, it takes for something that is not there, and its
first word is a refusal. The same model names the right window when it has to name one, and the spatial decoder,
which nobody trained to refuse, finds the object. So it is made to answer in both styles, directly and second by
second, and a refusal stands only if the boxes in their windows have less objectness than those of what is
there. A scan that sees the event in no second has no window, and so no boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bridge_stg.inference.answer_outcome import Found
from bridge_stg.prompting.parsing import split_reasoning
from bridge_stg.types import Tube

Find = Callable[[Sequence[str]], list[Found]]
Look = Callable[[Sequence[str]], Sequence[list[Found]]]


def check_refusals(
    queries: Sequence[str], found: Sequence[Found], least: float, look: Look, insist: Find
) -> list[Found]:
    """What was found of S sentences, where no refusal is left that was not checked.

    A refusal after a scan is one that was looked at already.

    Args:
        least: objectness of the boxes, in [0, 1], from which on they show what is meant.
        look: finds sentences in each style, with boxes; no answer may begin as a refusal.
        insist: finds them as they were asked for; no answer may begin as a refusal.
    """
    kept = list(found)
    doubted = [row for row, one in enumerate(kept) if _refuses_at_once(one)]
    if not doubted:
        return kept

    # Which of them are to be seen.
    seen = []
    looks = look([queries[row] for row in doubted])
    for row, *looked in zip(doubted, *looks, strict=True):
        spent = kept[row].tokens_before + sum(len(one.answer.pieces) for one in looked)
        kept[row] = replace(kept[row], tokens_before=spent)
        if is_seen([one.tube for one in looked], least):
            seen.append(row)
    if not seen:
        return kept

    # These are answered after all.
    for row, answered in zip(seen, insist([queries[row] for row in seen]), strict=True):
        if answered.outcome.status == "ok":
            spent = kept[row].tokens_before + len(kept[row].answer.pieces)
            answer = replace(answered.answer, taken_back=True)
            kept[row] = replace(answered, answer=answer, tokens_before=spent)
    return kept


def is_seen(tubes: Sequence[Tube | None], least: float) -> bool:
    """Whether the boxes in the answers of all styles have an objectness of ``least`` in the mean.

    An answer without boxes counts as 0.
    """
    return sum(0.0 if tube is None else float(tube.scores.mean()) for tube in tubes) / len(tubes) >= least


def _refuses_at_once(found: Found) -> bool:
    return found.outcome.status == "absent" and not split_reasoning(found.answer.text)[0]
