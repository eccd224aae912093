"""``bridge-stg merge``: what LoRA tuning learned and its base as one folder to deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    run: Annotated[
        Path, typer.Argument(help="A run's folder (its finished checkpoint), or its best or checkpoint folder.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; it must be new or empty.")],
    base: Annotated[
        str | None, typer.Option(help="Where the base is, if it is not where it was in training.")
    ] = None,
) -> None:
    """Write one folder that ground, predict and from_pretrained load, with adapters merged."""
    from bridge_stg.cli.prepare import check_writable, quiet_libraries
    from bridge_stg.files.output_files import new_folder
    from bridge_stg.weights.adapter_files import merge_folder
    from bridge_stg.weights.locate import adapters_to_merge

    folder = adapters_to_merge(run)
    check_writable(out.parent)
    with new_folder(out) as unfinished:
        quiet_libraries()
        merge_folder(folder, unfinished, base)
    print(f"wrote {out}")
