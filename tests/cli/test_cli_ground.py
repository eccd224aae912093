"""``ground``, ``predict`` and ``train`` on real files: what they print and write, and how they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.command import refused, run
from support.taught import TAUGHT

from bridge_stg.errors import VideoError
from bridge_stg.evaluation.resume import read_kept, record_path
from bridge_stg.records.prediction import read_predictions
from bridge_stg.records.record import read_truth, write_truth
from bridge_stg.video.sampling import sample_video

COMMAND = Path(sys.executable).with_name("bridge-stg")
QUERIES = list(TAUGHT)


# --- ground


def test_careful_is_refused_where_nobody_looks_twice(clip: Path) -> None:
    """Before anything is loaded: there is no such checkpoint."""
    asked = ("ground", clip, "a dog", "--careful", "--checkpoint", "nowhere", "--method")
    for method in ("qwen3-vl", "compose"):
        refused(run(*asked, method), "--careful")


def test_ground_in_a_process_of_its_own(taught_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    """stdout is JSON and nothing else, even while files are written and progress is shown."""
    out = tmp_path / "new" / "out"
    command = [COMMAND, "ground", clip, *QUERIES, "--checkpoint", taught_checkpoint, "--json", "--out", out]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.stderr == ""
    answers = json.loads(done.stdout)
    assert [answer["status"] for answer in answers] == ["ok", "ok", "no_window", "empty_window"]
    assert [answer["answer"] for answer in answers] == list(TAUGHT.values())
    assert json.loads((out / "tube.json").read_text()) == answers
    # Everything that was written, under its final name.
    videos = [f"annotated-{number}.mp4" for number in (1, 2, 3, 4)]
    assert sorted(file.name for file in out.iterdir()) == [*videos, "tube.json"]
    source = sample_video(clip, fps=2.0)
    for name in videos:
        with av.open(str(out / name)) as container:
            assert container.streams.video[0].average_rate == source.info.fps
            assert sum(1 for _ in container.decode(video=0)) == source.info.frames


def test_ground_tracks_a_given_box(taught_checkpoint: Path, clip: Path) -> None:
    query = "track the object at [1, 2, 300, 400]"
    done = run("ground", clip, query, "--checkpoint", taught_checkpoint, "--json", "--box-fps", 4)
    assert done.exit_code == 0, done.stderr
    (found,) = json.loads(done.stdout)
    info = sample_video(clip, fps=4.0).info
    assert (found["status"], found["window"]["end"]) == ("ok", pytest.approx(info.duration))
    assert len(found["boxes"]) == len(sample_video(clip, fps=4.0).source_frames)


def test_ground_prints_a_table(taught_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    done = run("ground", clip, *QUERIES[:3], "--checkpoint", taught_checkpoint, "--timing", "--box-fps", 4)
    assert done.exit_code == 0, done.stderr
    assert "1.0" in done.stdout
    assert "3.2" in done.stdout
    assert f"no_window: the model answered {TAUGHT[QUERIES[2]]!r}" in done.stdout
    assert "prefill" in done.stdout
    assert "for 3 sentence(s)" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_ground_without_videos(taught_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    words = ("--checkpoint", taught_checkpoint, "--out", tmp_path, "--no-video", "--answer", "direct")
    done = run("ground", clip, QUERIES[0], *words, "--min-confidence", 0, "--chunk", 60)
    assert done.exit_code == 0, done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tube.json"]
    # Nothing is as sure as this.
    done = run("ground", clip, QUERIES[0], *words, "--min-confidence", 1, "--json")
    (answer,) = json.loads(done.stdout)
    assert (answer["status"], answer["windows"], answer["boxes"]) == ("no_window", [], [])


def test_a_file_in_the_place_of_a_sentence(clip: Path) -> None:
    refused(run("ground", clip, clip, "x"), "bridge-stg batch")


@pytest.mark.parametrize(
    "words", [("--min-confidence", 2), ("--chunk", 0.1), ("--answer", "short"), ("--chunk", "nan")]
)
def test_options_that_mean_nothing(words: tuple[object, ...], clip: Path) -> None:
    done = run("ground", clip, "x", *words, "--checkpoint", "/none")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1


def test_markup_in_a_query_is_shown_as_it_is(taught_checkpoint: Path, clip: Path) -> None:
    done = run("ground", clip, "[bold]a[/bold] :smile: <det>", "--checkpoint", taught_checkpoint)
    assert done.exit_code == 0, done.stderr
    assert "[bold]a[/bold] :smile: <det>" in " ".join(done.stdout.replace("│", " ").split())


def test_one_sentence_has_one_video(taught_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    done = run("ground", clip, QUERIES[0], "--checkpoint", taught_checkpoint, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["annotated.mp4", "tube.json"]


def bad_videos() -> dict[str, Callable[[Path], Path]]:
    def text(folder: Path) -> Path:
        (folder / "text.mp4").write_text("this is no video\n" * 50)
        return folder / "text.mp4"

    def empty(folder: Path) -> Path:
        (folder / "empty.mp4").touch()
        return folder / "empty.mp4"

    def audio(folder: Path) -> Path:
        with av.open(str(folder / "sound.mp4"), "w") as container:
            stream = container.add_stream("aac", rate=8000)
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            frame.sample_rate = 8000
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return folder / "sound.mp4"

    return {
        "no such file": lambda folder: folder / "none.mp4",
        "text.mp4": text,
        "is empty": empty,
        "sound.mp4": audio,
        "folder holds no images": lambda folder: folder,
    }


@pytest.mark.parametrize("kind", sorted(bad_videos()))
def test_a_bad_video(kind: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    video = bad_videos()[kind](tmp_path / "in")
    # Said before the checkpoint is looked at: this one does not exist.
    refused(run("ground", video, "x", "--checkpoint", "/none", "--out", tmp_path / "out"), kind)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("", "empty"),
        (" \t", "empty"),
        ("word " * 10_000, "tokens long"),
        ("red \udcff circle", "UTF-8"),  # a byte of a terminal that speaks another encoding
    ],
)
def test_a_bad_query(query: str, part: str, small_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(run("ground", clip, "a circle", query, "--checkpoint", small_checkpoint, "--out", out), part)
    assert not out.exists()


def damage(folder: Path, kind: str) -> None:
    weights = folder / "model.safetensors"
    if kind == "truncated weights":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif kind == "no weights":
        weights.unlink()
    elif kind == "no configuration":
        (folder / "config.json").unlink()
    elif kind == "broken configuration":
        (folder / "config.json").write_text('{"model_type": "bridge_stg", ')
    elif kind == "another model":
        (folder / "config.json").write_text('{"model_type": "bert"}')
    elif kind == "misspelt field":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"num_bridge_querys": 8}))
    elif kind == "broken tokenizer":
        text = (folder / "tokenizer.json").read_text()
        (folder / "tokenizer.json").write_text(text[: len(text) // 2])
    elif kind == "another file for a tokenizer":
        (folder / "tokenizer.json").write_text('{"a": 1}')
    elif kind == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    else:
        values = load_file(weights)
        if kind == "missing key":
            del values["bridge.queries"]
        elif kind == "extra key":
            values["bridge.extra"] = torch.zeros(2)
        elif kind == "wrong shape":
            values["bridge.queries"] = torch.zeros(3, 128)
        save_file(values, weights, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("truncated weights", ""),
        ("no weights", ""),
        ("no configuration", "config.json"),
        ("broken configuration", "config"),
        ("another model", "bert"),
        ("misspelt field", "num_bridge_queries"),
        ("broken tokenizer", "tokenizer"),
        ("another file for a tokenizer", "tokenizer"),
        ("no tokenizer", "tokenizer"),
        ("missing key", "bridge.queries"),
        ("extra key", "bridge.extra"),
        ("wrong shape", "bridge.queries"),
    ],
)
def test_a_bad_checkpoint(kind: str, part: str, small_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for file in small_checkpoint.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    damage(folder, kind)
    done = run("ground", clip, "x", "--checkpoint", folder, "--out", tmp_path / "out")
    refused(done, part)
    assert str(folder) in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/bridge-stg", "/dev/null"])
def test_an_out_that_cannot_be_written(place: str, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    out = Path(place) if place.startswith("/") else tmp_path / place
    refused(run("ground", clip, "x", "--checkpoint", "/none", "--out", out), "cannot write")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "kept")]


@pytest.mark.parametrize("words", [("ground", "{}", "x"), ("ground", "clip", "x", "--out", "{}")], ids=str)
def test_a_name_that_no_file_can_have(words: tuple[str, ...], clip: Path) -> None:
    long = "n" * 300
    given = [str(clip) if word == "clip" else word.format(long) for word in words]
    refused(run(*given), f"{long}: this name is too long")
    refused(run("ground", clip, "x", "--checkpoint", long), "this name is too long")


@pytest.mark.parametrize("rate", ["0", "-2", "nan", "inf", "1e9"])
def test_a_bad_box_rate(rate: str, clip: Path) -> None:
    refused(run("ground", clip, "x", "--box-fps", rate), "--box-fps")


def test_a_device_that_is_not_there(small_checkpoint: Path, clip: Path) -> None:
    for device in ("abacus", "meta", "mps"):  # here torch was built without mps
        done = run("ground", clip, "x", "--checkpoint", small_checkpoint, "--device", device)
        refused(done, f"device {device!r}")
        assert len(done.stderr) < 300


def test_a_failed_drawing_changes_nothing(
    taught_checkpoint: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two videos fails: what an earlier run left is whole, and nothing is beside it."""
    from bridge_stg.inference import drawing

    done = run("ground", clip, QUERIES[0], "--checkpoint", taught_checkpoint, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    draw = drawing.write_annotated

    def fail_at_the_second(result: Any, source: Any, out: Path, **options: Any) -> Path:
        if out.name == "annotated-2.mp4":
            raise VideoError("the disk is gone")
        return draw(result, source, out, **options)

    monkeypatch.setattr(drawing, "write_annotated", fail_at_the_second)
    refused(
        run("ground", clip, *QUERIES[:2], "--checkpoint", taught_checkpoint, "--out", tmp_path), "disk is gone"
    )
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    new = tmp_path / "new"
    refused(run("ground", clip, *QUERIES[:2], "--checkpoint", taught_checkpoint, "--out", new), "disk is gone")
    assert not new.exists()


def test_a_failed_move_leaves_no_new_folder(
    taught_checkpoint: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went wrong is said, not what could not be cleaned up after it; a folder that was there stays."""
    move = os.replace

    def fail_at_the_last(source: Path, target: Path) -> None:
        if target.name == "tube.json":
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr("os.replace", fail_at_the_last)
    done = run(
        "ground", clip, QUERIES[0], "--checkpoint", taught_checkpoint, "--out", tmp_path / "there" / "a" / "b"
    )
    assert done.exit_code == 1
    assert "No space left on device" in done.stderr
    assert not (tmp_path / "there").exists()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").touch()
    run("ground", clip, QUERIES[0], "--checkpoint", taught_checkpoint, "--out", tmp_path / "there" / "new")
    assert [file.name for file in (tmp_path / "there").iterdir()] == ["mine.txt"]


def test_a_run_takes_the_place_of_an_earlier_one(taught_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    """Fewer sentences leave no videos of the earlier ones; other files stay; the same input, the same JSON."""
    (tmp_path / "annotated-9.mp4").write_text("not of an earlier run: no tube.json is here")
    (tmp_path / "annotated by me.mp4").touch()
    words = ("--checkpoint", taught_checkpoint, "--out", tmp_path)
    assert run("ground", clip, *QUERIES[:2], *words).exit_code == 0
    names = ["annotated by me.mp4", "annotated-1.mp4", "annotated-2.mp4", "annotated-9.mp4", "tube.json"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert run("ground", clip, QUERIES[0], *words).exit_code == 0
    names = ["annotated by me.mp4", "annotated.mp4", "tube.json"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    first = (tmp_path / "tube.json").read_bytes()
    assert json.loads(first)[0]["timing_ms"] == {}
    assert run("ground", clip, QUERIES[0], *words).exit_code == 0
    assert (tmp_path / "tube.json").read_bytes() == first


@pytest.mark.parametrize("name", ["annotated.mp4", "annotated-7.mp4"])
def test_the_source_is_never_written_over(name: str, clip: Path, tmp_path: Path) -> None:
    """Said before the checkpoint is looked at; a name that a run would only clean away counts too."""
    source = tmp_path / name
    source.write_bytes(clip.read_bytes())
    refused(run("ground", source, "x", "--checkpoint", "/none", "--out", tmp_path), "source video")
    assert source.read_bytes() == clip.read_bytes()


def test_a_folder_in_the_way(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "annotated-2.mp4").mkdir()
    refused(run("ground", clip, "x", "y", "--checkpoint", "/none", "--out", tmp_path), "is a folder")


def test_a_download_is_announced(small_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers.utils.logging import enable_progress_bar, is_progress_bar_enabled

    from bridge_stg.cli.prepare import quiet_libraries

    enable_progress_bar()
    assert quiet_libraries("owner-of/some-model")
    assert is_progress_bar_enabled()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("downloading owner-of/some-model from the hub")
    assert said.err.count("\n") == 1
    assert not quiet_libraries(str(small_checkpoint))
    assert not is_progress_bar_enabled()
    assert capsys.readouterr().err == ""


# --- predict


@pytest.fixture(scope="module")
def benchmark(shapes_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The videos, one that cannot be read, and one question that cannot be asked."""
    folder = tmp_path_factory.mktemp("benchmark")
    records = read_truth(shapes_data / "truth.jsonl")
    located = next(record for record in records if record.task == "stvg")
    records.append(replace(located, id="broken", video="videos/999999.mp4"))
    records.append(replace(located, id="long", query="word " * 10_000))
    (folder / "videos").symlink_to(shapes_data / "videos")
    (folder / "truth.jsonl").touch()
    write_truth(folder / "truth.jsonl", records)
    return folder


@pytest.fixture(scope="module")
def predicted(benchmark: Path, taught_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("predictions") / "new" / "predictions.jsonl"
    done = run("predict", "--data", benchmark, "--checkpoint", taught_checkpoint, "--out", out)
    assert done.exit_code == 1
    assert f"wrote {out}: {len(read_predictions(out))} question(s), " in done.stdout.replace("\n", "")
    assert ", 2 failed, " in done.stdout
    assert done.stderr.startswith("error: 2 question(s) failed")
    assert done.stderr.count("\n") == 1
    return out


def test_predict_answers_every_located_question(benchmark: Path, predicted: Path) -> None:
    wanted = {record.id for record in read_truth(benchmark / "truth.jsonl") if record.task == "stvg"}
    answers = read_predictions(predicted)
    assert set(answers) == wanted
    failed = {name: answer.text for name, answer in answers.items() if answer.status == "failed"}
    assert set(failed) == {"broken", "long"}
    assert "no such file" in failed["broken"]
    assert "tokens long" in failed["long"]
    located = [answer for answer in answers.values() if answer.status == "ok"]
    assert all(len(answer.times) and answer.best_window is not None for answer in located)


@pytest.mark.parametrize("cut", [0, 1, 40, 0.5, 0.8, -1])
def test_predict_goes_on_where_it_was(
    benchmark: Path, predicted: Path, taught_checkpoint: Path, tmp_path: Path, cut: float
) -> None:
    whole = predicted.read_bytes()
    end = round(len(whole) * cut) if 0 < cut < 1 else int(cut)
    out = tmp_path / "predictions.jsonl"
    out.write_bytes(whole[:end])
    record_path(out).write_bytes(record_path(predicted).read_bytes())
    kept = len(read_kept(out).answered)
    assert out.read_bytes() == whole[:end]  # looking changes nothing
    done = run("predict", "--data", benchmark, "--checkpoint", taught_checkpoint, "--out", out)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: 2 question(s) failed")
    # What failed is asked again, after what is kept.
    assert sorted(out.read_bytes().splitlines()) == sorted(whole.splitlines())
    assert (f"{kept} question(s) have an answer" in done.stdout) == bool(kept)


def test_predict_asks_again_what_failed(
    benchmark: Path, predicted: Path, taught_checkpoint: Path, tmp_path: Path
) -> None:
    """A video that could not be read then can be read now; the questions of the others are kept as they are."""
    out = tmp_path / "predictions.jsonl"
    lines = [json.loads(line) for line in predicted.read_text().splitlines()]
    lucky = next(line for line in lines if line["status"] != "failed")
    lost = lucky | {"status": "failed", "text": "the disk was away", "windows": [], "boxes": []}
    mixed = [lost if line is lucky else line for line in lines]
    out.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in mixed))
    record_path(out).write_bytes(record_path(predicted).read_bytes())
    done = run("predict", "--data", benchmark, "--checkpoint", taught_checkpoint, "--out", out)
    assert f"{len(lines) - 3} question(s) have an answer" in done.stdout
    assert sorted(out.read_bytes().splitlines()) == sorted(predicted.read_bytes().splitlines())


def test_predict_does_not_mix_runs(
    benchmark: Path, predicted: Path, taught_checkpoint: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "predictions.jsonl"
    out.write_bytes(predicted.read_bytes())
    words = ("predict", "--out", out)
    same = ("--data", benchmark, "--checkpoint", taught_checkpoint)
    refused(run(*words, *same), "how it was made")
    record_path(out).write_bytes(record_path(predicted).read_bytes())
    refused(run(*words, "--data", benchmark, "--checkpoint", small_checkpoint), " checkpoint;")
    refused(run(*words, *same, "--box-fps", 4, "--oracle-window"), "box_fps, oracle_window;")
    other = tmp_path / "other"
    other.mkdir()
    (other / "truth.jsonl").write_text((benchmark / "truth.jsonl").read_text() + "\n")
    refused(run(*words, "--data", other, "--checkpoint", taught_checkpoint), " truth;")
    record_path(out).write_text("{}")
    refused(run(*words, *same), "checkpoint, truth")
    # A line for a question that is not asked, in a file that says it is of this run.
    record_path(out).write_bytes(record_path(predicted).read_bytes())
    out.write_text('{"id":"stranger","status":"ok"}\n')
    refused(run(*words, *same), "'stranger'")
    # Begun anew: nothing of the old file is left.
    done = run(*words, *same, "--restart", "--limit", 1)
    assert "stranger" not in out.read_text()
    assert "have an answer" not in done.stdout
    assert json.loads(record_path(out).read_text()) == json.loads(record_path(predicted).read_text())


@pytest.mark.parametrize(
    "content",
    [
        b"notes without a line end",
        b"notes\n",
        b"[1, 2]\n",
        b'{"id":"q1","status":"ok"}\nnotes',
        b'{"id":"q1","status":"ok"}\nnotes\n{"id":"q2"',
        b'{"id":"q1","status":"ok"}\n{"name": "value"}',
        b'{"id":"q1","status":"fine"}\n',
        b'{"id":"q1"}\n{"id":"q1"}\n',
        b"{}",
        b"\xff\xfe\x00",
    ],
)
def test_predict_never_touches_a_file_that_is_something_else(
    content: bytes, benchmark: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "file"
    out.write_bytes(content)
    refused(
        run("predict", "--data", benchmark, "--checkpoint", small_checkpoint, "--out", out),
        "predictions file",
    )
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"file": content}


def test_predict_inside_the_true_window(benchmark: Path, taught_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "oracle.jsonl"
    words = ("--limit", 1, "--oracle-window", "--box-fps", 4)
    done = run("predict", "--data", benchmark, "--checkpoint", taught_checkpoint, "--out", out, *words)
    assert done.exit_code == (1 if "failed;" in done.stderr else 0), done.stderr
    truth = {record.id: record for record in read_truth(benchmark / "truth.jsonl")}
    answers = read_predictions(out)
    assert len({truth[name].video for name in answers}) == 1
    for name, answer in answers.items():
        if answer.status == "failed":
            continue
        window, record = answer.best_window, truth[name]
        assert window is not None
        assert record.window is not None
        assert (window.start, window.end) == pytest.approx([f / record.fps for f in record.window], abs=1e-6)


def test_predict_refuses(benchmark: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    refused(run("predict", "--data", tmp_path, "--out", out), "bridge-stg data")
    refused(run("predict", "--data", benchmark / "truth.jsonl", "--out", out), "is a file")
    refused(run("predict", "--data", benchmark, "--out", out, "--box-fps", 5000), "1000, got 5000")
    refused(run("predict", "--data", benchmark, "--out", out, "--benchmark", "vidstgg"), " vidstg?")
    (tmp_path / "truth.jsonl").touch()
    refused(run("predict", "--data", benchmark, "--out", tmp_path), "truth.jsonl")
    (tmp_path / "truth.jsonl").unlink()
    refused(run("predict", "--data", benchmark, "--out", out, "--limit", 0), "--limit")
    refused(run("predict", "--data", benchmark, "--out", out, "--checkpoint", "/none"), "no such folder")
    refused(run("predict", "--data", benchmark, "--out", out, "--threads", 0), "--threads")
    assert list(tmp_path.iterdir()) == []


def test_predict_on_a_device_that_is_not_there(benchmark: Path, small_checkpoint: Path, tmp_path: Path) -> None:
    words = ("--checkpoint", small_checkpoint, "--out", tmp_path / "p.jsonl", "--device", "abacus")
    refused(run("predict", "--data", benchmark, *words), "'abacus'")
    assert list(tmp_path.iterdir()) == []


# --- train


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["nothing"], "'nothing'"),
        (["none.json"], "none.json: "),
        (["shapes", "--set", "optim.lr", "--set", "data.x=1"], "'data.x'"),
        (["shapes", "--set", "optim.steps=0"], "optim.steps"),
        (["shapes", "--threads", "0"], "--threads"),
        (["shapes", "--set", "base=/nowhere"], "is not a folder"),
        (["shapes", "--data", "/nowhere"], "--data"),
        (["lora-2b-1x24gb", "--data", "/nowhere", "--set", "precision=no"], "/nowhere: "),
    ],
)
def test_train_refuses(words: list[str], part: str, tmp_path: Path) -> None:
    refused(run("train", *words, "--out", tmp_path / "run"), part)
    assert list(tmp_path.iterdir()) == []


def test_train_refuses_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    refused(run("train", "shapes", "--out", tmp_path / "run"), "cannot write")


def test_train_from_a_saved_configuration(tmp_path: Path) -> None:
    from bridge_stg.cli.runs import recipe

    config: dict[str, Any] = recipe("shapes").model_dump()
    (tmp_path / "config.json").write_text(json.dumps(config | {"speed": 1}))
    refused(run("train", tmp_path / "config.json", "--out", tmp_path / "run"), "speed")
    (tmp_path / "config.json").write_text(json.dumps(config | {"base": "/nowhere"}))
    refused(run("train", tmp_path / "config.json", "--out", tmp_path / "run"), "/nowhere")


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_train_reads_the_same_from_every_format(suffix: str, tmp_path: Path) -> None:
    import yaml

    from bridge_stg.cli.runs import read_configuration, recipe

    config = recipe("shapes").model_dump(mode="json")
    path = tmp_path / f"run{suffix}"
    path.write_text(json.dumps(config) if suffix == ".json" else yaml.safe_dump(config))
    assert read_configuration(path) == recipe("shapes")
    # YAML takes 5e-5 for a word; it is a number all the same.
    path.write_text(json.dumps(config | {"optim": config["optim"] | {"lr": "5e-5"}}))
    assert read_configuration(path).optim.lr == 5e-5


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("run.yaml", "a: [1", "not YAML: "),
        ("run.json", "{", "not JSON: "),
        ("run.yaml", "just words", "configuration: "),
        ("run.yaml", "name: x\nspeed: 1\n", "speed: "),
        ("run.yml", "", "configuration: "),
        ("run.yaml", "!!python/object/apply:os.getcwd []", "not YAML: "),
    ],
)
def test_train_says_what_is_wrong_with_a_configuration(name: str, text: str, part: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    refused(run("train", tmp_path / name, "--out", tmp_path / "run"), part)
