"""The shipped checkpoints say with drafts what they say without, in a fraction of the passes."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest

from bridge_stg.inference import grounder as module
from bridge_stg.inference.answering import Answers
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.types import AnswerStyle


@pytest.mark.parametrize(
    ("style", "most", "share"),
    [
        # Of a scan, whatever the length of the clip.
        ("scan", 24, 1 / 3),
        ("direct", 16, 1 / 2),
    ],
)
def test_drafts_change_no_answer(
    style: AnswerStyle, most: int, share: float, shapes_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``most`` passes an answer; of all those without drafts at most a ``share``."""
    grounder = VideoGrounder.from_pretrained("shapes", device="cpu")
    asked: dict[str, list[str]] = {}
    for line in (shapes_data / "truth.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["task"] in ("stvg", "vtg"):
            asked.setdefault(record["video"], []).append(record["query"])
    passes: list[int] = []
    original = module.answer

    def counted(*arguments: object, **options: object) -> Answers:
        answers = original(*arguments, **options)
        passes.extend(answers.passes)
        return answers

    monkeypatch.setattr(module, "answer", counted)
    drafted = [grounder.ground(shapes_data / video, queries, answer=style) for video, queries in asked.items()]
    with_drafts, passes = passes, []
    monkeypatch.setattr(module, "drafter_of", lambda *arguments, **options: None)
    plain = [grounder.ground(shapes_data / video, queries, answer=style) for video, queries in asked.items()]

    # Nobody named a task: that there are boxes is the checkpoint's own decision.
    assert all((one.tube is not None) == (one.window is not None) for one in chain(*plain))
    for one, other in zip(chain(*drafted), chain(*plain), strict=True):
        assert (one.answer, one.window, one.status) == (other.answer, other.window, other.status)
        assert one.reasoning == other.reasoning
        if one.tube is not None and other.tube is not None:
            assert one.tube.boxes == pytest.approx(other.tube.boxes, abs=1e-2)
    assert max(with_drafts) <= most
    assert sum(with_drafts) < sum(passes) * share
