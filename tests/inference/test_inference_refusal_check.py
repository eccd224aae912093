"""Which refusals stand: the rule by hand, and the engine on a generated clip."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bridge_stg.inference.answer_outcome import Found, read_outcome
from bridge_stg.inference.clip_cost import ClipCost
from bridge_stg.inference.decoded_answers import DecodedAnswer
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.inference.options import GroundOptions
from bridge_stg.inference.refusal_check import check_refusals
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.types import AnswerStyle, GroundingResult, Task, TimeSpan, Tube

CLIP = TimeSpan(0.0, 8.0)
REFUSAL = "This does not happen."
WINDOW = "The event starts at 1.0 seconds and ends at 3.0 seconds."
SCAN = "The red star spins: 0 before 1 spins 2 spins 3 after."


def found(text: str, tokens: int, *scores: float) -> Found:
    """What follows from an answer of some tokens, and a tube with these scores."""
    answer = DecodedAnswer(text, ["x"] * tokens, [0.0] * tokens, [()] * tokens, 0.9, False, False)
    frames = np.arange(len(scores))
    tube = Tube(frames / 2, frames, np.zeros((len(scores), 4)), np.array(scores)) if scores else None
    return Found(answer, read_outcome(text, CLIP), tube)


def test_a_refusal_stands_unless_both_styles_together_see_the_event() -> None:
    asked: list[list[str]] = []
    scans = {
        "seen": found(f"{SCAN} {WINDOW}", 30, 0.25, 0.5),  # of both styles 0.4375: just enough
        "unsure": found(f"{SCAN} {WINDOW}", 30, 0.25, 0.375),
        "boxless": found(f"{SCAN} {WINDOW}", 30),
        "nothing": found(f"The red star spins: 0 before 1 before. {WINDOW}", 20),
        "odd": found(f"{SCAN} {WINDOW}", 30, 0.9),
    }

    def look(queries: Sequence[str]) -> list[list[Found]]:
        asked.append(list(queries))
        return [[found(WINDOW, 12, 0.5) for _ in queries], [scans[query] for query in queries]]

    def insist(queries: Sequence[str]) -> list[Found]:
        asked.append(list(queries))
        return [found("Nobody knows.", 3) if query == "odd" else found(WINDOW, 12, 0.7) for query in queries]

    # Neither an answer with a window nor a scan that refuses is doubted.
    answered, scanned = found(WINDOW, 12, 0.1), found(f"The red star spins: 0 before 1 before. {REFUSAL}", 15)
    queries = ["answered", *scans, "scanned"]
    before = [answered, *(found(REFUSAL, 4) for _ in scans), scanned]
    after = check_refusals(queries, before, 0.4375, look, insist)

    assert asked == [list(scans), ["seen", "odd"]]
    assert (after[0], after[-1]) == (answered, scanned)
    kinds = [(one.outcome.status, one.answer.taken_back, one.tokens_before) for one in after[1:-1]]
    absent = ("absent", False)
    # Before the answer of "seen": a refusal, and a look in each style.
    assert kinds == [("ok", True, 46), (*absent, 42), (*absent, 42), (*absent, 32), (*absent, 42)]
    assert after[1].outcome.windows == (TimeSpan(1.0, 3.0),)

    # Where nothing is refused, nobody looks.
    assert check_refusals(["answered"], [answered], 0.4375, look, insist) == [answered]
    assert len(asked) == 2


@pytest.fixture(scope="module")
def grounder() -> VideoGrounder:
    return VideoGrounder.from_pretrained("shapes", device="cpu", threads=1)


@pytest.mark.parametrize("style", ["direct", "scan"])
@pytest.mark.parametrize("task", ["stvg", "vtg", None])
def test_the_engine_takes_refusals_back(
    grounder: VideoGrounder, style: AnswerStyle, task: Task | None, shapes_data: Path
) -> None:
    config = grounder.processor.config
    lines = (shapes_data / "truth.jsonl").read_text().splitlines()
    record = next(one for one in map(json.loads, lines) if one["task"] == "stvg")
    queries = [record["query"], "the white star blinks", "the cyan diamond spins"]
    costs: list[ClipCost] = []

    def ask(threshold: float | None, least: float | None) -> list[GroundingResult]:
        before = config.refusal_threshold, config.refusal_check
        config.refusal_threshold = None if threshold is None else {style: threshold}
        config.refusal_check = least
        try:
            options = GroundOptions(task=task, answer=style)
            return grounder.ground_with(shapes_data / record["video"], queries, options, on_cost=costs.append)
        finally:
            config.refusal_threshold, config.refusal_check = before

    # Everything is a refusal, then nothing is.
    refused, free = ask(1e-12, None), ask(2.0, None)
    assert [one.status for one in refused] == ["absent"] * 3
    assert free[0].status == "ok"

    # No boxes are good enough; all are: it is answered as if nothing could be refused.
    assert [replace(one, timing_ms={}) for one in ask(1e-12, 1.0)] == [
        replace(one, timing_ms={}) for one in refused
    ]
    back = ask(1e-12, 1e-9)
    assert back[0].status == "ok"
    assert (back[0].answer, back[0].window) == (free[0].answer, free[0].window)
    assert back[0].confidence == pytest.approx(free[0].confidence, abs=1e-4)
    assert (back[0].tube is None) == (task == "vtg")
    assert len(back[0].notes) == len(free[0].notes) + 1
    assert back[0].absent_probability == pytest.approx(free[0].absent_probability)

    # Words that were read on the way are counted.
    assert costs[-1].answer_tokens[0] > costs[0].answer_tokens[0] + costs[1].answer_tokens[0]


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"refusal_check": 0.0}, "refusal_check"), ({"refusal_check": 1.5}, "refusal_check")],
)
def test_a_check_that_means_nothing_is_refused(changes: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        BridgeSTGConfig(answer_styles=["scan", "direct"], **changes)
    for lacking in ("scan", "direct"):
        with pytest.raises(ValueError, match="answer_styles"):
            BridgeSTGConfig(answer_styles=[lacking], refusal_check=0.5)
    assert BridgeSTGConfig(answer_styles=["direct", "scan"], refusal_check=0.5).refusal_check == 0.5
