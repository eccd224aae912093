"""Tables of the paper as data: numbers as reported there, none of them measured by this package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from bridge_stg.errors import InputError

LABEL = "as reported"


@dataclass(frozen=True)
class ReportedRow:
    """One model on one benchmark (and one split of it) in one table of the paper.

    ``metrics`` are percent, named as ``score`` names them; a value that the table leaves out is not there.
    ``group`` is the heading the table puts over the model.
    """

    table: int
    benchmark: str
    split: str
    model: str
    group: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class ReportedAnalysis:
    """One of Tables 9 and 14 to 16, which look at Bridge-STG more closely; None is a dash in the paper."""

    table: int
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]


def reported_analysis(number: int) -> ReportedAnalysis:
    """Table 9, 14, 15 or 16.

    Raises:
        InputError: it is another one.
    """
    for table in _content()["analyses"]:
        if table["number"] == number:
            rows = tuple((one["name"], tuple(one["values"])) for one in table["rows"])
            return ReportedAnalysis(number, table["caption"], tuple(table["columns"]), rows)
    raise InputError(f"Table {number} is not among the reported analyses; there are: 9, 14, 15, 16")


@cache
def _content() -> dict[str, Any]:
    text = (resources.files("bridge_stg") / "evaluation" / "reported.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


@cache
def all_reported() -> tuple[ReportedRow, ...]:
    """Every row of Tables 2 to 7, in the order of the paper, split by split within a table."""
    return tuple(row for table in _content()["tables"] for row in _rows(table))


def _rows(table: dict[str, Any]) -> list[ReportedRow]:
    """One row per model and column block; null is a dash in the paper."""
    found = []
    for column in table["columns"]:
        for model in table["models"]:
            values = model["values"][column["from"] : column["from"] + len(column["metrics"])]
            metrics = {
                name: float(value)
                for name, value in zip(column["metrics"], values, strict=True)
                if value is not None
            }
            if metrics:
                found.append(
                    ReportedRow(
                        table["number"],
                        column["benchmark"],
                        column["split"],
                        model["model"],
                        model["group"],
                        metrics,
                    )
                )
    return found


def reported_rows(benchmark: str) -> tuple[ReportedRow, ...]:
    """The rows about one benchmark; none where the paper reports nothing."""
    return tuple(row for row in all_reported() if row.benchmark == benchmark)
