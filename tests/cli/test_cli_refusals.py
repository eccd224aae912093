"""Every command refuses in one way: exit code 2, nothing on stdout, one line on stderr.

The rows ask for what is found out last, after everything else of the command is in order.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from support.command import refused, run

from bridge_stg.cli import data, main
from bridge_stg.files.one_writer import only_writer
from bridge_stg.records.record import read_truth, write_truth

Words = list[object]


class Place:
    """What the commands are given, and a folder that is full."""

    def __init__(self, shapes: Path, clip: Path, folder: Path, held: ExitStack) -> None:
        self.shapes, self.clip, self.folder, self.held = shapes, clip, folder, held
        self.truth = shapes / "truth.jsonl"
        self.full = folder / "full"
        self.full.mkdir()
        (self.full / "notes.txt").touch()
        self.empty = folder / "empty.jsonl"
        self.empty.touch()

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


def ground(at: Place) -> Words:
    (at.full / "tube.json").mkdir()
    return ["ground", at.clip, "a circle", "--out", at.full]


def batch(at: Place) -> Words:
    return ["batch", at.clip, "--query", "a circle", "--out", at.truth]


def demo(at: Place) -> Words:
    return ["demo", "--query", "word " * 10_000, "--out", at.folder / "demo"]


def series(at: Place) -> Words:
    at.file("series", "")
    return ["train", "shapes-quick", "--out", at.folder / "series"]


def train_elsewhere(at: Place) -> Words:
    """The base is read and described, the judge of the validation finds no question."""
    truth = at.file("held-out/truth.jsonl", "")
    write_truth(truth, [record for record in read_truth(at.truth) if record.task == "vqa"][:1])
    words = [
        "base=shapes",
        "validation.data=" + str(truth.parent),
        "validation.every_steps=1",
        "data.workers=0",
    ]
    return ["train", "shapes", "--out", at.folder / "run", *(word for one in words for word in ("--set", one))]


def ablate(at: Place) -> Words:
    return ["ablate", "10", "--out", at.folder / "tables", "--set", "optim.speed=1"]


def ablate_base(at: Place) -> Words:
    base = at.file("base/config.json", '{"model_type": "bert"}').parent
    return ["ablate", "10", "--out", at.folder / "tables", "--base", base]


def ablate_from(at: Place) -> Words:
    start = at.file("start/config.json", "{}").parent
    return ["ablate", "10", "--out", at.folder / "tables", "--from", start]


def synthesize(at: Place) -> Words:
    return ["data", "synthesize", "--records", at.shapes, "--out", at.full, "--workers", 1]


def predict(at: Place) -> Words:
    """Another run holds the file when the first clip is begun."""
    out = at.folder / "predictions.jsonl"
    at.held.enter_context(only_writer(out))
    return ["predict", "--data", at.shapes, "--method", "whole-clip", "--task", "stvg", "--out", out]


def predict_submission(at: Place) -> Words:
    """The target is not there when its video begins: no tracker can be given its first box."""
    located = next(record for record in read_truth(at.truth) if record.task == "stvg")
    assert 0 not in (located.boxes or {})
    truth = at.file("vot/truth.jsonl", "")
    write_truth(truth, [replace(located, id="first", task="vot", window=None)])
    words = ["--task", "vot", "--out", at.folder / "tracks.jsonl", "--submission", at.folder / "tracks"]
    return ["predict", "--data", truth.parent, "--benchmark", "got10k", "--method", "whole-clip", *words]


REFUSALS: dict[str, tuple[Callable[[Place], Words], str]] = {
    "ground": (ground, "tube.json"),
    "batch": (batch, "truth.jsonl"),
    "serve": (lambda at: ["serve", "--folder", at.folder / "served", "--label-studio", "nowhere"], "nowhere"),
    "demo": (demo, "tokens"),
    "calibrate": (
        lambda at: ["calibrate", "--data", at.shapes, "--checkpoint", at.folder / "none"],
        "none",
    ),
    "calibrate (--data)": (lambda at: ["calibrate", "--data", at.truth], "give the folder with truth.jsonl"),
    "calibrate (no truth)": (lambda at: ["calibrate", "--data", at.full], "no truth.jsonl"),
    "train": (train_elsewhere, "stvg"),
    "train (--set)": (
        lambda at: ["train", "tune", "--set", "model.eta_mod=none"],
        "'model.eta_mod' (did you mean model.eta_mode?)",
    ),
    "train (series)": (series, "series"),
    "ablate": (ablate, "'optim.speed'"),
    "ablate (--base)": (ablate_base, "bert"),
    "ablate (--from)": (ablate_from, "config.json"),
    "merge": (lambda at: ["merge", at.shapes, "--out", at.folder / "merged"], "LoRA"),
    "export": (lambda at: ["export", at.file("tube.json", "[]"), "--format", "mot"], "tube.json"),
    "predict": (predict, "predictions.jsonl"),
    "predict (submission)": (predict_submission, "'first'"),
    "score": (lambda at: ["score", "--truth", at.truth, "--predictions", at.empty, "--out", at.full], "full"),
    "compare": (lambda at: ["compare", at.empty, at.empty], "empty.jsonl"),
    "report": (
        lambda at: ["report", "--truth", at.truth, "--out", at.folder / "page", f"a={at.folder}/none"],
        "none",
    ),
    "cost": (lambda at: ["cost", "--clips", 0], "--clips"),
    "doctor": (lambda at: ["doctor", "--nothing"], "--nothing"),
    "data shapes": (lambda at: ["data", "shapes", "--out", at.full, "--videos", 1], "full"),
    "data build": (lambda at: ["data", "build", "clevrer", "--root", at.shapes, "--out", at.full], "full"),
    "data doctor": (lambda at: ["data", "doctor", at.folder / "none"], "none"),
    "data extract-frames": (
        lambda at: ["data", "extract-frames", at.shapes, "--out", at.full, "--workers", 1],
        "full",
    ),
    "data export": (
        lambda at: ["data", "export", at.shapes, "--format", "mot", "--out", at.full],
        "full",
    ),
    "data synthesize": (synthesize, "full"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_one_line_and_nothing_on_stdout(
    name: str, shapes_data: Path, clip: Path, tmp_path: Path
) -> None:
    words, part = REFUSALS[name]
    with ExitStack() as held:
        given = words(Place(shapes_data, clip, tmp_path, held))
        refused(run(*given), part)


def test_every_command_is_in_the_table() -> None:
    of_data = {f"data {command.name or command.callback.__name__}" for command in data.app.registered_commands}
    assert {name.partition(" (")[0] for name in REFUSALS} == (main.COMMANDS.keys() - {"data"}) | of_data
