"""``ground --method qwen3-vl`` on real files: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
from support.command import refused, run
from support.processes import run_command
from support.taught import ZERO_SHOT_ANSWERS

from bridge_stg.video.sampling import sample_video

QUERIES = list(ZERO_SHOT_ANSWERS)
METHOD = ("--method", "qwen3-vl")


def test_in_a_process_of_its_own(taught_qwen3_vl: Path, clip: Path, tmp_path: Path) -> None:
    """stdout is JSON and nothing else, stderr is silent, and the files are those of the other method."""
    out = tmp_path / "new" / "out"
    words = ("ground", clip, *QUERIES, "--checkpoint", taught_qwen3_vl, *METHOD, "--json", "--out", out)
    done = run_command(*words)
    assert done.poll() == 0, done.stderr
    assert done.stderr == ""
    answers = json.loads(done.stdout)
    assert [answer["status"] for answer in answers] == ["ok", "ok", "no_window", "empty_window"]
    assert [answer["answer"] for answer in answers] == list(ZERO_SHOT_ANSWERS.values())
    assert [answer["window"] for answer in answers[:2]] == [
        {"start": 1.0, "end": 3.2},
        {"start": 2.6, "end": 2.9},
    ]
    first = answers[0]["boxes"][0]
    assert (first["time"], first["frame"], first["box"]) == (1.0, 25, [9.6, 14.4, 28.8, 28.8])
    # How sure the model was of its own words: never a plain 1.0.
    assert 0 < first["score"] < 1
    assert {answer["schema"] for answer in answers} == {"bridge-stg/tube/1"}
    assert json.loads((out / "tube.json").read_text()) == answers
    videos = [f"annotated-{number}.mp4" for number in (1, 2, 3, 4)]
    assert sorted(file.name for file in out.iterdir()) == [*videos, "tube.json"]
    source = sample_video(clip, fps=2.0)
    for name in videos:
        with av.open(str(out / name)) as container:
            assert sum(1 for _ in container.decode(video=0)) == source.info.frames


def test_the_table_and_its_notes(taught_qwen3_vl: Path, clip: Path) -> None:
    words = ("--checkpoint", taught_qwen3_vl, *METHOD, "--timing", "--box-fps", 4)
    done = run("ground", clip, *QUERIES, *words)
    assert done.exit_code == 0, done.stderr
    first = next(line for line in done.stdout.splitlines() if QUERIES[0] in line)
    assert [cell.strip() for cell in first.split("│")[1:-1]][1:] == ["ok", "1.0", "3.2", "0.95", "9", "0.95"]
    assert f"note: {QUERIES[1]!r}: " in done.stdout
    assert f"note: {QUERIES[3]!r}: " in done.stdout
    assert f"no_window: the model answered {ZERO_SHOT_ANSWERS[QUERIES[2]]!r}" in done.stdout
    assert "answer " in done.stdout.splitlines()[-2]
    assert "for 4 sentence(s)" in done.stdout


def test_a_checkpoint_for_the_other_method(
    tiny_qwen3_vl: Path,
    small_checkpoint: Path,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    words = ("ground", clip, "x", "--out", out, "--checkpoint")
    refused(
        run(*words, tiny_qwen3_vl), "is a stock Qwen3-VL, not a Bridge-STG checkpoint; add --method qwen3-vl"
    )
    refused(run(*words, small_checkpoint, *METHOD), "holds a bridge_stg model, not a Qwen3-VL; give a Qwen3-VL")
    refused(
        run(*words, "shapes", *METHOD), "'shapes' is a Bridge-STG checkpoint; give a Qwen3-VL folder or hub id"
    )
    # Without a checkpoint each method has its own.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = run("ground", clip, "x", *METHOD)
    assert "Qwen/Qwen3-VL-4B-Instruct: " in done.stderr
    refused(run(*words, tmp_path, *METHOD), "configuration cannot be read")
    refused(run(*words, "/none", *METHOD), "no such folder")
    assert not out.exists()


def test_bad_words(tiny_qwen3_vl: Path, clip: Path, tmp_path: Path) -> None:
    words = ("--checkpoint", tiny_qwen3_vl, *METHOD, "--out", tmp_path / "out")
    refused(run("ground", clip, "word " * 10_000, *words), "tokens long")
    refused(run("ground", clip, " ", *words), "query is empty")
    refused(run("ground", clip, "x", *words, "--box-fps", 0), "--box-fps")
    refused(run("ground", clip, "x", *words, "--device", "abacus"), "device 'abacus'")
    refused(run("ground", tmp_path / "none.mp4", "x", *words), "no such file")
    refused(run("ground", clip, "x", *words, "--method", "qwen"), "qwen")
    assert list(tmp_path.iterdir()) == []
