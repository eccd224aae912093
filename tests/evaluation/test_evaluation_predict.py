"""``predict`` for all tasks, methods and options, on real files."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import Result
from support.taught import TAUGHT, ZERO_SHOT_ANSWERS
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.errors import DataError, InputError
from bridge_stg.evaluation.methods import Answered, GrounderMethod, PredictionSettings, ask
from bridge_stg.evaluation.predict import plan_run
from bridge_stg.evaluation.predict import predict as run_plan
from bridge_stg.evaluation.resume import record_path
from bridge_stg.evaluation.run_cost import cost_path
from bridge_stg.evaluation.score import score_files
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.inference.options import GroundOptions
from bridge_stg.model.processing import MAX_QUERY_TOKENS
from bridge_stg.records.part import ClipQuestions, choose_task, group_questions
from bridge_stg.records.prediction import read_predictions
from bridge_stg.records.record import TruthRecord, read_truth, write_truth
from bridge_stg.types import TimeSpan

QUERIES = list(TAUGHT)
BOX = (8.0, 6.0, 40.0, 30.0)


def run(*words: object) -> Result:
    return CliRunner().invoke(main.app, ["predict", *map(str, words)])


def record(name: str, task: str, **changes: Any) -> TruthRecord:
    """A question of any task about the first video, which is 25 frames per second."""
    fields: dict[str, Any] = {
        "id": name,
        "task": task,
        "video": "videos/000000.mp4",
        "fps": 25.0,
        "frame_count": 100,
        "clip": (0, 100),
        "width": 96,
        "height": 72,
        "query": "the red circle",
    }
    if task in ("stvg", "vtg", "vot"):
        fields["window"] = (25, 75)
    if task in ("stvg", "vot"):
        fields["boxes"] = dict.fromkeys(range(25, 75), BOX)
    if task == "rec":
        fields["boxes"] = {30: BOX}
    if task == "vqa":
        fields |= {"choices": ("a star", "a square"), "choice": "B"}
    return TruthRecord(**(fields | changes))


@pytest.fixture(scope="module")
def data(shapes_data: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One video, and questions of five tasks; those of stvg are the ones the taught checkpoint knows."""
    folder = tmp_path_factory.mktemp("five tasks")
    (folder / "videos").symlink_to(shapes_data / "videos")
    known = next(r for r in read_truth(shapes_data / "truth.jsonl") if r.video == "videos/000000.mp4")
    same = {"fps": known.fps, "frame_count": known.frame_count, "clip": (0, known.frame_count)}
    records = [record(f"stvg-{number}", "stvg", query=query, **same) for number, query in enumerate(QUERIES)]
    records += [
        record("vtg-whole", "vtg", **same),
        record("vtg-part", "vtg", **same | {"clip": (30, 80)}),
        record("vot", "vot", **same | {"query": "track the object at [100, 200, 300, 400]"}),
        record("vot-part", "vot", **same | {"clip": (30, 80), "window": (30, 75)}),
        record("rec-a", "rec", **same | {"clip": (30, 31)}),
        record("rec-b", "rec", **same | {"query": "the square", "boxes": {31: BOX}}),
        record("vqa", "vqa", **same | {"query": "what spins?"}),
    ]
    (folder / "truth.jsonl").touch()
    write_truth(folder / "truth.jsonl", records)
    return folder


# --- which questions, in which clips


def test_the_task_that_is_asked() -> None:
    path = Path("t.jsonl")
    stvg, vtg, vqa = (record(task, task) for task in ("stvg", "vtg", "vqa"))
    assert choose_task([vtg, stvg], None, path) == "stvg"
    assert choose_task([vtg, stvg], "vtg", path) == "vtg"
    assert choose_task([vqa, vqa], None, path) == "vqa"
    with pytest.raises(InputError, match=r"t\.jsonl.*1 vqa, 1 vtg.*--task"):
        choose_task([vtg, vqa], None, path)
    with pytest.raises(InputError, match=r"no rec .*1 stvg, 1 vtg"):
        choose_task([vtg, stvg], "rec", path)


def test_questions_of_one_clip_go_together() -> None:
    records = [
        record("c", "stvg", video="b.mp4"),
        record("a", "stvg", video="a.mp4", clip=(10, 90)),
        record("d", "vtg", video="a.mp4"),
        record("b", "stvg", video="a.mp4"),
        record("e", "stvg", video="a.mp4", clip=(10, 90)),
    ]
    found = group_questions(records, "stvg")
    assert [(clip.video, clip.frames, [r.id for r in clip.records]) for clip in found] == [
        ("a.mp4", None, ["b"]),
        ("a.mp4", (10, 90), ["a", "e"]),
        ("b.mp4", None, ["c"]),
    ]
    assert [clip.span for clip in found] == [None, TimeSpan(0.4, 3.6), None]


def test_an_object_to_track_is_asked_for_with_its_first_box() -> None:
    """A data set that names only the class of the object gives the box in its annotation."""
    held = dataclasses.replace(record("a", "vot"), query="panda", boxes={0: (16.0, 12.0, 32.0, 24.0)})
    (found,) = group_questions([held], "vot")
    sides = [
        round(1000 * side) for side in (16 / held.width, 12 / held.height, 32 / held.width, 24 / held.height)
    ]
    assert found.queries == [f"panda at {sides}"]


def test_the_frame_of_a_rec_question() -> None:
    records = [
        record("annotated", "rec"),
        record("clip", "rec", clip=(7, 8), boxes={}),
        record("image", "rec", video="a.png", fps=1.0, frame_count=1, clip=(0, 1), boxes={0: BOX}),
    ]
    assert [(clip.video, clip.frames) for clip in group_questions(records, "rec")] == [
        ("a.png", (0, 1)),
        ("videos/000000.mp4", (7, 8)),
        ("videos/000000.mp4", (30, 31)),
    ]
    with pytest.raises(DataError, match=r"'many'.* rec .* 2 "):
        group_questions([record("many", "rec", boxes={1: BOX, 2: BOX})], "rec")


def test_pictures_of_a_folder_have_the_times_of_their_frames() -> None:
    (clip,) = group_questions(
        [record("a", "vot", media="frames", fps=10.0, frame_count=4, clip=(0, 4), window=None, boxes={})], "vot"
    )
    assert clip.times == [0.0, 0.1, 0.2, 0.3]


# --- five tasks


def lines_of(path: Path) -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in map(json.loads, path.read_text().splitlines())}


@pytest.mark.parametrize("task", ["vtg", "vot", "rec", "vqa"])
def test_a_task_through_the_command(task: str, data: Path, taught_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    done = run("--data", data, "--checkpoint", taught_checkpoint, "--out", out, "--task", task)
    assert done.exit_code == 0, done.stderr
    found = lines_of(out)
    truth = {r.id: r for r in read_truth(data / "truth.jsonl") if r.task == task}
    assert set(found) == set(truth)
    for name, line in found.items():
        start, end = (frame / truth[name].fps for frame in truth[name].clip)
        for window in line["windows"]:
            assert start - 1e-6 <= window["start"] < window["end"] <= end + 1e-6
        for box in line["boxes"]:
            assert start - 1e-6 <= box["time"] < end
    if task == "vtg":
        assert all(line["boxes"] == [] for line in found.values())
    if task == "vot":
        # One on every frame, on the clock of the file, from where the part begins (frame 30).
        rate = truth["vot"].fps
        assert [box["time"] for box in found["vot"]["boxes"]] == pytest.approx(
            (np.arange(truth["vot"].frame_count) / rate).tolist(), abs=1e-5
        )
        coarse = tmp_path / "coarse.jsonl"
        words = ("--data", data, "--checkpoint", taught_checkpoint, "--out", coarse, "--task", task)
        assert run(*words, "--box-fps", 2).exit_code == 0
        assert [box["time"] for box in lines_of(coarse)["vot"]["boxes"]][:3] == pytest.approx(
            [0.0, 0.5, 1.0], abs=1 / rate
        )
        assert found["vot-part"]["boxes"][0]["time"] == pytest.approx(30 / rate)
    if task == "rec":
        rate = truth["rec-a"].fps
        times = {name: [box["time"] for box in line["boxes"]] for name, line in found.items()}
        assert times == {"rec-a": [pytest.approx(30 / rate)], "rec-b": [pytest.approx(31 / rate)]}
    if task == "vqa":
        assert found["vqa"].get("choice") in (None, "A", "B")
        assert (found["vqa"]["windows"], found["vqa"]["boxes"]) == ([], [])
    # What was written can be scored.
    report = score_files(data / "truth.jsonl", out)
    assert (report.scores.task, report.scores.n, report.scores.missing) == (task, len(truth), 0)


def test_sentences_share_the_pass_and_the_choices_are_asked(data: Path, taught_checkpoint: Path) -> None:
    """The questions that reach the model, and how often it reads a clip."""

    class Listening(VideoGrounder):
        asked: ClassVar[list[tuple[str, ...]]] = []

        def ground_with(self, video: Any, queries: Any, *rest: Any, **options: Any) -> Any:
            self.asked.append(tuple(queries))
            return super().ground_with(video, queries, *rest, **options)

    grounder = Listening.from_pretrained(str(taught_checkpoint), device="cpu")
    records = read_truth(data / "truth.jsonl")
    for task in ("stvg", "vqa"):
        for clip in group_questions(records, task):  # type: ignore[arg-type]
            ask(GrounderMethod(grounder), data, clip)
    assert Listening.asked == [tuple(QUERIES), ("what spins? (A) a star (B) a square",)]


def test_true_windows_share_the_pass(data: Path, taught_checkpoint: Path) -> None:
    grounder = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    (clip,) = group_questions(read_truth(data / "truth.jsonl"), "stvg")
    answers, costs = ask(GrounderMethod(grounder, PredictionSettings(oracle_window=True)), data, clip)
    rate = clip.records[0].fps
    assert [answer.best_window for answer in answers] == [TimeSpan(25 / rate, 75 / rate)] * 4
    assert (len(costs), costs[0].queries) == (1, 4)


# --- failures


class Broken:
    """A method that fails as a machine does."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem

    def answer(self, videos: Path, clip: ClipQuestions) -> Answered:
        raise self.problem


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (InputError("the query is empty"), "the query is empty"),
        (MemoryError("no 4 GB left"), "out of memory: no 4 GB left"),
    ],
)
def test_a_failure_is_recorded_with_its_reason(problem: Exception, reason: str, tmp_path: Path) -> None:
    (clip,) = group_questions([record("a", "vqa"), record("b", "vqa")], "vqa")
    answers, costs = ask(Broken(problem), tmp_path, clip)
    assert [(answer.id, answer.status, answer.text) for answer in answers] == [
        ("a", "failed", reason),
        ("b", "failed", reason),
    ]
    assert costs == []


def test_what_nobody_expects_is_not_swallowed(tmp_path: Path) -> None:
    (clip,) = group_questions([record("a", "vqa")], "vqa")
    with pytest.raises(ZeroDivisionError):
        ask(Broken(ZeroDivisionError()), tmp_path, clip)


# --- what it took


def test_cost_of_a_run_that_went_on(data: Path, taught_checkpoint: Path, tmp_path: Path) -> None:
    """A run of one video, then the rest: the file holds the sum, and the predictions say nothing of it."""
    (tmp_path / "videos").symlink_to(data / "videos")
    records = [r for r in read_truth(data / "truth.jsonl") if r.task == "vtg"]
    records.append(replace(records[0], id="vtg-other", video="videos/000001.mp4"))
    (tmp_path / "truth.jsonl").touch()
    write_truth(tmp_path / "truth.jsonl", records)
    out = tmp_path / "p.jsonl"
    words = ("--data", tmp_path, "--checkpoint", taught_checkpoint, "--out", out)
    assert run(*words, "--limit", 1).exit_code == 0
    first = json.loads(cost_path(out).read_text())
    assert (first["clips"], first["queries"], len(first["runs"])) == (2, 2, 1)
    assert run(*words).exit_code == 0
    both = json.loads(cost_path(out).read_text())
    assert (both["clips"], both["queries"], len(both["runs"])) == (3, 3, 2)
    assert both["runs"][0] == first["runs"][0]
    for group, count in (("mean_per_clip", "clips"), ("mean_per_query", "queries")):
        for name, mean in both[group].items():
            if name not in ("ms", "total_ms"):
                total = sum(entry["totals"][name] for entry in both["runs"])
                assert mean == pytest.approx(total / both[count], abs=1e-4)
    assert both["mean_per_clip"]["frames"] > 2
    assert set(both["mean_per_query"]["ms"]) == {"decode", "preprocess", "vision", "prefill", "answer"}
    assert both["peak_memory_mib"] > 50
    assert both["peak_gpu_memory_mib"] is None
    assert both["devices"][0].startswith("cpu")
    assert both["runs"][1]["versions"]["torch"]
    # Nothing left to ask: nothing is added. Begun anew: nothing of the old is left.
    assert run(*words).exit_code == 0
    assert json.loads(cost_path(out).read_text()) == both
    assert run(*words, "--restart", "--limit", 1).exit_code == 0
    assert json.loads(cost_path(out).read_text())["queries"] == 2


# --- methods


def test_constants_by_hand(tmp_path: Path) -> None:
    """100 frames at 25 per second are 4 s; the training windows are the middle half of theirs."""
    rows = [record("a", "stvg"), record("b", "stvg", clip=(50, 100))]
    (tmp_path / "truth.jsonl").touch()
    write_truth(tmp_path / "truth.jsonl", rows)
    out = tmp_path / "p.jsonl"
    assert run("--data", tmp_path, "--out", out, "--method", "whole-clip").exit_code == 0
    found = lines_of(out)
    assert found["a"]["windows"] == [{"start": 0.0, "end": 4.0, "score": 1.0}]
    assert found["b"]["windows"] == [{"start": 2.0, "end": 4.0, "score": 1.0}]
    assert found["a"]["boxes"] == [{"time": 2.0, "box": [24.0, 18.0, 72.0, 54.0], "score": 1.0}]
    assert not cost_path(out).exists()
    # The file of one method is not gone on with by another.
    train = tmp_path / "train.jsonl"
    train.touch()
    write_truth(train, [record("t", "stvg", boxes=dict.fromkeys(range(25, 75), (9.6, 7.2, 48.0, 36.0)))])
    best = ("--data", tmp_path, "--out", out, "--method", "best-constant", "--train-truth", train)
    assert "method, train_truth" in run(*best).stderr
    assert run(*best, "--restart").exit_code == 0
    found = lines_of(out)
    assert found["a"]["windows"] == [{"start": 1.0, "end": 3.0, "score": 1.0}]
    assert found["b"]["windows"] == [{"start": 2.5, "end": 3.5, "score": 1.0}]
    assert found["a"]["boxes"][0]["box"] == pytest.approx([9.6, 7.2, 48.0, 36.0])
    saved = json.loads(record_path(out).read_text())
    assert (saved["method"], saved["task"], saved["checkpoint"]) == ("best-constant", "stvg", None)
    assert len(saved["train_truth"]) == 64


@pytest.mark.parametrize("task", ["vtg", "vot", "rec", "vqa"])
def test_constants_of_the_other_tasks(task: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    words = ("--data", data, "--task", task, "--out", out)
    assert run(*words, "--method", "whole-clip").exit_code == 0
    whole = read_predictions(out)
    best = run(*words, "--method", "best-constant", "--train-truth", data / "truth.jsonl", "--restart")
    assert best.exit_code == 0, best.stderr
    fitted = read_predictions(out)
    truth = [r for r in read_truth(data / "truth.jsonl") if r.task == task]
    assert set(whole) == set(fitted) == {r.id for r in truth}
    for name, answer in fitted.items():
        assert len(answer.boxes) == (1 if task in ("vot", "rec") else 0)
        if task == "vqa":
            assert (whole[name].choice, answer.choice) == ("A", "B")  # B is right in the training truth
        if task in ("vot", "rec"):
            assert answer.boxes[0].tolist() != whole[name].boxes[0].tolist()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--method", "best-constant"), "needs --train-truth FILE"),
        (("--method", "whole-clip", "--train-truth", "x"), "--train-truth is for --method best-constant"),
        (("--method", "whole-clip", "--checkpoint", "shapes"), "takes no --checkpoint"),
        (("--method", "whole-clip", "--oracle-window"), "--oracle-window is for models"),
        (
            ("--method", "guess"),
            "no method 'guess'; there are: bridge-stg, qwen3-vl, compose, whole-clip, best-constant",
        ),
        (("--task", "vtg", "--box-fps", "4"), "--box-fps is for models and stvg or vot, not for vtg"),
        (("--task", "vqa", "--oracle-window"), "not for vqa by bridge-stg"),
        (("--task", "tracking"), "no task 'tracking'"),
        (("--benchmark", "charades-sta", "--task", "stvg"), "is about vtg, not stvg"),
        (("--benchmark", "video-mme-subs", "--method", "whole-clip"), "--subtitles is for bridge-stg and vqa"),
        (("--answer", "sung"), "sung"),
        (("--task", "rec", "--answer", "scan"), "--answer is for bridge-stg and stvg or vtg"),
        (("--submission", "files"), "--submission is for GOT-10k's task vot, not for stvg"),
        (("--benchmark", "imagenet"), "no benchmark 'imagenet'; there are: shapes, vidstg"),
        (("--method", "qwen3-vl", "--checkpoint", "shapes"), "is a Bridge-STG checkpoint"),
    ],
)
def test_refused(words: tuple[str, ...], part: str, data: Path, tmp_path: Path) -> None:
    done = run("--data", data, "--out", tmp_path / "p.jsonl", *words)
    assert done.exit_code == 2, done.output
    assert part in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_picks_the_task_and_says_how_it_is_read(
    data: Path, taught_checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.jsonl"
    done = run("--data", data, "--checkpoint", taught_checkpoint, "--out", out, "--benchmark", "charades-sta")
    assert done.exit_code == 0, done.stderr
    assert set(lines_of(out)) == {"vtg-whole", "vtg-part"}
    # The small model reads fewer tokens per frame than the paper's.
    assert done.stderr.count("note: this checkpoint reads") == 1
    assert "Charades-STA test 192" in done.stderr


# --- subtitles


def test_subtitles_come_before_the_question_however_long_they_are(
    data: Path, taught_checkpoint: Path, tmp_path: Path
) -> None:
    """Only what is said at the frames that are read; a question without subtitles is asked alone."""
    asked: list[tuple[tuple[str, ...], GroundOptions]] = []

    class Listening(VideoGrounder):
        def ground_with(self, video: Any, queries: Any, options: Any = None, **rest: Any) -> Any:
            asked.append((tuple(queries), options))
            return super().ground_with(video, queries, options, **rest)

    (tmp_path / "videos").symlink_to(data / "videos")
    long = " ".join(["word"] * (MAX_QUERY_TOKENS + 100))
    (tmp_path / "said.srt").write_text(
        f"1\n00:00:00,000 --> 00:00:01,200\n{long}\n\n2\n01:00:00,000 --> 01:00:05,000\nlater\n"
    )
    same = {"choices": ("a star", "a square"), "choice": "B", "query": "what spins?"}
    records = [record("with", "vqa", subtitles="said.srt", **same), record("without", "vqa", **same)]
    (clip,) = group_questions(records, "vqa")
    grounder = Listening.from_pretrained(str(taught_checkpoint), device="cpu")
    answers, _ = ask(GrounderMethod(grounder, PredictionSettings(subtitles=True)), tmp_path, clip)
    assert [answer.status for answer in answers] == ["ok", "ok"]
    (queries, options), *_ = asked
    question = "what spins? (A) a star (B) a square"
    assert queries == (f"Subtitles of the video: {long} Question: {question}", question)
    assert options.max_query_tokens > MAX_QUERY_TOKENS + 100

    # Without the option the same words are too long for a question.
    (plain,) = group_questions([replace(records[0], query=queries[0])], "vqa")
    (refused,), _ = ask(GrounderMethod(grounder), tmp_path, plain)
    assert refused.status == "failed"
    # A file that is not there is named, and the other question is answered all the same.
    (lost,) = group_questions([replace(records[0], subtitles="none.srt"), records[1]], "vqa")
    found, _ = ask(GrounderMethod(grounder, PredictionSettings(subtitles=True)), tmp_path, lost)
    assert [answer.status for answer in found] == ["failed", "ok"]
    assert "none.srt" in found[0].text


def test_an_object_without_area_is_not_tracked(data: Path, taught_checkpoint: Path) -> None:
    """A box of the truth that rounds to nothing, and one that the query gives; the third is asked."""
    held = replace(record("held", "vot"), boxes=dict.fromkeys(range(50), (8.0, 6.0, 8.01, 30.0)))
    given = record("given", "vot", query="track it at [100, 100, 100, 500]")
    (clip,) = group_questions([held, given, record("good", "vot")], "vot")
    grounder = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    found, _ = ask(GrounderMethod(grounder, PredictionSettings(box_fps=1.0)), data, clip)
    assert [(answer.id, answer.status) for answer in found] == [
        ("held", "failed"),
        ("given", "failed"),
        ("good", "ok"),
    ]
    assert all("no area" in answer.text for answer in found[:2])


@pytest.mark.parametrize("count", [0, 1])
def test_how_many_questions_have_subtitles_is_said_where_they_are_asked_for(
    count: int, data: Path, taught_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "videos").symlink_to(data / "videos")
    (tmp_path / "said.srt").write_text("1\n00:00:00,000 --> 00:00:01,200\nReady?\n")
    places = ["said.srt"] * count + [None] * (2 - count)
    records = [record(f"q{number}", "vqa", subtitles=place) for number, place in enumerate(places)]
    write_truth(tmp_path / "truth.jsonl", records)

    words = ("--data", tmp_path, "--task", "vqa", "--checkpoint", taught_checkpoint)
    done = run(*words, "--out", tmp_path / "p.jsonl", "--subtitles")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count(f"{count} of 2 question(s) have subtitles\n") == 1


# --- stock Qwen3-VL


def test_zero_shot_through_the_command(data: Path, taught_qwen3_vl: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    words = ("--data", data, "--method", "qwen3-vl", "--checkpoint", taught_qwen3_vl, "--out", out)
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    found = [lines_of(out)[f"stvg-{number}"] for number in range(4)]
    assert [line["text"] for line in found] == list(ZERO_SHOT_ANSWERS.values())
    assert [line["status"] for line in found] == ["ok", "ok", "no_window", "empty_window"]
    (window,) = found[0]["windows"]
    assert (window["start"], window["end"]) == (1.0, 3.2)
    assert 0 < window["score"] < 1
    assert json.loads(record_path(out).read_text())["method"] == "qwen3-vl"
    cost = json.loads(cost_path(out).read_text())
    assert (cost["clips"], cost["queries"]) == (1, 4)
    tokens = cost["mean_per_query"]
    assert tokens["prompt_tokens"] > cost["mean_per_clip"]["visual_tokens"] > 0
    # Boxes in words: many more tokens than a window has.
    assert tokens["answer_tokens"] > 20


def test_zero_shot_in_parts_of_videos(data: Path, tiny_qwen3_vl: Path, tmp_path: Path) -> None:
    """What is cut out for it is on the clock of the file again when it comes back."""
    from bridge_stg.zero_shot.grounder import ZeroShotGrounder
    from bridge_stg.zero_shot.stock_model import StockAnswer, StockModel

    said = '{"start": 0.2, "end": 1.0, "boxes": [{"time": 0.5, "bbox_2d": [0, 0, 500, 1000]}]}'

    class Talking(StockModel):
        """Says what a good model could say; the random one says nothing that can be read."""

        def answer(self, *given: Any) -> StockAnswer:
            return StockAnswer(said, tokens=40, cut=False, probability=0.5)

    grounder = ZeroShotGrounder.from_pretrained(str(tiny_qwen3_vl), device="cpu")
    grounder.stock = Talking(grounder.model, grounder.stock.tokenizer, grounder.name)
    known = read_truth(data / "truth.jsonl")[0]
    part = replace(known, id="part", clip=(30, 80))
    answers, costs = ask(GrounderMethod(grounder), data, group_questions([part], "stvg")[0])
    (answer,), start = answers, 30 / known.fps
    assert answer.best_window is not None
    assert answer.best_window.start == pytest.approx(start + 0.2)
    assert answer.best_window.end == pytest.approx(start + 1.0)
    assert answer.times.tolist() == pytest.approx([start + 0.5], abs=1 / known.fps)
    assert answer.boxes.tolist() == [[0.0, 0.0, 48.0, 72.0]]
    assert costs[0].frames == round(50 / known.fps * 2 + 0.499)
    with_window, _ = ask(
        GrounderMethod(grounder, PredictionSettings(oracle_window=True)),
        data,
        group_questions([part], "stvg")[0],
    )
    assert with_window[0].best_window is not None
    assert with_window[0].best_window.start == pytest.approx(start)  # frame 25 is before the part
    assert with_window[0].best_window.end == pytest.approx(75 / known.fps)
    (refusal,), _ = ask(GrounderMethod(grounder), data, group_questions([record("q", "vqa")], "vqa")[0])
    assert refusal.status == "failed"
    assert "stvg, vtg, rec, not vqa" in refusal.text


# --- processes


def test_plain_runs_do_not_load_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge_stg.evaluation.sharding import Shard, launched

    monkeypatch.setitem(sys.modules, "accelerate", None)  # importing it would raise
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    assert launched(None) == Shard()
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert launched(None) == Shard()
    assert [Shard(rank, 3).of(["a", "b", "c", "d"]) for rank in range(3)] == [["a", "d"], ["b"], ["c"]]


def test_the_plan_of_all_is_the_plan_of_one(data: Path, taught_checkpoint: Path, tmp_path: Path) -> None:
    """The function without the command: what a validation inside training calls."""
    out = tmp_path / "p.jsonl"
    settings = PredictionSettings(checkpoint=str(taught_checkpoint))
    plan = plan_run(settings, data / "truth.jsonl", out)
    grounder = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    seen: list[tuple[int, int]] = []
    written = run_plan(
        GrounderMethod(grounder), plan, data, on_clip=lambda done, total: seen.append((done, total))
    )
    assert written is not None
    assert list(written) == plan.ids == [f"stvg-{number}" for number in range(4)]
    assert seen == [(0, 1), (1, 1)]
    assert plan_run(settings, data / "truth.jsonl", out).pending() == []


def test_questions_of_other_tasks_are_counted(data: Path, tmp_path: Path) -> None:
    counts = Counter(record.task for record in read_truth(data / "truth.jsonl"))
    done = run("--data", data, "--method", "whole-clip", "--out", tmp_path / "p.jsonl")
    assert done.exit_code == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "not asked" in line)
    assert len(counts) > 1
    assert all(f"{count} {task}" in line for task, count in counts.items() if task != "stvg")


def test_what_a_checkpoint_knows_is_said_once(taught_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    """Of all answers on the terminal, of single ones in their lines."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(taught_checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"domain": "Clips of a dream.", "domain_words": ["the", "first", "thing"], "longest_clip": 2.5}
    (folder / "config.json").write_text(json.dumps(config))
    (tmp_path / "videos").mkdir()
    shutil.copy(clip, tmp_path / "videos")
    write_truth(
        tmp_path / "truth.jsonl",
        [record(f"q{place}", "stvg", query=query) for place, query in enumerate(QUERIES[:2])],
    )

    out = tmp_path / "answers.jsonl"
    shown = run("--data", tmp_path, "--checkpoint", folder, "--out", out)
    assert shown.exit_code == 0, shown.output
    assert shown.stderr.count("Clips of a dream.") == 1
    first, second = read_predictions(out).values()
    # Four seconds are more than 2.5, so both are read in pieces; and a word of the second one is unknown.
    assert (len(first.notes), len(second.notes)) == (1, 2)
    assert sum("second" in note for note in second.notes) == 1
    assert "Clips of a dream." not in out.read_text()
