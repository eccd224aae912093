"""``bridge-stg score``: two files in, a table and ``scores.json`` out."""

from __future__ import annotations

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
        str | None,
        typer.Option(
            help="Of stvg: stcat (the default), tubedetr, hcstvg (each vIoU > R) or paper (vIoU >= R). "
            "Other tasks have one each.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="stvg, vtg, vot, rec or vqa; by default the one that is answered.", show_default=False
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write scores.json here.")] = None,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Another predictions.jsonl to print beside it; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print scores.json and nothing else.")] = False,
) -> None:
    """Score predictions against the truth, by the protocol of the task, with 95% intervals."""
    from bridge_stg.errors import InputError
    from bridge_stg.evaluation.score import score_files, write_scores
    from bridge_stg.files.output_files import check_output
    from bridge_stg.types import parse_task

    others = {path.stem: path for path in beside or []}
    if len(others) < len(beside or []):
        raise InputError("--beside: two files have the same name; rename one, the name is its row in the table")
    chosen = None if task is None else parse_task(task)
    if out is not None:
        check_output(out, [truth, predictions, *others.values()])
    report = score_files(truth, predictions, protocol, others, chosen)
    if out is not None:
        write_scores(out, report)
    if as_json:
        print(report.to_text(), end="")
    else:
        _print_table(report)


def _print_table(report: ScoreReport) -> None:
    from rich.console import Console
    from rich.table import Table

    scores = report.scores
    split = scores.split or "not named"
    # Not the title of the table: that would be folded to the width of a narrow one.
    print(f"task {scores.task}, protocol {scores.protocol}: {scores.words}; split {split}; percent")
    table = Table()
    table.add_column("set")
    table.add_column("n", justify="right")
    for metric in scores.metrics:
        table.add_column(metric, justify="right")

    def row(name: str, n: int, metrics: dict[str, float]) -> None:
        table.add_row(name, str(n), *(f"{metrics[metric]:.1f}" for metric in scores.metrics))

    row("all", scores.n, scores.metrics)
    intervals = (scores.ci95[metric] for metric in scores.metrics)
    table.add_row("95% interval", "", *(f"{low:.1f}-{high:.1f}" for low, high in intervals), end_section=True)
    for kind, part in scores.by_qtype.items():
        row(kind, part.n, part.metrics)
    table.add_section()
    for kind, part in scores.by_category.items():
        row(kind, part.n, part.metrics)
    table.add_section()
    for kind, part in scores.by_subtitles.items():
        row(f"{kind} subtitles", part.n, part.metrics)
    table.add_section()
    for name, other in report.beside.items():
        row(name, other.n, other.metrics)

    # A pipe has no width of its own, and the default of 80 columns would fold the numbers.
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print(_counts(scores))


def _counts(scores: Scores) -> str:
    """What was scored zero or left aside: never silent."""
    text = f"{scores.n} queries, {scores.missing} missing, {scores.failed} failed (both score 0)"
    text += f"; operator {scores.operator}; 95% interval by drawing {len(set(scores.queries.videos))} videos"
    if scores.task == "vot":
        text += f"; {scores.queries.weights.sum():.0f} frames"
    for task, count in scores.not_scored.items():
        text += f"; {count} {task} records not scored"
    return text
