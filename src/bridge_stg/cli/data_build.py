"""``bridge-stg data build``: a downloaded data set as one typed table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge_stg.curation.build import BuildReport


def build(
    source: Annotated[
        str, typer.Argument(help="The data set; a name that does not exist lists those that do.")
    ],
    root: Annotated[Path, typer.Option(help="Folder of the download, unpacked; it is only read.")],
    out: Annotated[Path, typer.Option(help="New folder for the records and the lists of what was left out.")],
    split: Annotated[str | None, typer.Option(help="One split; default: all that have a public truth.")] = None,
    max_skipped: Annotated[
        float, typer.Option(help="Fail when a larger share of a split cannot be used.")
    ] = 0.05,
    annotations_only: Annotated[
        bool, typer.Option("--annotations-only", help="Do not look for videos and pictures.")
    ] = False,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames per second where no rate is known (revos: 2 if left out; custom)."),
    ] = None,
    one_based_boxes: Annotated[
        bool, typer.Option("--one-based-boxes", help="Subtract 1 from pixel coordinates (got10k, mot files).")
    ] = False,
    annotation_format: Annotated[
        str | None,
        typer.Option("--format", help="custom: jsonl, csv, cvat, mot or labelstudio; default: what is there."),
    ] = None,
    truth: Annotated[
        bool, typer.Option("--truth", help="Also write truth.jsonl, for predict and score.")
    ] = False,
) -> None:
    """Read a data set as it was downloaded; write its records, what was left out and why, and the counts."""
    from bridge_stg.cli.prepare import progress_bar
    from bridge_stg.curation.build import BuildOptions
    from bridge_stg.curation.build import build as run

    options = BuildOptions(
        split=split,
        max_skipped=max_skipped,
        annotations_only=annotations_only,
        frame_rate=fps,
        one_based_boxes=one_based_boxes,
        annotation_format=annotation_format,
        truth=truth,
    )
    with progress_bar() as bar:
        task = bar.add_task("reading", total=None)
        report = run(
            source,
            root,
            out,
            options,
            lambda text, done, total: bar.update(task, description=text, completed=done, total=total or None),
        )
    _print_counts(source, report)


def _print_counts(source: str, report: BuildReport) -> None:
    """What was read beside what is published, then the reasons of what is not there."""
    from rich.console import Console
    from rich.table import Table

    from bridge_stg.curation.published_counts import PUBLISHED

    console = Console()
    table = Table("split", "what", "published", "read", "kept", "explanation")
    for split, tally in report.splits.items():
        for line in tally.to_json(PUBLISHED.get((source, split), ()))["counts"]:
            published = "-" if line["published"] is None else f"{line['published']:,}"
            if line["certain"] is False:
                published = f"~{published}"
            table.add_row(
                split, line["what"], published, f"{line['read']:,}", f"{line['kept']:,}", line["explanation"]
            )
    console.print(table)

    for split, tally in report.splits.items():
        for name, reasons in (("skipped", tally.skipped), ("left out by design", tally.by_design)):
            for reason, count in reasons.most_common():
                console.print(f"{split}: {count:,} {name}: {reason}", highlight=False)
        if tally.noted:
            console.print(f"{split}: {tally.noted:,} kept with a note, see notes.jsonl", highlight=False)
    kept = sum(tally.kept for tally in report.splits.values())
    console.print(f"{kept:,} records in {report.out}", highlight=False, soft_wrap=True)
