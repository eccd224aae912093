"""``bridge-stg train``: what it lists and prints, one's own records, baselines through the other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from support.small_runs import TINY
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.cli.runs import RECIPES, SERIES, read_configuration, recipe
from bridge_stg.training.settings import override


def run(*words: object) -> str:
    done = CliRunner().invoke(main.app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*words: object) -> str:
    done = CliRunner().invoke(main.app, [str(word) for word in words])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    return done.stderr


def test_recipes_are_listed_with_a_line_each() -> None:
    lines = run("train", "--list").splitlines()
    assert [line.split()[0] for line in lines] == [*RECIPES, *SERIES]
    assert all(len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_what_is_printed_can_be_given_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        run(
            "train",
            name,
            "--print",
            "--set",
            "optim.lr=3e-5",
            "--set",
            "model.topk=7" if name in ("shapes", "tune") else "optim.steps=9",
        )
    )
    found = read_configuration(path)
    more = "model.topk=7" if name in ("shapes", "tune") else "optim.steps=9"
    assert found == override(recipe(name), ["optim.lr=3e-5", more])
    assert type(found) is type(recipe(name))
    assert yaml.safe_load(path.read_text())["optim"]["lr"] == 3e-5


def test_near_names_of_recipes_and_commands() -> None:
    assert " shapes-detector?" in refused("train", "shapes-detecter")
    assert " shapes-quick?" in refused("train", "shapes-quik")
    said = refused("train", "tnue")
    assert " tune?" in said
    assert all(name in said for name in (*RECIPES, *SERIES))
    assert "train --list" in refused("train")
    done = CliRunner().invoke(main.app, ["ablat"])
    assert done.exit_code == 2
    assert "ablate" in done.stderr


@pytest.mark.learning
def test_ones_own_records_are_tuned_on(small_checkpoint: Path, shapes_data: Path, tmp_path: Path) -> None:
    settings = ["optim.steps=1", "optim.accumulate=1", "data.records.clips_per_step=1", "data.workers=0"]
    settings += [f"base={small_checkpoint}", "precision=no", "data.num_positive=1", "data.num_negative=1"]
    words = [word for setting in settings for word in ("--set", setting)]
    run("train", "tune", "--data", shapes_data, "--out", tmp_path / "run", *words)
    assert (tmp_path / "run" / "checkpoint" / "adapter.json").is_file()
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    # What generated clips are made of is no setting of such a run.
    assert set(kept["data"]) == {"seed", "records", "num_positive", "num_negative", "workers"}
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert not [name for name in line if "colour" in name]


def test_a_recipe_without_a_base_says_what_to_give(shapes_data: Path, tmp_path: Path) -> None:
    said = refused("train", "tune", "--data", shapes_data, "--out", tmp_path / "run", "--set", "precision=no")
    assert "no base to start from" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.learning
@pytest.mark.parametrize("objective", ["entangled", "parallel"])
def test_a_baseline_goes_through_every_command(objective: str, shapes_data: Path, tmp_path: Path) -> None:
    """From a model that can end its answers, tuned for one step as a baseline."""
    settings = [*TINY, "base=shapes", "spatial=null", "max_tokens_per_frame=null", "optim.steps=1"]
    settings += [
        f"objective={objective}",
        "optim.lr=1e-9",
        "data.image_share=0",
        "validation.every_minutes=null",
    ]
    words = [word for setting in settings for word in ("--set", setting)]
    run("train", "shapes", "--out", tmp_path / "run", *words)

    answers, scores, truth = tmp_path / "a.jsonl", tmp_path / "scores.json", shapes_data / "truth.jsonl"
    asked = ("--data", shapes_data, "--task", "stvg", "--checkpoint", tmp_path / "run" / "checkpoint")
    run("predict", *asked, "--out", answers, "--limit", 1)
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    assert all(line["boxes"] for line in lines if line["status"] == "ok")
    assert "ok" in {line["status"] for line in lines}

    # The columns of Table 9: tokens, frames, milliseconds by stage, memory.
    cost = json.loads(Path(f"{answers}.cost.json").read_text())
    assert cost["mean_per_query"]["answer_tokens"] > 10
    assert cost["mean_per_clip"]["frames"] > 0
    assert {"decode", "vision", "prefill", "answer", "bridge"} <= set(cost["mean_per_clip"]["ms"])
    assert cost["peak_memory_mib"] > 0

    run("score", "--truth", truth, "--predictions", answers, "--task", "stvg", "--out", scores)
    assert json.loads(scores.read_text())["n"] > 0
    page = ("--truth", truth, "--out", tmp_path / "report", "--worst", 1, "--best", 1)
    run("report", f"{objective}={answers}", *page)
    assert objective in (tmp_path / "report" / "report.md").read_text()
