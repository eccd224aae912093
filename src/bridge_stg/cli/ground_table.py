"""What ``ground`` prints for people: a table, notes, and what was not found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge_stg.types import GroundingResult

# Letters of an answer without a window that are shown; all of it is in the JSON.
SHOWN = 120


def print_results(results: Sequence[GroundingResult], timing: bool) -> None:
    """On stdout; with ``timing`` the milliseconds of each stage too."""
    _print_table(results)
    _print_notes(results)

    # What was not found.
    for result in results:
        if result.status == "absent":
            print(f"absent: the model says that this does not happen: {result.query!r}")
        elif result.status != "ok":
            said = result.answer if len(result.answer) <= SHOWN else result.answer[:SHOWN] + "..."
            print(f"{result.status}: the model answered {said!r} to {result.query!r}")

    # One pass serves all sentences, so the stages are those of the whole call.
    if timing:
        stages = results[0].timing_ms
        print("  ".join(f"{name} {value:.0f} ms" for name, value in stages.items()))
        print(f"total {sum(stages.values()):.0f} ms for {len(results)} sentence(s)")


def _print_table(results: Sequence[GroundingResult]) -> None:
    """A row per window, the best one first; one row where there is none."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("query", overflow="fold")
    # Only the sentence is folded on a narrow terminal.
    table.add_column("status", no_wrap=True)
    for column in ("start (s)", "end (s)", "sure", "boxes", "score"):
        table.add_column(column, justify="right", no_wrap=True)
    for result in results:
        best, score = result.window, result.mean_score
        table.add_row(
            result.query,
            result.status,
            "-" if best is None else f"{best.start:.1f}",
            "-" if best is None else f"{best.end:.1f}",
            "-" if result.confidence is None else f"{result.confidence:.2f}",
            str(len(result.tube)) if result.tube is not None else "-",
            "-" if score is None else f"{score:.2f}",
        )
        for one in result.windows[1:]:
            sure = "-" if one.score is None else f"{one.score:.2f}"
            table.add_row("", "", f"{one.span.start:.1f}", f"{one.span.end:.1f}", sure, "", "")
    # A sentence is shown as it was given: its brackets and colons are no markup.
    Console(markup=False, emoji=False, highlight=False).print(table)


def _print_notes(results: Sequence[GroundingResult]) -> None:
    """What is said of the video is said once, what is said of an answer with its sentence."""
    shared = [note for note in results[0].notes if all(note in result.notes for result in results)]
    for note in shared:
        print(f"note: {note}")
    for result in results:
        for note in result.notes:
            if note not in shared:
                print(f"note: {result.query!r}: {note}")
