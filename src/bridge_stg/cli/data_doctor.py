"""``bridge-stg data doctor``: is this data set whole, and is it read right?"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge_stg.curation.doctor.examine import Diagnosis
    from bridge_stg.curation.doctor.findings import Severity

STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": ""}


def doctor(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What data build wrote, or a folder with truth.jsonl.")
    ],
    videos: Annotated[
        Path | None, typer.Option(help="What the paths of videos are relative to, if not as the folder says.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of another split: its videos in DIR are leaks. May be given several times."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for doctor.html and doctor.json; DIR/doctor by default.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that open videos; one per core by default.")
    ] = None,
    samples: Annotated[int, typer.Option(min=0, help="Records to show with frames and boxes.")] = 24,
) -> None:
    """Open every video, check every record; exit code 1 when records are unusable or scores would be false."""
    from bridge_stg.cli.prepare import check_writable, progress_bar
    from bridge_stg.curation.doctor.examine import examine
    from bridge_stg.curation.doctor.page import doctor_page
    from bridge_stg.errors import InputError
    from bridge_stg.evaluation.report.render import to_html
    from bridge_stg.files.output_files import write_whole

    if not folder.exists():
        raise InputError(f"{folder}: no such folder; give one made by bridge-stg data build")
    out = out if out is not None else (folder if folder.is_dir() else folder.parent) / "doctor"
    if out.is_file():
        raise InputError(f"{out}: is a file; give --out the name of a folder")
    check_writable(out)

    with progress_bar() as bar:
        opening = bar.add_task("opening videos", total=None)
        diagnosis = examine(
            folder,
            out,
            videos,
            workers or os.cpu_count() or 1,
            samples,
            tuple(against or ()),
            lambda done, total: bar.update(opening, completed=done, total=total),
        )
        drawing = bar.add_task("drawing samples", total=len(diagnosis.samples))
        page = to_html(doctor_page(diagnosis, lambda done, _: bar.update(drawing, completed=done)))

    write_whole(out / "doctor.json", json.dumps(diagnosis.to_json(), indent=1) + "\n")
    write_whole(out / "doctor.html", page)
    _print(diagnosis, out)
    if not diagnosis.healthy:
        raise typer.Exit(1)


def _print(diagnosis: Diagnosis, out: Path) -> None:
    """The table of kinds with the first case of each, then the counts."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from bridge_stg.curation.doctor.findings import KINDS

    console = Console()
    if diagnosis.findings:
        table = Table("severity", "kind", "count", "first")
        first = {finding.kind: finding for finding in reversed(diagnosis.findings)}
        for kind, count in diagnosis.kinds.items():
            severity, one = KINDS[kind].severity, first[kind]
            subject = f"{one.record or one.video}: " if one.record or one.video else ""
            # Text, not str: brackets in what users wrote would be read as markup.
            cells = (severity, kind, f"{count:,}", subject + one.detail)
            table.add_row(*(Text(" ".join(cell.split())) for cell in cells), style=STYLES[severity])
        console.print(table)

    notes, files = diagnosis.annotations, diagnosis.files
    kept = f" ({files.kept:,} of them before)" if files.kept else ""
    for other in diagnosis.against:
        gone = f", {other.missing:,} of them missing" if other.missing else ""
        bad = f", {other.unusable:,} lines that are no records" if other.unusable else ""
        said = f"{other.folder}: {other.videos:,} videos{gone}{bad}; {other.shared:,} are here too"
        console.print(said, highlight=False, soft_wrap=True, markup=False)

    for line in (
        f"{notes.records:,} records, {notes.unusable:,} lines that are none",
        f"{len(notes.videos):,} videos: {len(files.by_path):,} opened{kept}, {len(files.missing):,} missing",
        ", ".join(f"{diagnosis.count(severity):,} {severity}s" for severity in STYLES),
        f"wrote {out / 'doctor.html'} and {out / 'doctor.json'}",
    ):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
