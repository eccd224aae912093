"""``bridge-stg data export``: stored records as files for an annotation tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from bridge_stg.curation.export import ExportReport


def export(
    records: Annotated[
        Path, typer.Argument(help="A folder that data build wrote, or a truth.jsonl.", metavar="DIR")
    ],
    format_: Annotated[
        Literal["cvat", "labelstudio", "mot", "coco-vid"],
        typer.Option("--format", help="The tool or format to write for."),
    ],
    out: Annotated[Path, typer.Option(help="New .json file (labelstudio, coco-vid) or folder (cvat, mot).")],
) -> None:
    """Write the boxes of stored records for an annotation tool, and say what has none."""
    from bridge_stg.curation.export import export_records

    show(export_records(records, format_, out))


def show(report: ExportReport) -> None:
    """What was written, what was not, and what changed on the way."""
    for reason, count in report.left_out.most_common():
        print(f"left out {count:,}: {reason}")
    for note, count in report.notes.most_common():
        print(f"note: {note}" + (f" ({count:,} times)" if count > 1 else ""))
    more = f" and {len(report.files) - 1:,} more" if len(report.files) > 1 else ""
    print(f"wrote {report.tubes:,} tube(s) of {report.videos:,} video(s): {report.files[0]}{more}")
