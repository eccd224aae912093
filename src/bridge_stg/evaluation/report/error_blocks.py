"""Parts of a set and kinds of error as blocks: what a mean hides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.evaluation.report.document import (
    Block,
    Cell,
    Gallery,
    Heading,
    Paragraph,
    Picture,
    Row,
    Table,
    row,
)
from bridge_stg.evaluation.report.error_kinds import (
    BOX_KINDS,
    BOX_MEANING,
    WINDOW_KINDS,
    WINDOW_MEANING,
    BoxErrors,
    WindowErrors,
    box_errors,
    box_kinds,
    edge_errors,
    window_errors,
    window_kinds,
)
from bridge_stg.evaluation.report.examples import good_and_bad
from bridge_stg.evaluation.report.plots import (
    AMBER,
    BLUE,
    GOOD,
    GREY,
    RED,
    TRUTH,
    VIOLET,
    YELLOW,
    Series,
    histogram,
    seconds_edges,
    shares,
    unit_edges,
)
from bridge_stg.evaluation.report.scored_queries import ScoredQueries, true_window
from bridge_stg.evaluation.report.slices import Slice, event_slices, tiou_bins, video_slices

_WINDOW_COLORS: dict[str, str] = dict(
    zip(WINDOW_KINDS, (GOOD, YELLOW, AMBER, BLUE, VIOLET, RED, GREY), strict=True)
)
_BOX_COLORS: dict[str, str] = dict(zip(BOX_KINDS, (GOOD, YELLOW, RED, VIOLET, GREY), strict=True))


@dataclass(frozen=True)
class ScoredRun:
    """One run query by query; ``color`` is its own on every picture."""

    name: str
    color: str
    queries: ScoredQueries

    @property
    def n(self) -> int:
        return len(self.queries.records)


def overlap_bins(runs: Sequence[ScoredRun]) -> list[Block]:
    """The form of Table 15: how good boxes are where the window is bad, fair and good."""
    columns = [metric for metric in runs[0].queries.scores.names if metric not in ("m_tIoU", "mIoU")]
    bound = [] if runs[0].queries.viou is None else [Paragraph("vIoU can be no better than tIoU.", "note")]
    rows = _slice_rows(runs, tiou_bins, columns, lambda part: "-" if part.mean is None else f"{part.mean:.1f}")
    return [
        Heading(2, "By temporal overlap"),
        *bound,
        Table(("tIoU", "n", "mean tIoU", *columns), tuple(rows)),
        Paragraph("The form of Table 15. A query without a usable window has tIoU 0.", "note"),
    ]


def length_slices(runs: Sequence[ScoredRun]) -> list[Block]:
    """The form of Table 16: by length of the video and of the event."""
    columns = list(runs[0].queries.scores.names)
    blocks: list[Block] = [Heading(2, "By length")]
    for title, cut in (("video", video_slices), ("event", event_slices)):
        rows = _slice_rows(
            runs, cut, columns, lambda part: "-" if part.mean is None else f"{part.mean:.1f} s", skip_empty=True
        )
        blocks.append(Table((f"length of the {title}", "n", "mean", *columns), tuple(rows)))
    note = (
        "The form of Table 16. The video is the clip that the question is about, the event the true window; "
        "ranges hold their lower end, and ranges without queries are left out."
    )
    return [*blocks, Paragraph(note, "note")]


def _slice_rows(
    runs: Sequence[ScoredRun],
    cut: Callable[[ScoredQueries], list[Slice]],
    columns: Sequence[str],
    mean: Callable[[Slice], str],
    skip_empty: bool = False,
) -> list[Row]:
    rows: list[Row] = []
    for run in runs:
        rows.append(row(run.name, kind="group"))
        for part in cut(run.queries):
            if part.n or not skip_empty:
                values = (f"{part.metrics[name]:.1f}" if part.metrics else "-" for name in columns)
                rows.append(row(part.name, Cell(str(part.n), _share(part.n, run.n)), mean(part), *values))
        means = run.queries.means()
        values = (f"{means[name]:.1f}" for name in columns)
        rows.append(row("all", str(run.n), "", *values, kind="faint"))
    return rows


def histograms(runs: Sequence[ScoredRun]) -> list[Block]:
    """How overlaps, lengths and errors are spread; a mean hides two different models."""
    pictures = [_overlap_picture(runs, "tIoU")]
    if all(run.queries.viou is not None for run in runs):
        pictures.append(_overlap_picture(runs, "vIoU"))

    # Lengths of the windows, the truth among them.
    truth = np.array([true_window(record).length for record in runs[0].queries.records])
    predicted = [_lengths(run.queries) for run in runs]
    edges = seconds_edges(np.concatenate([truth, *predicted]), signed=False)
    series = [Series("truth", f"median {np.median(truth):.1f} s", truth, len(truth), TRUTH)]
    series += [_timed(run, values) for run, values in zip(runs, predicted, strict=True)]
    pictures.append(
        Picture(
            "plot-length.png",
            histogram(series, "length of the window, s", edges),
            "Histogram of window lengths in seconds: " + "; ".join(one.words for one in series),
        )
    )

    # How far off each end is.
    for side, title in enumerate(("start", "end")):
        errors = [edge_errors(run.queries)[:, side] for run in runs]
        edges = seconds_edges(np.concatenate(errors), signed=True)
        series = [_timed(run, values) for run, values in zip(runs, errors, strict=True)]
        pictures.append(
            Picture(
                f"plot-{title}.png",
                histogram(series, f"{title} error, s (left: too early)", edges),
                f"Histogram of the {title} error in seconds: " + "; ".join(one.words for one in series),
            )
        )

    note = (
        "Overlaps count every query, lengths and errors those with a predicted window. "
        "What lies outside of the bins is counted in the outermost."
    )
    return [Heading(2, "Spread"), Gallery(tuple(pictures)), Paragraph(note, "note")]


def _overlap_picture(runs: Sequence[ScoredRun], name: str) -> Picture:
    series = []
    for run in runs:
        values = run.queries.tiou if name == "tIoU" else run.queries.viou
        assert values is not None
        # A weak model is 0 on most queries: that one bar would flatten all others, so it is said in words.
        said = f"{_share(int((values == 0).sum()), run.n)} are 0"
        series.append(Series(run.name, said, values[values > 0], run.n, run.color))
    return Picture(
        f"plot-{name}-spread.png",
        histogram(series, f"{name} of a query, where it is not 0", unit_edges()),
        f"Histogram of {name} per query: " + "; ".join(one.words for one in series),
    )


def _lengths(queries: ScoredQueries) -> NDArray[np.float64]:
    return np.array([window.length for window in queries.predicted_windows() if window is not None])


def _timed(run: ScoredRun, values: NDArray[np.float64]) -> Series:
    said = f"median {np.median(values):.1f} s" if len(values) else "no windows"
    return Series(run.name, said, values, len(values), run.color)


def where_the_error_is(runs: Sequence[ScoredRun]) -> list[Block]:
    """What is wrong with windows and boxes: how many queries of each kind, per run."""
    windows = [window_errors(run.queries, window_kinds(run.queries)) for run in runs]
    rows = [
        row(Cell(kind, WINDOW_MEANING[kind]), *(_window_cell(parts[place]) for parts in windows))
        for place, kind in enumerate(WINDOW_KINDS)
    ]
    blocks: list[Block] = [
        Heading(2, "Where the error is"),
        Heading(3, "Windows"),
        _kinds_picture("windows", runs, _WINDOW_COLORS, [[part.n for part in parts] for parts in windows]),
        Table(("window", *(run.name for run in runs)), tuple(rows)),
        Paragraph(
            "Queries of each kind, and their mean error of start / end: predicted minus true, minus is early.",
            "note",
        ),
    ]
    if runs[0].queries.viou is not None:
        blocks += _box_blocks(runs)
    lines = []
    for run in runs:
        good, bad = good_and_bad(run.queries)
        lines.append(f"{run.name} {good} good ({_share(good, run.n)}), {bad} bad ({_share(bad, run.n)})")
    return [*blocks, Paragraph(f"Cases as Appendix F draws the line: {'; '.join(lines)}.", "note")]


def _box_blocks(runs: Sequence[ScoredRun]) -> list[Block]:
    boxes = [box_errors(box_kinds(run.queries)) for run in runs]
    rows = [
        row(Cell(kind, BOX_MEANING[kind]), *(_box_cell(parts[place]) for parts in boxes))
        for place, kind in enumerate(BOX_KINDS)
    ]
    return [
        Heading(3, "Boxes, on the frames that both windows share"),
        _kinds_picture("boxes", runs, _BOX_COLORS, [[part.n for part in parts] for parts in boxes]),
        Table(("boxes", *(run.name for run in runs)), tuple(rows)),
        Paragraph(
            "Queries of each kind, and the mean box IoU on their shared frames. Boxes of other objects are not "
            "in the truth: a box counts as on a wrong object when it hardly touches the true one.",
            "note",
        ),
    ]


def _kinds_picture(
    name: str, runs: Sequence[ScoredRun], kinds: Mapping[str, str], counts: Sequence[Sequence[int]]
) -> Picture:
    values = 100 * np.array(counts, dtype=np.float64) / np.array([[run.n] for run in runs])
    said = "; ".join(
        f"{run.name} " + ", ".join(f"{kind} {share:.0f}%" for kind, share in zip(kinds, line, strict=True))
        for run, line in zip(runs, values.tolist(), strict=True)
    )
    drawn = shares([run.name for run in runs], kinds, values)
    return Picture(f"plot-{name}.png", drawn, f"Kinds of {name}: {said}", wide=True)


def _window_cell(part: WindowErrors) -> Cell:
    if part.start_error is None or part.end_error is None:
        return Cell(str(part.n))
    return Cell(str(part.n), f"{_signed(part.start_error)} / {_signed(part.end_error)} s")


def _box_cell(part: BoxErrors) -> Cell:
    return Cell(str(part.n), "" if part.mean_iou is None else f"{part.mean_iou:.2f}")


def _signed(value: float) -> str:
    """One decimal with its sign; never a negative zero."""
    return f"{round(value, 1) + 0.0:+.1f}"


def _share(count: int, n: int) -> str:
    share = 100 * count / n
    return "<1%" if 0 < share < 1 else f"{share:.0f}%"
