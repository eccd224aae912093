"""The ablation tables of the documents follow from the scores of the runs that lie beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge_stg.ablations.jobs import AblationPlan, jobs_for
from bridge_stg.ablations.pages import as_markdown
from bridge_stg.ablations.tables import TABLES
from bridge_stg.ablations.verdicts import collect, judge

DOCS = Path(__file__).parents[2] / "docs"
TABLES_OF_ALL = list(TABLES.values())
PLAN = AblationPlan(DOCS / "ablations", seeds=2, steps=150)


@pytest.fixture(scope="module")
def entries() -> list[dict[str, object]]:
    return [asdict(entry) for entry in collect(TABLES_OF_ALL, PLAN)]


def test_the_file_has_what_the_scores_say(entries: list[dict[str, object]]) -> None:
    content = json.loads((DOCS / "ablations.json").read_text(encoding="utf-8"))
    assert content == json.loads(json.dumps(entries))


def test_every_row_was_run_with_both_seeds(entries: list[dict[str, object]]) -> None:
    found = {(entry["table"], entry["row"], entry["seed"]) for entry in entries}
    assert found == {(t.key, row.name, seed) for t in TABLES_OF_ALL for row in t.rows for seed in (0, 1)}


def test_the_page_shows_these_tables_and_verdicts() -> None:
    markdown = as_markdown(TABLES_OF_ALL, collect(TABLES_OF_ALL, PLAN), judge(TABLES_OF_ALL, PLAN), PLAN)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    page = (DOCS / "ablations.md").read_text(encoding="utf-8").splitlines()
    # The tables of the page end it, after what they mean in words.
    assert [line for line in page if line.startswith("|")][-len(rows) :] == rows


def test_every_run_has_its_settings_beside_it() -> None:
    """The configuration is the row's own, so that no score stands under another row's name."""
    runs = {job.folder.name: job for job in jobs_for(TABLES_OF_ALL, PLAN) if job.folder.parent.name == "runs"}
    assert sorted(runs) == sorted(folder.name for folder in (DOCS / "ablations" / "runs").iterdir())

    for name, job in runs.items():
        content = json.loads((DOCS / "ablations" / "runs" / name / "config.json").read_text(encoding="utf-8"))
        ((_, settings),) = job.trainings
        # A later setting of the same key is the one that counts.
        wanted = dict(setting.split("=", 1) for setting in settings)
        for key, value in wanted.items():
            if key not in ("base", "name"):
                assert _value(content, key) == yaml.safe_load(value), (name, key)


def _value(content: dict[str, Any], key: str) -> Any:
    return reduce(getitem, key.split("."), content)
