"""Which known name an unknown one is taken for, and that far ones are taken for none."""

from __future__ import annotations

import pytest

from bridge_stg.cli.main import COMMANDS
from bridge_stg.cli.runs import describe_recipes
from bridge_stg.errors import did_you_mean
from bridge_stg.evaluation.benchmarks import BENCHMARKS
from bridge_stg.files.shipped import SHIPPED

KNOWN = {
    "command": list(COMMANDS),
    "recipe": [name for name, _ in describe_recipes()],
    "benchmark": [benchmark.name for benchmark in BENCHMARKS],
    "checkpoint": list(SHIPPED),
}


@pytest.mark.parametrize(
    ("kind", "given", "meant"),
    [
        ("command", "gruond", "ground"),
        ("command", "reports", "report"),
        ("recipe", "tnue", "tune"),
        ("recipe", "shapes_vision", "shapes-vision"),
        ("benchmark", "vidstg2", "vidstg"),
        ("benchmark", "RefCOCO", "refcoco"),
        ("checkpoint", "shaps", "shapes"),
        ("benchmark", "foo", None),
        ("benchmark", "kinetics", None),
        ("command", "help", None),
        ("command", "cow", None),
        ("recipe", "model", None),
        ("checkpoint", "spam", None),
        ("checkpoint", "", None),
    ],
)
def test_only_truly_near_names_are_offered(kind: str, given: str, meant: str | None) -> None:
    said = did_you_mean(given, KNOWN[kind])
    assert said == ("" if meant is None else f" (did you mean {meant}?)")
