"""``bridge-stg cost``: what it prints, and bad values."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from bridge_stg.cli.main import app


def test_json_says_that_nothing_was_measured() -> None:
    words = ["cost", "--scale", "shapes", "--seconds", "10", "--sentences", "3", "--device", "cpu"]
    done = CliRunner().invoke(app, [*words, "--clips", "3600", "--json"])
    assert done.exit_code == 0
    value = json.loads(done.stdout)
    assert value["measured"] is False
    assert value["parameters"]["total"] == sum(value["parameters"].values()) - value["parameters"]["total"]
    assert [stage["name"] for stage in value["stages"]] == [
        "vision",
        "prefill",
        "answer",
        "answer, no drafts",
        "bridge",
        "spatial",
    ]
    # 3,600 clips of x ms are x / 1000 hours.
    assert value["device_hours"]["drafts"] == pytest.approx(value["total_ms"]["expected"] / 1000)


def test_the_page_says_it_first_and_last() -> None:
    done = CliRunner().invoke(app, ["cost", "--scale", "shapes", "--seconds", "2", "--sentences", "1"])
    assert done.exit_code == 0
    first, *_, last = done.stdout.strip().splitlines()
    assert "NOT MEASURED" in first
    assert "not measured" in last


@pytest.mark.parametrize(
    "words",
    [
        ["--scale", "7b"],
        ["--device", "tpu"],
        ["--seconds", "nan"],
        ["--seconds", "-1"],
        ["--seconds", "x"],
        ["--sentences", "0"],
        ["--clips", "0"],
    ],
)
def test_bad_values(words: list[str]) -> None:
    done = CliRunner().invoke(app, ["cost", *words])
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
