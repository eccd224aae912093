"""``bridge-stg compare``: two ``scores.json`` in, which differences are real out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge_stg.evaluation.compare import Comparison


def compare(
    a: Annotated[Path, typer.Argument(help="scores.json of one run, written by score --out.")],
    b: Annotated[Path, typer.Argument(help="scores.json of another run over the same truth.")],
    out: Annotated[Path | None, typer.Option(help="Write the comparison here as JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON and nothing else.")] = False,
) -> None:
    """Compare two runs query by query: paired bootstrap over videos, 95% interval of each difference B - A."""
    from bridge_stg.evaluation.compare import compare_files, write_comparison
    from bridge_stg.files.output_files import check_output

    if out is not None:
        check_output(out, [a, b])
    comparison = compare_files(a, b)
    if out is not None:
        write_comparison(out, comparison)
    if as_json:
        print(json.dumps(comparison.to_json(), indent=2))
    else:
        _print_table(comparison)


def _print_table(comparison: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    a, b = comparison.a, comparison.b
    print(f"task {a.task}, protocol {a.protocol} (operator {a.operator}); percent")
    table = Table()
    table.add_column("metric")
    for name in ("A", "B", "B - A", "95% interval"):
        table.add_column(name, justify="right")
    table.add_column("real?")
    for name, one in comparison.metrics.items():
        low, high = one.ci95
        verdict = "no" if not one.real else "yes: B is better" if one.difference > 0 else "yes: A is better"
        table.add_row(
            name,
            f"{one.a:.1f}",
            f"{one.b:.1f}",
            f"{one.difference:+.1f}",
            f"{low:+.1f} to {high:+.1f}",
            verdict,
        )
    # A pipe has no width of its own, and the default of 80 columns would fold the numbers.
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    print(f"{a.n} queries about {comparison.videos} videos, paired; real: the interval excludes 0")
    for name, run in (("A", a), ("B", b)):
        print(f"{name}: {run.path} ({run.missing} missing, {run.failed} failed, both score 0)")
    if comparison.videos == 1:
        print("one video has no spread between videos, so no difference can be called real")
