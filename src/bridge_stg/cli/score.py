"""``bridge-stg score``: two files in, a table and ``scores.json`` out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge_stg.evaluation.score import ScoreReport, Scores


def score(
    truth: Annotated[Path, typer.Option(help="truth.jsonl: one true answer per line.")],
    predictions: Annotated[Path, typer.Option(help="predictions.jsonl: one answer per line.")],
    protocol: Annotated[
        str, typer.Option(help="stcat (vIoU > R, the literature) or paper (vIoU >= R).")
    ] = "stcat",
    out: Annotated[Path | None, typer.Option(help="Write scores.json here.")] = None,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Another predictions.jsonl to print beside it; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print scores.json and nothing else.")] = False,
) -> None:
    """Score predictions against the truth: m_tIoU, m_vIoU, vIoU@0.3, vIoU@0.5, gt_vIoU."""
    from bridge_stg.errors import InputError
    from bridge_stg.evaluation.score import score_files, write_scores
    from bridge_stg.metrics.stvg import parse_protocol

    chosen = parse_protocol(protocol)
    others = {path.stem: path for path in beside or []}
    if len(others) < len(beside or []):
        raise InputError("--beside: two files have the same name; rename one, the name is its row in the table")
    report = score_files(truth, predictions, chosen, others)
    if out is not None:
        write_scores(out, report)
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        _print_table(report)


def _print_table(report: ScoreReport) -> None:
    from rich.console import Console
    from rich.table import Table

    from bridge_stg.metrics.stvg import METRICS

    scores = report.scores
    title = f"protocol {scores.protocol}: vIoU@R counts vIoU {scores.operator} R; percent"
    table = Table(title=title, title_justify="left")
    table.add_column("set")
    table.add_column("n", justify="right")
    for metric in METRICS:
        table.add_column(metric, justify="right")

    table.add_row("all", str(scores.n), *(f"{scores.metrics[metric]:.1f}" for metric in METRICS))
    intervals = (scores.ci95[metric] for metric in METRICS)
    table.add_row("95% interval", "", *(f"{low:.1f}-{high:.1f}" for low, high in intervals), end_section=True)
    for kind, part in scores.by_qtype.items():
        table.add_row(kind, str(part.n), *(f"{part.metrics[metric]:.1f}" for metric in METRICS))
    table.add_section()
    for name, other in report.beside.items():
        table.add_row(name, str(other.n), *(f"{other.metrics[metric]:.1f}" for metric in METRICS))

    # A pipe has no width of its own, and the default of 80 columns would fold the numbers.
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print(_counts(scores))


def _counts(scores: Scores) -> str:
    """What was scored zero or left aside: never silent."""
    text = f"{scores.n} queries, {scores.missing} missing, {scores.failed} failed (both score 0)"
    for task, count in scores.not_scored.items():
        text += f"; {count} {task} records not scored"
    return text
