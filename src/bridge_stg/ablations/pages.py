"""``ablations.md`` and its page: the paper's rows beside ours, intervals and verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bridge_stg.ablations.jobs import COMMON, AblationPlan
from bridge_stg.ablations.tables import AblationRow, AblationTable
from bridge_stg.ablations.verdicts import Claim, Entry
from bridge_stg.metrics.stvg import METRICS

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #ccc;padding:.3rem .7rem}"
    "td{text-align:right}td:first-child,th:first-child{text-align:left}"
)


def as_markdown(
    tables: Sequence[AblationTable], entries: Sequence[Entry], claims: Sequence[Claim], plan: AblationPlan
) -> str:
    """The whole result as Markdown."""
    lines = [
        "# Ablations",
        "",
        f"Tuning of {plan.steps} steps per row and up to {plan.seeds} seeds at laptop scale, on the same "
        f"held-out videos; all rows with `{' '.join(COMMON)}`. Scores in percent; what answers took in frames, "
        "tokens, milliseconds a question and MiB. The mean over seeds, in brackets the paper's number on "
        "VidSTG (declarative), which is another world: what compares are differences.",
        "",
    ]
    for table in tables:
        lines += _table(table, entries)
    lines += [
        "## Verdicts",
        "",
        "A claim is that the default is better by a metric. The interval is of a paired bootstrap over videos; "
        "seeds are averaged per question. A verdict needs the interval and every seed on one side of zero.",
        "",
        "| table | row | metric | paper | here | 95% interval | seeds | verdict |",
        "|---" * 8 + "|",
    ]

    for claim in claims:
        paper = "-" if claim.paper is None else f"{claim.paper:+.1f}"
        low, high = claim.ci95
        cells = (claim.table, claim.row, claim.metric, paper, f"{claim.difference:+.1f}")
        lines.append(f"| {' | '.join(cells)} | {low:+.1f} to {high:+.1f} | {claim.seeds} | {claim.verdict} |")

    return "\n".join(lines) + "\n"


def as_page(markdown: str) -> str:
    """The Markdown above as a page that needs nothing else."""
    from html import escape

    body: list[str] = []
    in_table = False
    for line in markdown.splitlines():
        cells = [escape(cell.strip()) for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells and not in_table:
            body.append("<table><tr>" + "".join(f"<th>{cell}</th>" for cell in cells) + "</tr>")
        elif cells and set("".join(cells)) != {"-"}:
            body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")

        if in_table and not cells:
            body.append("</table>")
        in_table = bool(cells)

        if not cells and line:
            level = len(line) - len(line.lstrip("#"))
            text = escape(line.lstrip("# ")).replace("`", "")
            body.append(f"<h{level}>{text}</h{level}>" if level else f"<p>{text}</p>")

    if in_table:
        body.append("</table>")
    head = f'<meta charset="utf-8"><title>Ablations</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _table(table: AblationTable, entries: Sequence[Entry]) -> list[str]:
    mine = [entry for entry in entries if entry.table == table.key]
    columns = list(METRICS)
    for entry in mine:
        columns += [name for name in entry.metrics if name not in columns]
    lines = [
        f"## {table.title}",
        "",
        f"| row | {' | '.join(columns)} | seeds |",
        "|---" * (len(columns) + 2) + "|",
    ]

    for row in table.rows:
        runs = [entry for entry in mine if entry.row == row.name]
        cells = [_cell(row, runs, column) for column in columns]
        lines.append(f"| {row.name} | {' | '.join(cells)} | {len(runs)} |")

    notes = [f"{row.name}: {row.note}." for row in table.rows if row.note]
    return [*lines, "", *([" ".join(notes), ""] if notes else [])]


def _cell(row: AblationRow, runs: Sequence[Entry], column: str) -> str:
    """The mean over seeds, how far they are apart, and the paper's number."""
    values = [entry.metrics[column] for entry in runs if column in entry.metrics]
    paper = f" ({row.paper[column]:g})" if column in row.paper else ""
    if not values:
        return f"-{paper}"
    spread = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}{paper}"
