"""Files in, scores out: the counts, the split, the checks, and the shape of scores.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge_stg.cli.main import app
from bridge_stg.errors import DataError, InputError
from bridge_stg.evaluation.score import score, score_files
from bridge_stg.evaluation.scores import Scores, write_scores
from bridge_stg.records.prediction import read_predictions, write_predictions
from bridge_stg.records.record import TruthRecord, read_truth

BOX = [10.0, 10.0, 30.0, 30.0]


def truth_line(name: str, **changes: Any) -> dict[str, Any]:
    """Frames 20-39 of a 10 fps video, the target still."""
    line: dict[str, Any] = {
        "id": name,
        "task": "stvg",
        "video": "a.mp4",
        "fps": 10.0,
        "frame_count": 100,
        "clip": [0, 100],
        "width": 64,
        "height": 64,
        "query": "?",
        "qtype": "declarative",
        "window": [20, 40],
        "boxes": {str(frame): BOX for frame in range(20, 40)},
    }
    return line | changes


def answer_line(name: str, start: float = 2.0, end: float = 4.0, **changes: Any) -> dict[str, Any]:
    line: dict[str, Any] = {
        "id": name,
        "status": "ok",
        "text": "",
        "windows": [{"start": start, "end": end, "score": 1.0}],
        "boxes": [{"time": start, "box": BOX, "score": 0.9}],
    }
    return line | changes


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Four declarative queries named after their fate, a perfect interrogative one, one of another task."""
    truth = [truth_line(name, video=f"{name}.mp4") for name in ("perfect", "half", "failed", "missing")]
    truth.append(truth_line("asked", qtype="interrogative"))
    truth.append(truth_line("other", task="vtg", boxes={}))
    answers = [
        answer_line("perfect"),
        answer_line("half", 2.0, 3.0),
        answer_line("failed", status="no_window"),
        answer_line("asked"),
    ]
    return write(tmp_path / "truth.jsonl", truth), write(tmp_path / "answers.jsonl", answers)


def test_counts_means_and_split(files: tuple[Path, Path]) -> None:
    scores = score_files(*files, protocol="stcat").scores
    assert (scores.n, scores.missing, scores.failed, scores.operator) == (5, 1, 1, ">")
    # tIoU 1, 0.5, 0, 0, 1; every vIoU equals its tIoU because the boxes are right.
    assert scores.metrics == pytest.approx(
        {"m_tIoU": 50, "m_vIoU": 50, "vIoU@0.3": 60, "vIoU@0.5": 40, "gt_vIoU": 60}
    )
    assert scores.by_qtype["declarative"].n == 4
    assert scores.by_qtype["declarative"].metrics["m_vIoU"] == pytest.approx(37.5)
    assert scores.by_qtype["interrogative"].metrics["m_vIoU"] == pytest.approx(100)
    assert scores.not_scored == {"vtg": 1}
    for name, (low, high) in scores.ci95.items():
        assert low <= scores.metrics[name] <= high


def test_the_paper_counts_exactly_half(files: tuple[Path, Path]) -> None:
    assert score_files(*files, protocol="paper").scores.metrics["vIoU@0.5"] == pytest.approx(60)


def test_scores_json_has_the_documented_fields(files: tuple[Path, Path], tmp_path: Path) -> None:
    report = score_files(*files, protocol="stcat", beside={"same": files[1]})
    out = tmp_path / "scores.json"
    write_scores(out, report)
    content = json.loads(out.read_text())
    assert {name: content[name] for name in ("task", "split", "not_scored")} == {
        "task": "stvg",
        "split": None,
        "not_scored": {"vtg": 1},
    }
    names = ["m_tIoU", "m_vIoU", "vIoU@0.3", "vIoU@0.5", "gt_vIoU"]
    assert content["schema"] == "bridge-stg/scores/1"
    assert {name: content[name] for name in ("protocol", "operator", "n", "missing", "failed")} == {
        "protocol": "stcat",
        "operator": ">",
        "n": 5,
        "missing": 1,
        "failed": 1,
    }
    assert list(content["metrics"]) == list(content["ci95"]) == names
    assert list(content["by_qtype"]["interrogative"]) == ["n", "metrics"]
    assert list(content["beside"]) == ["same", "whole clip, centre box", "best constant answer"]
    assert content["beside"]["same"] == content["metrics"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.jsonl", "scores.json", "truth.jsonl"]


def test_constant_answers_are_scored_beside(files: tuple[Path, Path]) -> None:
    beside = score_files(*files, protocol="stcat").beside
    # Every true window is frames 20-39 of 100, the box 20 x 20 in a frame of 64 x 64.
    whole = beside["whole clip, centre box"]
    assert whole.metrics["m_tIoU"] == pytest.approx(20)
    # Centre box 16..48: 14 x 14 shared with 10..30, of 32 * 32 + 20 * 20 - 14 * 14.
    assert whole.metrics["gt_vIoU"] == pytest.approx(100 * 196 / (1024 + 400 - 196))
    assert whole.metrics["m_vIoU"] == pytest.approx(0.2 * whole.metrics["gt_vIoU"])
    # One constant fits them all: only the box has to be guessed from a grid.
    assert beside["best constant answer"].metrics["m_tIoU"] == pytest.approx(100)
    assert whole.missing == beside["best constant answer"].missing == 0


def test_a_place_that_cannot_be_written_is_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing_folder/scores\.json"):
        write_scores(tmp_path / "missing_folder" / "scores.json", score_files(*files, protocol="stcat"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([answer_line("perfect"), answer_line("perfect")], r"answers\.jsonl:2: duplicate id 'perfect'"),
        (
            [answer_line("half"), answer_line("stranger")],
            r"answers\.jsonl:2: prediction 'stranger': the truth holds no such id \(1 unknown in all\)",
        ),
        (
            [answer_line("half"), answer_line("other"), answer_line("asked")],
            r"answers\.jsonl:2: prediction 'other': answers a question of task vtg, those before it of stvg; "
            "say which to score with --task stvg or --task vtg",
        ),
        (
            [answer_line("half", boxes=[{"time": 2.0, "box": [1, 2, float("nan"), 4]}])],
            r"answers\.jsonl:1: prediction 'half': a box or its time",
        ),
        (
            [answer_line("half", 4.0, 2.0)],
            r"prediction 'half': .*cannot end before it starts, got \[4\.0, 2\.0\)",
        ),
        (
            [answer_line("half", boxes=[{"time": 2.0, "box": [30, 10, 10, 30]}])],
            r"prediction 'half': box at 2\.0 s has negative size",
        ),
        (
            [answer_line("half", boxes=[{"time": 2.0, "box": [1, 2, 3]}])],
            r"prediction 'half': boxes\[0\]\.box: ",
        ),
        (
            [answer_line("half", boxes=[{"time": 2.0, "box": [1, 2, 3, "4"]}])],
            r"prediction 'half': boxes\[0\]\.box",
        ),
        (
            [answer_line("half", boxes=[{"time": True, "box": BOX}])],
            r"prediction 'half': boxes\[0\]\.time: ",
        ),
        (
            [answer_line("half", boxes=None)],
            "prediction 'half': boxes: ",
        ),
        ([answer_line("half", boxes=[BOX])], "prediction 'half': boxes"),
        ([answer_line("half", float("nan"))], r"prediction 'half': .*finite seconds, got \[nan, 4\.0\)"),
        (
            [answer_line("half", windows=[{"start": "2", "end": 4}])],
            r"prediction 'half': windows\[0\]\.start: ",
        ),
        (
            [answer_line("half", windows=[{"start": 2, "end": 4, "score": float("nan")}])],
            "'half': .*score",
        ),
        (
            [answer_line("half", boxes=[{"time": 2.0, "box": [1, 2, 3, 10**400]}])],
            r"prediction 'half': boxes",
        ),
        ([answer_line("half", 0.0, 1e308)], "'half': .*window .*1e"),
        ([answer_line("half", -1e300, 4.0)], "'half': .*window .*1e"),
        (
            [answer_line("half", windows=[{"start": 2, "end": 4, "score": 10**400}])],
            r"prediction 'half': windows",
        ),
        (
            [answer_line("half", boxes=[{"time": 1e308, "box": BOX}])],
            "'half': .*box .*1e",
        ),
        ([answer_line("half") | {"id": 7}], r"answers\.jsonl:1: prediction 7: id: "),
        ([answer_line("half") | {"text": None}], "prediction 'half': text: "),
        ([answer_line("half") | {"choice": 2}], "prediction 'half': choice: "),
        (
            [answer_line("half", boxes=[{"time": 3.0, "box": BOX}, {"time": 2.0, "box": BOX}])],
            "'half': .*times .*increase",
        ),
        ([answer_line("half", boxes=[{"box": BOX}])], r"prediction 'half': .*time"),
        (
            [answer_line("half", windows=[{"start": "soon", "end": 4}])],
            r"prediction 'half': windows\[0\]\.start: ",
        ),
        ([answer_line("half", status="fine")], "prediction 'half': status: .*'fine'"),
        ([answer_line("half", window=[2, 4])], "'half': .*'window'"),
        ([{"status": "ok"}], r"prediction '\?': .*id"),
    ],
)
def test_one_line_names_the_bad_prediction(
    files: tuple[Path, Path], lines: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        score_files(files[0], write(files[1], lines), protocol="stcat")
    assert "\n" not in str(caught.value)


def test_a_truncated_line_is_named(files: tuple[Path, Path]) -> None:
    text = files[1].read_text()
    files[1].write_text(text[: len(text) - 20])
    with pytest.raises(DataError, match=r"answers\.jsonl:4: .*JSON.* \(column \d+\)$"):
        score_files(*files, protocol="stcat")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 7}, "record 7: id: "),
        ({"window": [40, 20]}, r"'bad': window \[40, 20\]"),
        ({"boxes": {"20": [1, 2, float("nan"), 4]}}, "'bad': .*frame 20 .*finite"),
        ({"boxes": {"20": BOX, "21": [30, 10, 10, 30]}}, "'bad': .*frame 21 .*size"),
        ({"boxes": {"20": BOX, "020": BOX}}, "record 'bad': boxes: .*'020'"),
        (
            {"boxes": {"20": [1, 2, 3, 10**400]}},
            "record 'bad': box of frame 20",
        ),
        ({"task": "vqa", "choices": ["x", "y"], "choice": "C"}, r"'C' .*\(A, B\)"),
        ({"task": "vqa", "choice": "A"}, "'A' .* 0 choices"),
        ({"choices": [1, 2]}, "record 'bad': choices"),
        ({"category": 3}, "record 'bad': category"),
        ({"id": "perfect"}, "'perfect'"),
    ],
)
def test_one_line_names_the_bad_truth(files: tuple[Path, Path], changes: dict[str, Any], message: str) -> None:
    write(files[0], [truth_line("perfect"), truth_line("bad") | changes])
    with pytest.raises(DataError, match=rf"truth\.jsonl:2: .*{message}") as caught:
        score_files(*files)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_named(files: tuple[Path, Path]) -> None:
    files[1].write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match=r"answers\.jsonl:1: "):
        score_files(*files, protocol="stcat")


def test_nothing_of_the_task_to_score(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth.jsonl", [truth_line("a", task="vtg", boxes={})])
    with pytest.raises(DataError, match="stvg"):
        score(read_truth(truth), {}, "stcat", task="stvg")


def test_the_task_is_the_one_that_is_answered(files: tuple[Path, Path]) -> None:
    vtg = write(files[1].with_name("vtg.jsonl"), [answer_line("other", 2.0, 3.0)])
    report = score_files(files[0], vtg)
    scores = report.scores
    assert (scores.task, scores.protocol, scores.operator, scores.n) == ("vtg", "charades-sta", ">=", 1)
    assert scores.metrics == pytest.approx({"R1@0.3": 100, "R1@0.5": 100, "R1@0.7": 0, "mIoU": 50})
    assert scores.not_scored == {"stvg": 5}
    assert report.beside["whole clip"].metrics["mIoU"] == pytest.approx(20)


def test_a_truth_that_cannot_be_scored_is_named(files: tuple[Path, Path]) -> None:
    write(files[0], [truth_line("perfect", boxes={"60": BOX})])
    with pytest.raises(DataError, match=r"truth\.jsonl: .*'perfect'.* box"):
        score_files(files[0], write(files[1], [answer_line("perfect")]))


def test_a_chosen_task_leaves_the_others_aside(files: tuple[Path, Path]) -> None:
    lines = [json.loads(line) for line in files[1].read_text().splitlines()]
    both = write(files[1], [*lines, answer_line("other")])
    scores = score_files(files[0], both, task="stvg").scores
    assert (scores.task, scores.n, scores.missing, scores.not_scored) == ("stvg", 5, 1, {"vtg": 1})
    assert score_files(files[0], both, task="vtg").scores.metrics["mIoU"] == pytest.approx(100)


def test_without_predictions_the_truth_says_the_task(tmp_path: Path) -> None:
    vtg = TruthRecord.from_json(truth_line("a", task="vtg", boxes={}))
    vqa = TruthRecord.from_json(truth_line("b", task="vqa", boxes={}, choices=["x", "y"], choice="A"))
    stvg = TruthRecord.from_json(truth_line("c"))
    assert score([vtg], {}).task == "vtg"
    assert score([vtg, stvg, vqa], {}).task == "stvg"
    with pytest.raises(DataError, match=r"vqa, vtg .*--task"):
        score([vtg, vqa], {})


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (
            "stcat",
            "protocol 'stcat' is not one of task vtg, which is scored by charades-sta; leave --protocol out",
        ),
        ("got10k", "protocol 'got10k' is not one of task vtg"),
        ("nonsense", "unknown protocol 'nonsense'; choose one of tubedetr, stcat, hcstvg, paper"),
    ],
)
def test_a_protocol_belongs_to_its_task(files: tuple[Path, Path], protocol: str, message: str) -> None:
    vtg = write(files[1], [answer_line("other")])
    with pytest.raises(InputError, match=message):
        score_files(files[0], vtg, protocol)
    assert score_files(files[0], vtg, "charades-sta").scores.protocol == "charades-sta"
    with pytest.raises(InputError, match=r"'got10k'.* tubedetr"):
        score(read_truth(files[0]), {}, "got10k", task="stvg")


def test_every_task_in_one_truth_is_scored_by_its_standard(tmp_path: Path) -> None:
    """One file, five tasks, answers worked by hand."""
    one_box = {"boxes": {"20": BOX}, "window": None, "clip": [20, 21]}
    question = {"boxes": {}, "window": None, "choices": ["x", "y", "z"], "choice": "B"}
    truth = [
        truth_line("tube"),
        truth_line("when", task="vtg", boxes={}),
        truth_line("track", task="vot", window=None),
        truth_line("track2", task="vot", window=None, video="b.mp4", boxes={"0": BOX, "1": BOX}, split="val"),
        truth_line("where", task="rec", **one_box),
        truth_line("which", task="vqa", **question, category="counting", kind="long", subtitles="a.srt"),
        truth_line("which2", task="vqa", **question, category="colour", kind="short"),
        truth_line("which3", task="vqa", **question, category="colour"),
    ]
    place = write(tmp_path / "truth.jsonl", truth)

    def scored(*answers: dict[str, Any]) -> Scores:
        return score_files(place, write(tmp_path / "answers.jsonl", list(answers))).scores

    tracked = scored(answer_line("track", windows=[]))
    # 19 frames right, and 1 frame of the other video missing: pooled, not averaged over videos.
    assert (tracked.protocol, tracked.operator, tracked.n, tracked.missing) == ("got10k", ">", 2, 1)
    assert tracked.metrics == pytest.approx({"AO": 95, "SR@0.5": 95, "SR@0.7": 95, "SR@0.75": 95})
    assert tracked.ci95["AO"] == pytest.approx((0, 100))  # two videos: one drawn twice is 0 or 100
    assert tracked.split == "val"

    found = scored(answer_line("where", windows=[], boxes=[{"time": 2.0, "box": [10, 10, 30, 20]}]))
    assert (found.protocol, found.operator, found.metrics) == ("refcoco", ">=", {"Acc@0.5": 100.0})

    chosen = scored(
        {"id": "which", "text": "The answer is B."},
        {"id": "which2", "choice": "B"},
        {"id": "which3", "text": "?"},
    )
    assert (chosen.protocol, chosen.n, chosen.missing, chosen.failed) == ("video-mme", 3, 0, 1)
    assert chosen.metrics["accuracy"] == pytest.approx(200 / 3)
    parts = chosen.to_json()
    assert parts["by_category"] == {
        "colour": {"n": 2, "metrics": {"accuracy": 50.0}},
        "counting": {"n": 1, "metrics": {"accuracy": 100.0}},
    }
    # The third has no kind.
    assert parts["by_kind"] == {
        "long": {"n": 1, "metrics": {"accuracy": 100.0}},
        "short": {"n": 1, "metrics": {"accuracy": 100.0}},
    }
    assert parts["by_subtitles"] == {
        "with": {"n": 1, "metrics": {"accuracy": 100.0}},
        "without": {"n": 2, "metrics": {"accuracy": 50.0}},
    }
    assert parts["split"] is None


def test_the_terminal_says_how_it_was_scored(files: tuple[Path, Path]) -> None:
    words = ["score", "--truth", str(files[0]), "--predictions", str(files[1]), "--protocol", "hcstvg"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "task stvg, protocol hcstvg: vIoU@R counts vIoU > R" in done.output
    assert "95% interval" in done.output
    assert "5 queries, 1 missing, 1 failed (1 no_window)" in done.output
    assert "1 vtg" in done.output
    done = CliRunner().invoke(app, [*words[:5], "--task", "vtg"])
    assert "task vtg, protocol charades-sta: R1@R counts tIoU >= R" in done.output
    assert "1 queries, 1 missing, 0 failed" in done.output


def test_an_unknown_task_names_the_known_ones(files: tuple[Path, Path]) -> None:
    words = ["score", "--truth", str(files[0]), "--predictions", str(files[1]), "--task", "x"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert done.output == "error: no task 'x'; there are: stvg, vtg, vot, rec, vqa\n"


def test_the_columns_of_the_queries_average_to_the_metrics(files: tuple[Path, Path]) -> None:
    content = json.loads(score_files(*files, "tubedetr").to_text())
    queries = content["queries"]
    assert queries["id"] == ["perfect", "half", "failed", "missing", "asked"]
    assert queries["video"] == ["perfect.mp4", "half.mp4", "failed.mp4", "missing.mp4", "a.mp4"]
    assert queries["weight"] == [1] * 5
    assert queries["m_tIoU"] == [100, 50, 0, 0, 100]
    for name, value in content["metrics"].items():
        assert sum(queries[name]) / 5 == pytest.approx(value)


def test_every_column_stands_on_one_line(files: tuple[Path, Path]) -> None:
    text = score_files(*files).to_text()
    assert sum(line.startswith('    "id": [') for line in text.splitlines()) == 1
    assert json.loads(text) == json.loads(json.dumps(score_files(*files).to_json()))


def test_no_prediction_at_all_is_zero_and_missing(files: tuple[Path, Path]) -> None:
    scores = score(read_truth(files[0]), {}, "stcat")
    assert (scores.missing, scores.failed) == (5, 0)
    assert set(scores.metrics.values()) == {0.0}


def test_predictions_survive_writing_and_reading(files: tuple[Path, Path], tmp_path: Path) -> None:
    first = read_predictions(files[1])
    write_predictions(tmp_path / "again.jsonl", first.values())
    second = read_predictions(tmp_path / "again.jsonl")
    assert [record.to_json() for record in first.values()] == [record.to_json() for record in second.values()]
    assert second["half"].best_window == first["half"].best_window


@pytest.mark.slow
def test_a_set_beside_cannot_hide_behind_a_constant(files: tuple[Path, Path]) -> None:
    truth, answers = files
    for name in ("best constant answer", "whole clip, centre box"):
        with pytest.raises(InputError, match=f"--beside: {name!r}"):
            score_files(truth, answers, beside={name: answers})
