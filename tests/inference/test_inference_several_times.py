"""An event that happens twice in a clip: the shipped checkpoint was trained on events that happen once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.command import run

from bridge_stg import VideoGrounder
from bridge_stg.inference.answering import read_clip
from bridge_stg.inference.decoded_answers import AskedQueries, DecodedAnswer, token_texts
from bridge_stg.inference.several_times import ScanReader
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.records.open import read_truth
from bridge_stg.records.record import TruthRecord
from bridge_stg.shapes.model import small_config, small_tokenizer


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TruthRecord]:
    """A clip, and a question about what an object does twice in it."""
    folder = tmp_path_factory.mktemp("twice") / "data"
    drawn = ["--videos", "1", "--seed", "2000", "--split", "test", "--repeats", "1", "--min-duration", "8"]
    assert run("data", "shapes", "--out", folder, "--workers", 1, *drawn).exit_code == 0
    record = next(one for one in read_truth(folder / "truth.jsonl") if len(one.windows or ()) == 2)
    return folder / record.video, record


def test_both_times_have_a_window_and_boxes(twice: tuple[Path, TruthRecord]) -> None:
    path, record = twice
    grounder = VideoGrounder.from_pretrained("shapes", device="cpu", threads=1)
    result = grounder.ground(path, record.query, task="stvg", answer="scan")
    found = sorted((one.span for one in result.windows), key=lambda span: span.start)
    assert len(found) == 2
    assert result.tube is not None

    true = [record.clock.span(first, end) for first, end in record.windows or ()]
    for span, wanted in zip(found, true, strict=True):
        shared = span.cut_to(wanted)
        assert shared is not None
        assert shared.length > 0.5 * max(span.length, wanted.length)
        inside = (result.tube.times >= span.start) & (result.tube.times < span.end)
        assert inside.any()
    assert all(any(span.start <= time < span.end for span in found) for time in result.tube.times)
    assert result.windows[0].score == max(one.score or 0.0 for one in result.windows)

    # A window that the caller gives is no matter of the scan; a short answer has none.
    assert len(grounder.ground(path, record.query, window=true[0], answer="scan").windows) == 1
    assert len(grounder.ground(path, record.query, answer="direct").windows) <= 1


@pytest.mark.parametrize("limit", [12, 30, 60])
def test_an_answer_that_was_cut_is_not_gone_on_with(twice: tuple[Path, TruthRecord], limit: int) -> None:
    path, record = twice
    grounder = VideoGrounder.from_pretrained("shapes", device="cpu", threads=1)
    result = grounder.ground(path, record.query, max_answer_tokens=limit, answer="scan")
    assert len(grounder.processor.plain_ids(f"{result.reasoning} {result.answer}".strip())) <= limit
    assert result.status == "no_window"
    assert f"the answer was cut at {limit} tokens" in result.notes


@pytest.mark.parametrize("scan", ["0 blinks 1 before 2 after 3 blinks", "0 blinks 1 before after 3 blinks"])
@torch.inference_mode()
def test_an_answer_whose_times_have_no_windows_stays_as_it_was(scan: str) -> None:
    """Random weights say nothing after a scan, and put no lost second back."""
    tokenizer = small_tokenizer()
    config = small_config(tokenizer, answer_styles=["scan"])
    model, processor = BridgeSTGForVideoGrounding(config).eval(), BridgeSTGProcessor(tokenizer, config)
    patches, grid = processor.patches(np.zeros((8, 48, 72, 3), dtype=np.uint8))
    layout = processor.clip(grid, np.arange(8) / 2)
    clip = read_clip(model, layout, model.encode_video(patches, torch.tensor([grid])))

    text = f"The circle blinks: {scan}. It happens from 3.0 to 4.0 seconds."
    ids = processor.plain_ids(text)
    said = DecodedAnswer(
        text=text,
        pieces=token_texts(processor, ids),
        log_probs=[-0.1] * len(ids),
        alternatives=[()] * len(ids),
        refusal=0.0,
        asks_where=True,
        is_cut=False,
    )
    question = processor.question_ids("stvg", "the circle that blinks", "scan")
    asked = AskedQueries(["the circle that blinks"], "stvg", "scan", [question], "", None, limit=len(ids) + 9)
    reader = ScanReader(model, processor, clip, asked.limit, seconds=range(4))
    assert reader.tell_apart(asked, [said]) == [said]
