"""``bridge-stg report`` as a person runs it: real videos in, a page out, and bad input named in one line."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import Result
from typer.testing import CliRunner

from bridge_stg.cli.main import app
from bridge_stg.evaluation.constants import whole_clip_centre_box
from bridge_stg.evaluation.run_cost import RunCost, cost_path, write_cost
from bridge_stg.evaluation.score import score_files
from bridge_stg.files.hashes import file_hash
from bridge_stg.records.prediction import PredictionRecord, write_predictions
from bridge_stg.records.record import TruthRecord, read_truth, write_truth

XHTML = "{http://www.w3.org/1999/xhtml}"


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, words)])


def texts(page: Path) -> list[str]:
    """What stands in each leaf of the page; parsing it proves that it is well formed."""
    root = ElementTree.fromstring(page.read_text(encoding="utf-8").removeprefix("<!DOCTYPE html>\n"))
    return [element.text or "" for element in root.iter() if element.tag != f"{XHTML}style"]


def rows(page: Path, title: str) -> dict[str, list[str]]:
    """The cells of each row of the first table whose heading begins with ``title``."""
    root = ElementTree.fromstring(page.read_text(encoding="utf-8").removeprefix("<!DOCTYPE html>\n"))
    for table in root.iter(f"{XHTML}table"):
        lines = [["".join(cell.itertext()) for cell in row] for row in table.iter(f"{XHTML}tr")]
        if lines[0][0] == title:
            return {line[0]: line[1:] for line in lines}
    raise AssertionError(f"no table {title!r}")


@pytest.fixture
def data(shapes_data: Path, tmp_path: Path) -> dict[str, Path]:
    """A truth of real videos, one query of which tries to be HTML, and answers: right, missing, failed."""
    records = read_truth(shapes_data / "truth.jsonl")
    stvg = [record for record in records if record.task == "stvg"]
    stvg[0] = changed(stvg[0], query='<script>alert(1)</script> & "more"')
    truth = tmp_path / "truth.jsonl"
    write_truth(truth, [*stvg, *(record for record in records if record.task != "stvg")])
    right = [perfect(record) for record in stvg]
    files = {"truth": truth, "videos": shapes_data, "out": tmp_path / "out"}
    for name, answers in {
        "right": right,
        "half": [PredictionRecord(right[0].id, status="no_window", text="<b>none</b>"), *right[2:]],
        "whole": whole_clip_centre_box(stvg),
    }.items():
        files[name] = tmp_path / f"{name}.jsonl"
        write_predictions(files[name], answers)
    return files


def changed(record: TruthRecord, **values: Any) -> TruthRecord:
    return TruthRecord.from_json(json.loads(json.dumps(record.to_json() | values)))


def perfect(record: TruthRecord) -> PredictionRecord:
    assert record.window is not None
    start, end = (frame / record.fps for frame in record.window)
    boxes = [{"time": f / record.fps, "box": list(box)} for f, box in record.boxes.items()]
    line = {"id": record.id, "windows": [{"start": start, "end": end}], "boxes": boxes}
    return PredictionRecord.from_json(line)


def test_a_page_of_two_runs(data: dict[str, Path]) -> None:
    words = (f"half={data['half']}", data["right"], "--oracle", f"half={data['right']}")
    done = run(*words, "--truth", data["truth"], "--videos", data["videos"], "--out", data["out"])
    assert done.exit_code == 0, done.output
    scores = score_files(data["truth"], data["half"]).scores
    assert f"half: {scores.n} queries, 1 missing, 1 failed" in done.output

    page, notes = data["out"] / "report.html", (data["out"] / "report.md").read_text()
    found = texts(page)
    # The scores are those of the score command, to the digit that is shown, and so is every interval.
    cells = rows(page, "set")["half"]
    for (metric, value), cell in zip(scores.metrics.items(), cells, strict=False):
        low, high = scores.ci95[metric]
        assert cell == f"{value:.1f}{low:.1f}-{high:.1f}"
    assert cells[-3:] == [str(scores.n), "1", "1"]
    assert rows(page, "set")["right"][0] == "100.0100.0-100.0"
    assert {"whole clip, centre box", "best constant answer"} <= set(rows(page, "set"))
    kinds = rows(page, "window")
    assert [line[1] for line in kinds.values()][1:] == [f"{scores.n}+0.0 / +0.0 s", *["0"] * 6]
    assert kinds["no windowthe prediction is missing, failed, or names no window"] == ["2", "0"]
    assert rows(page, "setting")["gap"][:2] == [f"+{200 / scores.n:.1f}"] * 2
    # What people wrote is text, on the page and in the notes.
    assert '<script>alert(1)</script> & "more"' in found
    assert "<script" not in page.read_text()
    assert "<script" not in notes
    assert any('Answer (no_window): "<b>none</b>"' in text for text in found)
    # Every picture of the notes is a file, the same bytes as on the page.
    names = re.findall(r"\]\(images/([^)]+)\)", notes)
    assert sorted(names) == sorted(path.name for path in (data["out"] / "images").iterdir())
    assert sum(name.startswith(("worst", "best")) for name in names) == scores.n
    inside = re.findall(r'src="data:image/\w+;base64,([^"]+)"', page.read_text())
    assert [b64decode(text) for text in inside] == [(data["out"] / "images" / n).read_bytes() for n in names]


def test_absent_events_confidence_and_the_papers_tables_are_on_the_page(
    data: dict[str, Path], tmp_path: Path
) -> None:
    """Predictions in a folder, one of which refuses an event that is absent."""
    records = read_truth(data["truth"])
    stvg = [record for record in records if record.task == "stvg"]
    gone = changed(stvg[0], id="gone", window=None, boxes={}, absent=True)
    truth = tmp_path / "more" / "truth.jsonl"
    truth.parent.mkdir()
    write_truth(truth, [*stvg, gone])
    folder = tmp_path / "answers"
    folder.mkdir()
    sure = [replace(perfect(record), confidence=0.9) for record in stvg]
    write_predictions(folder / "rank-00000.jsonl", sure)
    refusal = PredictionRecord("gone", status="absent", confidence=0.9)
    write_predictions(folder / "rank-00001.jsonl", [refusal])
    words = ("--truth", truth, "--videos", data["videos"], "--out", data["out"], "--benchmark", "vidstg")
    done = run(folder, *words, "--worst", 1, "--best", 0)
    assert done.exit_code == 0, done.output

    page = data["out"] / "report.html"
    assert rows(page, "run")["answers"][-1] == "100.0100.0-100.0"  # mAP, the first table about runs
    found = texts(page)
    for heading in ("All windows of an answer", "Events that do not happen", "Confidence"):
        assert heading in found
    # Eleven right answers at 0.9, or however many there are: the error is what is missing to 1.
    assert "0.100" in found
    assert (data["out"] / "images" / "plot-reliability.png").is_file()
    assert rows(page, "as reported, Table 14: true window given, VidSTG declarative")["true window given"] == [
        "-",
        "65.2",
        "73.2",
        "59.3",
    ]


def test_the_same_files_give_the_same_bytes_and_no_leftovers(data: dict[str, Path]) -> None:
    words = (data["half"], "--truth", data["truth"], "--videos", data["videos"])
    assert run(*words, "--out", data["out"]).exit_code == 0
    first = {path.relative_to(data["out"]): path.read_bytes() for path in files_in(data["out"])}
    assert run(*words, "--out", data["out"]).exit_code == 0
    assert {path.relative_to(data["out"]): path.read_bytes() for path in files_in(data["out"])} == first
    assert run(*words, "--out", data["out"], "--worst", 1, "--best", 0).exit_code == 0
    left = {path.name for path in files_in(data["out"])}
    assert "worst-1.jpg" in left
    assert not left & {"worst-2.jpg", "best-1.jpg"}


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_lies_beside_a_run_is_shown(data: dict[str, Path]) -> None:
    record = {"checkpoint": "ab" * 32, "truth": file_hash(data["truth"]), "box_fps": None}
    data["right"].with_name("right.jsonl.run.json").write_text(json.dumps(record))
    cost = RunCost("cpu: test", {}, parameters=1_234_567, clips=2, queries=4)
    cost.totals = {"frames": 40.0, "visual_tokens": 500.0, "answer_tokens": 84.0}
    cost.ms = {"vision": 100.0, "answer": 60.0}
    cost.peak_memory_mib = 321.0
    write_cost(cost_path(data["right"]), [cost])
    words = (data["right"], "--truth", data["truth"], "--videos", data["videos"], "--out", data["out"])
    assert run(*words, "--worst", 0, "--best", 0).exit_code == 0
    found = rows(data["out"] / "report.html", "")
    assert found["parameters"] == ["1,234,567"]
    assert (found["frames read"], found["visual tokens"]) == (["20.0"], ["250.0"])
    assert (found["tokens of the answer"], found["vision"], found["all stages"]) == (
        ["21.0"],
        ["25.0"],
        ["40.0"],
    )
    assert (found["memory of a process, MiB"], found["memory of a GPU, MiB"]) == (["321.0"], ["-"])
    said = texts(data["out"] / "report.html")
    assert "abababababab" in said
    assert "this one" in said


def test_the_rows_of_the_paper_stand_beside(data: dict[str, Path]) -> None:
    words = (data["right"], "--truth", data["truth"], "--videos", data["videos"], "--out", data["out"])
    assert run(*words, "--worst", 0, "--best", 0, "--benchmark", "hcstvg-v2").exit_code == 0
    shown = rows(data["out"] / "report.html", "set")
    assert any(name.startswith("Bridge-STG (Table 3)") for name in shown)
    assert "as reported, hcstvg-v2 val" in shown


def test_a_page_of_windows_alone(data: dict[str, Path], tmp_path: Path) -> None:
    """Temporal grounding has no boxes: the parts about them are not there, the others are."""
    records = [r for r in read_truth(data["truth"]) if r.task == "stvg"]
    truth = [changed(record, task="vtg", boxes={}) for record in records]
    write_truth(tmp_path / "vtg.jsonl", truth)
    answers = [perfect(record) for record in truth]
    write_predictions(tmp_path / "windows.jsonl", answers)
    words = (
        tmp_path / "windows.jsonl", "--truth", tmp_path / "vtg.jsonl", "--videos", data["videos"],
        "--out", data["out"], "--worst", 1, "--best", 1,
    )  # fmt: skip
    done = run(*words)
    assert done.exit_code == 0, done.output
    page = data["out"] / "report.html"
    assert rows(page, "set")["windows"][3].startswith("100.0")
    assert rows(page, "tIoU")["[0.7, 1.0]"][0].startswith(str(len(records)))
    assert {path.name for path in (data["out"] / "images").iterdir()} == {
        "best-1.jpg", "worst-1.jpg", "plot-mIoU.png", "plot-R1-0-5.png", "plot-windows.png",
        "plot-tIoU-spread.png", "plot-length.png", "plot-start.png", "plot-end.png",
    }  # fmt: skip
    assert not [text for text in texts(page) if "vIoU" in text or "box" in text]
    # Boxes in the answers, which nobody asked for, are not drawn: the picture is that of windows alone.
    drawn = (data["out"] / "images" / "worst-1.jpg").read_bytes()
    bare = [PredictionRecord(answer.id, windows=answer.windows) for answer in answers]
    write_predictions(tmp_path / "windows.jsonl", bare)
    assert run(*words).exit_code == 0
    assert (data["out"] / "images" / "worst-1.jpg").read_bytes() == drawn


def test_other_tasks_have_their_scores(data: dict[str, Path], tmp_path: Path) -> None:
    record = next(r for r in read_truth(data["truth"]) if r.task == "stvg")
    questions = [
        changed(record, id=f"v{n}", task="vqa", window=None, boxes={}, choices=["a", "b"], choice="AB"[n])
        for n in range(2)
    ]
    write_truth(tmp_path / "vqa.jsonl", questions)
    write_predictions(tmp_path / "letters.jsonl", [PredictionRecord(f"v{n}", choice="A") for n in range(2)])
    words = (tmp_path / "letters.jsonl", "--truth", tmp_path / "vqa.jsonl", "--out", data["out"])
    done = run(*words, "--videos", tmp_path)
    assert done.exit_code == 0, done.output
    assert rows(data["out"] / "report.html", "set")["letters"][0].startswith("50.0")
    assert [path.name for path in (data["out"] / "images").iterdir()] == ["plot-accuracy.png"]


def test_a_video_that_cannot_be_read_is_said_and_counted(data: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    words = (data["right"], "--truth", data["truth"], "--videos", tmp_path / "empty", "--out", data["out"])
    done = run(*words, "--worst", 1, "--best", 1)
    assert done.exit_code == 0, done.output
    assert "2 case(s)" in done.output
    assert sum(text.startswith("No picture: ") for text in texts(data["out"] / "report.html")) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{right}", "{right}"], "two runs are called 'right'; name them: first=A.jsonl second=B.jsonl"),
        (["=x.jsonl"], "'=x.jsonl': give a predictions.jsonl, or NAME=predictions.jsonl"),
        (["{tmp}/none.jsonl"], "none.jsonl: cannot be read"),
        (["a={right}", "--oracle", "b={right}"], "--oracle b={right}: no run is called 'b'; runs are a"),
        (["{right}", "--oracle", "{whole}", "--oracle", "{whole}"], "has an oracle run already"),
        (["best constant answer={right}"], "a run cannot be called 'best constant answer'"),
        (["{right}", "--videos", "{tmp}/none"], "none: no such folder; give --videos"),
        (["{right}", "--protocol", "mine"], "unknown protocol 'mine'"),
        (["{right}", "--task", "walking"], "no task 'walking'"),
        (["{right}", "--benchmark", "vidstg2"], "no benchmark 'vidstg2' (did you mean vidstg?)"),
        (["{right}", "--benchmark", "refcoco"], "--benchmark refcoco is about rec, and the runs answer stvg"),
        (["{truth}"], "unknown field 'task'"),
        (["{right}", "{stranger}"], "the truth holds no such id"),
        (["{right}", "--out", "{truth}"], "truth.jsonl: is a file; give --out the name of a folder"),
    ],
)
def test_bad_input_is_one_line(data: dict[str, Path], tmp_path: Path, words: list[str], message: str) -> None:
    write_predictions(tmp_path / "stranger.jsonl", [PredictionRecord("nobody")])
    places = {**data, "tmp": tmp_path, "stranger": tmp_path / "stranger.jsonl"}
    given = [word.format(**places) for word in words]
    defaults = {"--truth": data["truth"], "--videos": data["videos"], "--out": data["out"]}
    for name, value in defaults.items():
        given += [] if name in given else [name, str(value)]
    done = run(*given)
    assert done.exit_code == 2, done.output
    assert message.format(**places) in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert not data["out"].exists()


def test_runs_of_two_tasks_do_not_share_a_page(data: dict[str, Path], tmp_path: Path) -> None:
    other = next(record for record in read_truth(data["truth"]) if record.task != "stvg")
    write_predictions(tmp_path / "other.jsonl", [PredictionRecord(other.id)])
    done = run(
        data["right"], tmp_path / "other.jsonl", "--truth", data["truth"], "--videos", data["videos"],
        "--out", data["out"],
    )  # fmt: skip
    assert done.exit_code == 2
    assert f"stvg, other of {other.task}" in done.output


def test_pictures_that_are_not_ours_stay(data: dict[str, Path]) -> None:
    images = data["out"] / "images"
    images.mkdir(parents=True)
    for name in ("best-1.jpg", "best-day.jpg"):
        (images / name).write_text("mine")
    words = (data["right"], "--truth", data["truth"], "--out", data["out"], "--worst", 0, "--best", 0)
    # Nothing here was written by a report yet; after that, best-1.jpg is the name of a picture of ours.
    for kept in (["best-1.jpg", "best-day.jpg"], ["best-day.jpg"]):
        assert run(*words).exit_code == 0
        assert sorted(path.name for path in images.glob("*.jpg")) == kept


def test_a_cost_file_that_cannot_be_added_up(data: dict[str, Path]) -> None:
    cost = data["right"].with_name(data["right"].name + ".cost.json")
    cost.write_text('{"runs": [{"device": 1, "versions": 2, "clips": "x"}]}')
    done = run(data["right"], "--truth", data["truth"], "--out", data["out"])
    assert done.exit_code == 2
    assert done.output.startswith(f"error: {cost}: is not a cost file (")
    assert not data["out"].exists()
