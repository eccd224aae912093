"""When to refuse and how sure to be, worked by hand; the command on real files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command import refused, run
from support.taught import TAUGHT
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.errors import InputError
from bridge_stg.evaluation.calibrate import (
    JudgedAnswers,
    ask_all,
    fit_style,
    fit_task,
    refusal_threshold,
    write_fits,
)
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.records.part import group_questions
from bridge_stg.records.record import TruthRecord, write_truth
from bridge_stg.types import Task

# Five present events, then five absent ones.
REFUSAL = [0.05, 0.1, 0.2, 0.3, 0.6, 0.15, 0.35, 0.4, 0.45, 0.9]


def answers(refusal: list[float] = REFUSAL, hit: str = "1110000000") -> JudgedAnswers:
    count = len(refusal)
    return JudgedAnswers(
        video=np.arange(count),
        absent=np.arange(count) >= count // 2,
        refusal=np.array(refusal),
        refused=np.zeros(count, dtype=bool),
        found=np.ones(count, dtype=bool),
        probability=np.linspace(0.9, 0.1, count),
        hit=np.array([one == "1" for one in hit]),
        seen=np.zeros(count, dtype=bool),
    )


def test_the_threshold_refuses_as_many_as_it_may() -> None:
    # One of five may be refused: from just above 0.3 on, and the next surer answer has 0.35.
    assert refusal_threshold(answers(), 0.2) == pytest.approx(0.325)
    found = fit_style("direct", answers(), refusal_threshold(answers(), 0.2))
    assert (found.greedy.absent, found.greedy.present) == (0.2, 0.2)
    assert (found.chosen.absent, found.chosen.present) == (0.8, 0.2)
    # Four present windows and one absent are left; four refusals are right and one is wrong.
    assert found.windows is not None
    assert (found.windows.n, found.windows.right, found.windows.area) == (5, 0.6, 1.0)
    assert found.refusals is not None
    # The wrong one is surer than three of the four right ones.
    assert (found.refusals.n, found.refusals.right, found.refusals.area) == (5, 0.8, 0.25)
    assert found.refusals.line is None


def test_greedy_answers_stand_where_no_threshold_is_better() -> None:
    # No present event may be refused. Above 0.6 there is one absent event, as greedily; but that refuses one.
    assert refusal_threshold(answers(), 0.0) == pytest.approx(0.75)
    quiet = [min(one, 0.49) for one in REFUSAL[:5]]
    assert refusal_threshold(answers([*quiet, *[0.9] * 5]), 0.0) is None
    assert refusal_threshold(replace(answers(), absent=np.zeros(10, dtype=bool)), 0.2) is None


def test_what_a_second_look_sees_is_refused_by_no_threshold() -> None:
    # The present event of 0.6 and the absent one of 0.9 are seen. Of the rest 0.3 may be refused, not 0.2.
    checked = replace(answers(), seen=np.isin(REFUSAL, (0.6, 0.9)))
    assert refusal_threshold(checked, 0.2) == pytest.approx(0.25)
    found = fit_style("direct", checked, refusal_threshold(checked, 0.2))
    assert (found.greedy.absent, found.greedy.present) == (0.0, 0.0)
    assert (found.chosen.absent, found.chosen.present) == (0.6, 0.2)
    assert found.windows is not None
    assert found.refusals is not None
    assert (found.windows.n, found.refusals.n) == (6, 4)
    # So few are not seen that all of them may be refused, and so the absent ones are, down to the lowest.
    few = replace(answers(), seen=np.arange(10) < 4)
    assert refusal_threshold(few, 0.2) == pytest.approx(0.025)
    chosen = fit_style("direct", few, 0.025).chosen
    assert (chosen.absent, chosen.present) == (1.0, 0.2)


def test_a_checkpoint_that_checks_its_refusals_is_asked_in_both_styles(shapes_data: Path) -> None:
    grounder = VideoGrounder.from_pretrained("shapes", device="cpu", threads=1)
    config, clips = grounder.processor.config, _clips(shapes_data)
    for least, seen in ((None, False), (1.0, False), (1e-9, True)):
        config.refusal_check = least
        found = ask_all(grounder, shapes_data, clips[:1], "direct")
        assert found.seen.tolist() == [seen] * len(found.seen)
        assert config.refusal_check == least


def test_what_is_found_is_written_beside_what_is_known(tmp_path: Path) -> None:
    fit = fit_style("direct", answers(), refusal_threshold(answers(), 0.2))
    fit = replace(fit, refusals=fit.windows)
    (tmp_path / "config.json").write_text(
        json.dumps({"calibration": {"scan": [1.0, 2.0], "direct": [0.0, 0.0]}, "sample_fps": 2.0})
    )
    write_fits(tmp_path, [fit])
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["sample_fps"] == 2.0
    assert set(written["calibration"]) == {"scan", "direct", "direct absent"}
    assert fit.windows is not None
    assert written["calibration"]["direct"] == pytest.approx(fit.windows.line, abs=1e-3)
    assert written["refusal_threshold"] == {"direct": 0.325}

    config = BridgeSTGConfig(calibration=written["calibration"], refusal_threshold=written["refusal_threshold"])
    assert config.calibration_of("scan") == [1.0, 2.0]
    assert config.calibration_of("scan", absent=True) is None
    assert config.calibration_of("vqa") is None
    assert BridgeSTGConfig(calibration=[1.0, 2.0]).calibration_of("scan") == [1.0, 2.0]
    assert BridgeSTGConfig(calibration=[1.0, 2.0]).calibration_of("scan", absent=True) is None
    with pytest.raises(InputError):
        write_fits(tmp_path / "nowhere", [fit])

    # One line for all is that of each; a task with too few answers keeps its own.
    (tmp_path / "config.json").write_text(json.dumps({"calibration": [1.0, 2.0]}))
    write_fits(tmp_path, [], {"vot": fit.windows, "rec": None})
    written = json.loads((tmp_path / "config.json").read_text())["calibration"]
    assert written["scan"] == written["rec"] == [1.0, 2.0]
    assert written["vot"] == pytest.approx(fit.windows.line, abs=1e-3)

    # However small a threshold is, the folder loads with it.
    write_fits(tmp_path, [replace(fit, threshold=1.23456e-6)])
    small = json.loads((tmp_path / "config.json").read_text())["refusal_threshold"]
    assert BridgeSTGConfig(refusal_threshold=small).refusal_threshold == {"direct": 1.235e-6}


@pytest.mark.parametrize(
    ("hit", "right", "area"),
    [("1" * 10, 1.0, None), ("0" * 10, 0.0, None), ("0000011111", 0.5, 0.0)],
)
def test_a_line_that_does_not_fit_leaves_the_one_that_is_there(
    hit: str, right: float, area: float | None, tmp_path: Path
) -> None:
    """All right, all wrong, and the wrong ones surer."""
    all_asked = replace(answers([0.1] * 10, hit), absent=np.zeros(10, dtype=bool))
    fit = fit_style("direct", all_asked, refusal_threshold(all_asked, 0.2))
    assert fit.windows is not None
    assert (fit.windows.line, fit.windows.n, fit.windows.right, fit.windows.area) == (None, 10, right, area)
    known = {"calibration": {"direct": [1.5, 2.0], "direct absent": [3.0, 4.0]}}
    (tmp_path / "config.json").write_text(json.dumps(known))
    write_fits(tmp_path, [fit], {"vot": fit.windows})
    assert json.loads((tmp_path / "config.json").read_text())["calibration"] == known["calibration"]


def test_a_half_without_a_line_has_no_error() -> None:
    """All answers about videos 0, 2, ... are right, and two of those about 1, 3, ...: the surest."""
    some = replace(answers([0.1] * 10, "1111101010"), absent=np.zeros(10, dtype=bool))
    windows = fit_style("direct", some, refusal_threshold(some, 0.2)).windows
    assert windows is not None
    assert windows.line is not None
    assert windows.line[0] > 0
    assert windows.error is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"calibration": {"scans": [1.0, 2.0]}},
        {"calibration": {"scan": [1.0]}},
        {"calibration": [1.0]},
        {"calibration": {"scan": 1.0}},
        {"refusal_threshold": {"scan": 0.0}},
        {"refusal_threshold": {"vqa": 0.5}},
        {"refusal_threshold": 0.5},
        {"det_threshold": 0.0},
    ],
)
def test_configurations_that_mean_nothing(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BridgeSTGConfig(**wrong)


def bare_configuration(folder: Path) -> Path:
    """The configuration of a folder that is a checkpoint by its looks alone."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder / "config.json"


def asked(task: Task, video: str, identity: str, query: str, **truth: Any) -> TruthRecord:
    """A question about a copy of the taught video."""
    size = {"fps": 25.0, "frame_count": 100, "clip": (0, 100), "width": 96, "height": 72}
    return TruthRecord(id=identity, task=task, video=video, query=query, **size | truth)


def truth(folder: Path, clip: Path) -> None:
    """Two copies of the taught video; of its events two happen and one does not."""
    records = []
    for number in range(2):
        name = f"videos/{number}.mp4"
        (folder / "videos").mkdir(exist_ok=True)
        shutil.copy(clip, folder / name)
        for place, query in enumerate(list(TAUGHT)[:3]):
            windows = ((25, 80),) if place < 2 else ()
            records.append(asked("stvg", name, f"{number}-{place}", query, windows=windows, absent=place == 2))
    write_truth(folder / "truth.jsonl", records)


def test_the_command_writes_into_the_folder_and_only_there(
    taught_checkpoint: Path, clip: Path, tmp_path: Path
) -> None:
    truth(tmp_path, clip)
    folder = tmp_path / "checkpoint"
    shutil.copytree(taught_checkpoint, folder)
    before = (folder / "config.json").read_text()
    words = ["calibrate", "--data", str(tmp_path), "--checkpoint", str(folder)]
    # A style that is named twice is asked once.
    shown = CliRunner().invoke(main.app, [*words, "--answer", "direct", "--answer", "direct"])
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("calibration 'direct': [") == 1
    assert (folder / "config.json").read_text() == before

    assert CliRunner().invoke(main.app, [*words, "--write"]).exit_code == 0
    calibrated = VideoGrounder.from_pretrained(str(folder), device="cpu")
    slope, offset = calibrated.processor.config.calibration["direct"]
    plain = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu").ground(clip, next(iter(TAUGHT)))
    found = calibrated.ground(clip, next(iter(TAUGHT)))
    assert plain.confidence is not None
    assert found.confidence is not None
    odds = slope * np.log(plain.confidence / (1 - plain.confidence)) + offset
    assert found.confidence == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-4)
    assert found.absent_probability == plain.absent_probability
    assert CliRunner().invoke(main.app, [*words, "--answer", "scan"]).exit_code == 2

    # A threshold that was set by hand is kept where that is wanted, and the line fits it.
    config = json.loads((folder / "config.json").read_text()) | {"refusal_threshold": {"direct": 0.123}}
    (folder / "config.json").write_text(json.dumps(config))
    assert CliRunner().invoke(main.app, [*words, "--write", "--keep-thresholds"]).exit_code == 0
    assert json.loads((folder / "config.json").read_text())["refusal_threshold"] == {"direct": 0.123}
    both = [*words, "--keep-thresholds", "--most-refused", "0.1"]
    assert CliRunner().invoke(main.app, both).exit_code == 2
    assert CliRunner().invoke(main.app, [*words[:-1], "shapes", "--write"]).exit_code == 2


def test_a_folder_called_as_a_shipped_checkpoint_is_not_written_for_it(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth(tmp_path, clip)
    own = bare_configuration(tmp_path / "shapes")
    monkeypatch.chdir(tmp_path)
    words = ["calibrate", "--data", ".", "--checkpoint", "shapes", "--write"]
    assert CliRunner().invoke(main.app, words).exit_code == 2
    assert own.read_text() == "{}"


def test_a_checkpoint_that_cannot_be_written_is_refused_before_it_is_asked(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth(tmp_path, clip)
    own = bare_configuration(tmp_path / "tuned")

    def full(dir: Path) -> None:
        raise OSError(30, "Read-only file system", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    words = ["calibrate", "--data", tmp_path, "--checkpoint", own.parent]
    refused(run(*words, "--write"), "tuned: cannot write here (Read-only file system)")
    # Without --write it goes on to the checkpoint, which is none.
    refused(run(*words), "config.json")


def test_a_task_without_styles_gets_a_line_of_its_own(
    taught_checkpoint: Path, clip: Path, tmp_path: Path
) -> None:
    """Four tracks of two videos, the surer half of them right; the lines of other tasks stay as they are."""
    grounder = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    # The tracks do not begin at the second box: they are unsure.
    query, unsure = (f"track the object at {box}" for box in ("[300, 300, 800, 800]", "[0, 0, 60, 60]"))
    tube = grounder.ground(clip, query, task="vot", box_fps=25.0).tube
    assert tube is not None
    frames = [int(frame) for frame in tube.frames[:50]]
    own = {frame: tuple(box) for frame, box in zip(frames, tube.boxes.tolist(), strict=False)}
    elsewhere = dict.fromkeys(frames, (0.0, 0.0, 1.0, 1.0))
    records = []
    for number, name in enumerate(("one.mp4", "two.mp4")):
        shutil.copy(clip, tmp_path / name)
        records += [
            asked("vot", name, f"{number}-{place}", words, boxes=boxes)
            for place, (words, boxes) in enumerate(((query, own), (unsure, elsewhere)))
        ]
    write_truth(tmp_path / "truth.jsonl", records)

    folder = tmp_path / "checkpoint"
    shutil.copytree(taught_checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    config["calibration"] = {"direct": [2.0, 1.0], "vot": [9.0, 9.0]}
    (folder / "config.json").write_text(json.dumps(config))
    words = ["calibrate", "--data", str(tmp_path), "--checkpoint", str(folder), "--task", "vot"]
    shown = CliRunner().invoke(main.app, [*words, "--write"])
    assert shown.exit_code == 0, shown.output
    assert "from 4 answers, 50.0% right" in " ".join(shown.output.split())
    assert "few" in shown.output
    written = json.loads((folder / "config.json").read_text())["calibration"]
    assert written["direct"] == [2.0, 1.0]
    assert set(written) == {"direct", "vot"}
    assert written["vot"][0] > 0
    calibrated = VideoGrounder.from_pretrained(str(folder), device="cpu")
    sure = [calibrated.ground(clip, one, task="vot").confidence or 0.0 for one in (query, unsure)]
    assert sure[0] > 0.9
    assert sure[1] < 0.1

    # Where all are wrong no line fits, and the one that is there stays.
    write_truth(tmp_path / "truth.jsonl", [replace(one, boxes=elsewhere) for one in records])
    shown = CliRunner().invoke(main.app, [*words, "--write"])
    assert shown.exit_code == 0, shown.output
    assert "4 answers, 0.0% right" in " ".join(shown.output.split())
    assert json.loads((folder / "config.json").read_text())["calibration"] == written

    for more in (["--task", "vtg"], ["--answer", "direct"], ["--task", "rec"], ["--most-refused", "0.1"]):
        assert CliRunner().invoke(main.app, [*words, *more]).exit_code == 2

    # Two clips of one video are no two halves.
    parts = [replace(records[0], id=str(end), clip=(0, end)) for end in (60, 100)]
    assert fit_task(grounder, tmp_path, group_questions(parts, "vot")) is None


def test_what_cannot_be_scored_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    """Of GOT-10k's test split only the first box is known."""
    own = bare_configuration(tmp_path / "tuned")
    record = asked("vot", "a.mp4", "a", "track it", boxes={0: (0.0, 0.0, 9.0, 9.0)})
    write_truth(tmp_path / "truth.jsonl", [record])
    words = ("calibrate", "--data", tmp_path, "--checkpoint", own.parent, "--task", "vot")
    refused(run(*words), "needs a box on two frames")
    # A twentieth of a pixel is no box to begin with.
    write_truth(tmp_path / "truth.jsonl", [replace(record, boxes=dict.fromkeys((0, 1), (0.0, 0.0, 9.0, 0.03)))])
    refused(run(*words), "has no area")


def test_asking_leaves_the_grounder_as_it_was(taught_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    truth(tmp_path, clip)
    grounder = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    config = grounder.processor.config
    config.calibration, config.refusal_threshold = {"direct": [2.0, 1.0]}, {"direct": 1e-9}
    records = [record for clip in _clips(tmp_path) for record in clip.records]
    found = ask_all(grounder, tmp_path, _clips(tmp_path), "direct")
    assert (config.calibration, config.refusal_threshold) == ({"direct": [2.0, 1.0]}, {"direct": 1e-9})
    assert found.absent.tolist() == [record.absent for record in records]
    # "The event starts at 1.0 seconds and ends at 3.2 seconds.": exactly the truth.
    assert found.hit.tolist() == [True, False, False] * 2
    assert found.video.tolist() == [0, 0, 0, 1, 1, 1]


def _clips(folder: Path) -> tuple:
    from bridge_stg.records.record import read_truth

    return group_questions(read_truth(folder / "truth.jsonl"), "stvg")
