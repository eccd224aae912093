"""Events that a scan sees several times: each time is read off the scan by itself.

A scan judges every second alone, so it sees each time at which an event happens. But the window that follows is
that of one of them, or it spans them all, where a checkpoint was trained on events that happen once. So the
model goes on from its own scan once for each time, with the other times told as before or after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from bridge_stg.inference.answering import ReadClip, answer
from bridge_stg.inference.said import Question, Said
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.prompting.parsing import parse_window
from bridge_stg.prompting.scan_times import each_time


def tell_apart(
    model: BridgeSTGForVideoGrounding,
    processor: BridgeSTGProcessor,
    clip: ReadClip,
    question: Question,
    said: Sequence[Said],
) -> list[Said]:
    """The answers by scan; one that sees its event several times has a window for each of them."""
    return [
        _told_apart(model, processor, clip, question, asked, one, scans)
        if (scans := each_time(one.text))
        else one
        for asked, one in zip(question.ids, said, strict=True)
    ]


def _told_apart(
    model: BridgeSTGForVideoGrounding,
    processor: BridgeSTGProcessor,
    clip: ReadClip,
    question: Question,
    asked: Sequence[int],
    said: Said,
    scans: Sequence[str],
) -> Said:
    """An answer that goes on once from each of ``scans``; as it was unless each of them leads to a window."""
    begun = [(*asked, *processor.plain_ids(scan)) for scan in scans]
    answers = answer(model, clip, begun, processor.turn_end, question.limit)
    decode = processor.tokenizer.decode
    endings = [[decode([token]) for token in ids] for ids in answers.ids]
    if any(parse_window("".join(pieces)) is None for pieces in endings):
        return said

    # The tokens of the scan itself, which is the first sentence.
    end = said.text.index(".") + 1
    kept = sum(length <= end for length in accumulate(map(len, said.pieces)))
    pieces = said.pieces[:kept] + [piece for ending in endings for piece in ending]
    return replace(
        said,
        text="".join(pieces).strip(),
        pieces=pieces,
        log_probs=said.log_probs[:kept] + [value for values in answers.log_probs for value in values],
        alternatives=said.alternatives[:kept] + [()] * (len(pieces) - kept),
        is_cut=any(len(ids) >= question.limit for ids in answers.ids),
        times_seen=len(scans),
    )
