"""``bridge-stg report``: prediction files in, one page for a person out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="predictions.jsonl, or NAME=predictions.jsonl; the first leads."),
    ],
    truth: Annotated[Path, typer.Option(help="truth.jsonl: one true answer per line.")],
    out: Annotated[Path, typer.Option(help="Folder for report.html, report.md and images/.")],
    videos: Annotated[
        Path | None,
        typer.Option(
            help="The folder that videos are relative to; that of the truth by default.", show_default=False
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="As in score: stcat (the default), tubedetr, hcstvg or paper.", show_default=False),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="stvg, vtg, vot, rec or vqa; by default the one that is answered.", show_default=False
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(help="Put the paper's rows about it beside, such as vidstg.", show_default=False),
    ] = None,
    oracle: Annotated[
        list[str] | None,
        typer.Option(help="NAME=predictions made with predict --oracle-window, for the run NAME."),
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst cases get a film strip.")] = 8,
    best: Annotated[int, typer.Option(min=0, help="How many of the best cases get a film strip.")] = 4,
) -> None:
    """Show what a run gets right and wrong: scores, slices, kinds of error, and film strips, on one page."""
    from bridge_stg.cli.prepare import check_writable, progress_bar
    from bridge_stg.errors import InputError
    from bridge_stg.evaluation.report.build import ReportPlan, make_report, write_report
    from bridge_stg.evaluation.report.runs import parse_runs
    from bridge_stg.files.output_files import check_output
    from bridge_stg.types import parse_task

    if out.is_file():
        raise InputError(f"{out}: is a file; give --out the name of a folder")
    check_writable(out)
    plan = ReportPlan(
        truth,
        tuple(parse_runs(runs, oracle or [])),
        truth.parent if videos is None else videos,
        protocol,
        None if task is None else parse_task(task),
        benchmark,
        worst,
        best,
    )
    read = [truth, *(path for run in plan.runs for path in (run.predictions, run.oracle))]
    for page in ("report.html", "report.md"):
        check_output(out / page, read)
    with progress_bar() as progress:
        strips = progress.add_task("film strips", total=None)
        made = make_report(plan, lambda done, total: progress.update(strips, completed=done, total=total))
    pages = write_report(out, made.document)
    for name, scores in made.scores.items():
        print(f"{name}: {scores.n} queries, {scores.missing} missing, {scores.failed} failed")
    if made.pictures_missing:
        print(f"{made.pictures_missing} case(s) have no picture; the page says why")
    print(f"wrote {' and '.join(map(str, pages))}, pictures in {out / 'images'}")
