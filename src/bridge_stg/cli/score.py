"""``bridge-stg score``: two files in, a table and ``scores.json`` out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge_stg.evaluation.scores import ScoreReport, Scores


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
    from bridge_stg.evaluation.score import score_files
    from bridge_stg.evaluation.scores import write_scores
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
    for parts in (scores.by_category, scores.by_kind):
        for kind, part in parts.items():
            row(kind, part.n, part.metrics)
        table.add_section()
    for kind, part in scores.by_subtitles.items():
        row(f"{kind} subtitles", part.n, part.metrics)
    table.add_section()
    for name, other in report.beside.items():
        row(f"{name} (no skill)" if name == report.no_skill else name, other.n, other.metrics)

    # A pipe has no width of its own, and the default of 80 columns would fold the numbers.
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print(_counts(scores))
    for line in _more(report):
        print(line)


def _counts(scores: Scores) -> str:
    """What was scored zero or left aside: never silent."""
    text = f"{scores.n} queries, {scores.missing} missing, {scores.failures.words} (both score 0)"
    text += f"; operator {scores.operator}; 95% interval by drawing {len(set(scores.queries.videos))} videos"
    if scores.task == "vot":
        text += f"; {scores.queries.weights.sum():.0f} frames"
    for task, count in scores.not_scored.items():
        text += f"; {count} {task} records not scored"
    return text


def _more(report: ScoreReport) -> list[str]:
    """What does not fit the table: scored windows, refusals, confidence, length of an answer."""
    scores = report.scores
    lines = []
    if scores.moments is not None:
        found = ", ".join(
            f"{name} {value:.1f} ({low:.1f}-{high:.1f})"
            for (name, value), (low, high) in zip(
                scores.moments.metrics.items(), scores.moments.ci95.values(), strict=True
            )
        )
        lines.append(f"moment retrieval: {found}")

    if (refusals := scores.refusals) is not None:
        low, high = refusals.refused_ci95
        below, above = refusals.present_refused_ci95
        lines.append(
            f"absent: {refusals.refused:.1f}% ({low:.1f}-{high:.1f}) of {refusals.n} absent queries refused, "
            f"{refusals.present_refused:.1f}% ({below:.1f}-{above:.1f}) of the {scores.n} others"
        )

    if (calibration := scores.calibration) is not None:
        lines.append(
            f"confidence: expected calibration error {calibration.expected_error:.3f} in "
            f"{len(calibration.bins)} bins, over {calibration.n} answers"
        )
    if report.answer_tokens is not None:
        lines.append(f"answers: {report.answer_tokens:.1f} tokens on average")
    return lines
