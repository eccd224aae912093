"""A refusal is checked before it counts: is the event to be seen when the clip is told second by second?

What a model never saw together, such as a colour and a shape, it takes for something that is not there, and its
first word is a refusal. The same model sees the object act when it has to tell every second, and the spatial
decoder, which nobody trained to refuse, finds it. So a refusal stands only where such a scan sees nothing, or
where its boxes have less objectness than those of objects that are really meant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bridge_stg.inference.answer_outcome import Found
from bridge_stg.prompting.parsing import split_reasoning

Find = Callable[[Sequence[str]], list[Found]]


def check_refusals(
    queries: Sequence[str], found: Sequence[Found], least: float, look: Find, insist: Find
) -> list[Found]:
    """What was found of S sentences, where no refusal is left that a scan does not confirm.

    A refusal after a scan is one that was looked at already.

    Args:
        least: mean objectness of the boxes, in [0, 1], from which on they show what is meant.
        look: finds sentences by scan, with boxes; no answer may begin as a refusal.
        insist: finds them as they were asked for; no answer may begin as a refusal.
    """
    kept = list(found)
    doubted = [row for row, one in enumerate(kept) if _refuses_at_once(one)]
    if not doubted:
        return kept

    # Which of them are to be seen.
    seen = []
    for row, looked in zip(doubted, look([queries[row] for row in doubted]), strict=True):
        spent = kept[row].tokens_before + len(looked.answer.pieces)
        kept[row] = replace(kept[row], tokens_before=spent)
        if sight(looked) >= least:
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


def sight(found: Found) -> float:
    """How well an event is seen: the mean objectness of its boxes, in [0, 1]; 0 where there are none."""
    tube = found.tube
    return 0.0 if found.outcome.status != "ok" or tube is None else float(tube.scores.mean())


def _refuses_at_once(found: Found) -> bool:
    return found.outcome.status == "absent" and not split_reasoning(found.answer.text)[0]
