"""Answers on disk: whole, once, and back as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from bridge_stg.batch import answer_store
from bridge_stg.batch.answer_store import AnswerStore
from bridge_stg.batch.questions import BatchQuestion
from bridge_stg.batch.run import run_batch
from bridge_stg.batch.summary import write_summary
from bridge_stg.batch.workers import Attempts, BatchModel, drawing_name
from bridge_stg.errors import DataError, InputError
from bridge_stg.files.one_writer import only_writer


def result(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "schema": "bridge-stg/tube/1",
        "video": "clip.mp4",
        "query": f"<{name}>",
        "status": "ok",
        "answer": "",
        "answer_style": "direct",
        "reasoning": "",
        "windows": [{"start": 0.5, "end": 1.0, "score": None}],
        "confidence": None,
        "video_info": {"width": 4, "height": 2, "fps": "30000/1001", "duration": 1.5, "frames": 45},
        "window": {"start": 0.5, "end": 1.0},
        "sampled_fps": 2.0,
        "boxes": [{"time": 0.5, "frame": 15, "box": [0.0, 0.0, 2.0, 1.5], "score": 0.5}],
        "checkpoint": "shapes",
        "timing_ms": {},
        "notes": ["a"],
    } | changes


def ids(store: AnswerStore) -> list[str]:
    return [one["id"] for one in store.results()]


def test_every_answer_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_store, "ROWS_PER_FILE", 2)
    store = AnswerStore(tmp_path)
    info = result("c")["video_info"] | {"frame_times": {"unit": "1/90", "runs": [[45, 3]]}}
    wanted = {
        "a": result("a"),
        "b": result("b", status="no_window", window=None, boxes=[]),
        "c": result("c", video_info=info, confidence=0.5, windows=[{"start": 0.5, "end": 1.0, "score": 0.5}]),
    }
    for name, one in wanted.items():
        store.add(name, one)
    again = AnswerStore(tmp_path)
    assert again.answered == {"a", "b", "c"}
    assert {one["id"]: {k: v for k, v in one.items() if k != "id"} for one in again.results()} == wanted
    assert parquet.read_table(tmp_path / "tubes")["id"].to_pylist() == ["a", "b"]


def test_a_kill_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    store.add("a", result("a"))
    store.add("b", result("b"))
    journal = (tmp_path / "journal.jsonl").read_bytes()
    # In the middle of a line: what is whole is kept.
    (tmp_path / "journal.jsonl").write_bytes(journal[:-10])
    assert ids(AnswerStore(tmp_path)) == ["a"]
    # Between the Parquet file and the new journal: both hold the answers.
    (tmp_path / "journal.jsonl").write_bytes(journal)
    AnswerStore(tmp_path).flush()
    (tmp_path / "journal.jsonl").write_bytes(journal)
    assert ids(AnswerStore(tmp_path)) == ["a", "b"]
    assert not (tmp_path / "journal.jsonl").exists()


def test_what_failed_is_asked_again(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    store.fail("a", "clip.mp4", "x", "not a video")
    assert json.loads((tmp_path / "failed.jsonl").read_text())["reason"] == "not a video"
    assert "a" not in AnswerStore(tmp_path).answered
    assert not (tmp_path / "failed.jsonl").exists()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    AnswerStore(tmp_path)
    (tmp_path / "tubes" / "part-000000.parquet").write_bytes(b"x")
    with pytest.raises(DataError, match="part-000000"):
        AnswerStore(tmp_path)


def test_the_summary_counts_all_and_takes_sentences_as_text(tmp_path: Path) -> None:
    rows = [{"id": str(number), **result(str(number))} for number in range(600)]
    page = write_summary(tmp_path, rows, 3, "shapes").read_text(encoding="utf-8")
    assert "600 answered, 3 failed" in page
    assert page.count("<tr>") == 501
    # Only names and sentences are broken anywhere, and no narrower than a word.
    assert page.count('class="text"') == 2 + 2 * 500
    assert '<td class="text">&lt;7&gt;</td>' in page
    assert "100 more" in page


def test_an_id_cannot_lead_out_of_the_folder() -> None:
    assert drawing_name("../../x") == "_.._x.mp4"
    assert drawing_name("...") == "question.mp4"


def test_a_video_that_ends_its_workers_is_given_up() -> None:
    attempts = Attempts()
    assert attempts.begin("bad")
    assert attempts.begin("bad")
    assert not attempts.begin("bad")
    assert attempts.begin("good")
    attempts.end("good")
    assert attempts.begin("good")
    assert attempts.begin("good")


def test_a_second_run_leaves_the_files_of_the_first_alone(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    question, model = BatchQuestion("b", "clip.mp4", "x"), BatchModel("shapes", "bridge-stg")
    with only_writer(out, out / "batch.lock"):
        store = AnswerStore(out)
        store.fail("a", "clip.mp4", "x", "not a video")
        files = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
        with pytest.raises(InputError, match="another run"):
            run_batch([question], model, out)
        assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == files
