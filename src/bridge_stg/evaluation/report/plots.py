"""Histograms and score intervals as PNG pictures, readable on light and on dark pages alike."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from numpy.typing import NDArray

from bridge_stg.metrics.calibration import ReliabilityBin

# A grey in the middle stands out from white and from near-black; the background is transparent.
INK = "#7c828c"
GRID_COLOR = "#7c828c40"
# Okabe and Ito's colours, which the colour blind can tell apart; the first three are those of the film strips.
COLORS = ("#e69f00", "#56b4e9", "#cc79a7", "#0072b2", "#d55e00", "#f0e442")
TRUTH = "#009e73"
# Of the kinds of error; black numbers are readable on all of them.
GOOD, YELLOW, AMBER, BLUE, VIOLET, RED, GREY = (
    "#2fbf71",
    "#f2d35b",
    "#e9a83a",
    "#7fb7e6",
    "#b79ad9",
    "#e5735c",
    "#a0a6af",
)
BASELINE = "#9aa0a8"
SIZE = (4.4, 2.9)


@dataclass(frozen=True)
class Series:
    """The values (M,) of one run, out of ``n`` that its bars are shares of; ``said`` stands in the legend."""

    name: str
    said: str
    values: NDArray[np.float64]
    n: int
    color: str

    @property
    def words(self) -> str:
        return f"{self.name} ({self.said})"


@dataclass(frozen=True)
class Interval:
    """One row of an interval plot: a mean and the ends of its interval."""

    name: str
    mean: float
    low: float
    high: float
    color: str


def histogram(series: Sequence[Series], label: str, edges: NDArray[np.float64]) -> bytes:
    """Outlines over shared bins, each in percent of its own ``n``; values outside go to the outer bins."""
    figure, axes = _figure(SIZE)
    top = 0.0
    for number, one in enumerate(series):
        inside = np.clip(one.values, edges[0], edges[-1])
        counts, _ = np.histogram(inside, edges)
        heights = 100 * counts / max(one.n, 1)
        top = max(top, float(heights.max(initial=0.0)))
        axes.stairs(
            heights, edges, color=one.color, linewidth=1.8, label=f"{_label(one.name)} ({one.said})", zorder=3
        )
        if number == 0:
            axes.stairs(heights, edges, color=one.color, alpha=0.25, fill=True, zorder=2)

    axes.set_xlabel(label)
    axes.set_ylabel("% of queries")
    axes.set_xlim(float(edges[0]), float(edges[-1]))
    # Room above for the legend, so that it never lies on a bar.
    axes.set_ylim(0, max(top, 1.0) * (1.08 + 0.13 * len(series)))
    axes.grid(axis="y", color=GRID_COLOR)

    _grey_words(axes.legend(frameon=False, loc="upper right", fontsize=9))
    return _png(figure)


def intervals(rows: Sequence[Interval], label: str) -> bytes:
    """One dot with its interval per row, the first on top."""
    figure, axes = _figure((SIZE[0], 0.9 + 0.36 * len(rows)))
    for place, row in enumerate(rows):
        axes.plot([row.low, row.high], [place, place], color=row.color, linewidth=3, solid_capstyle="butt")
        axes.plot([row.mean], [place], "o", color=row.color, markersize=7)
        axes.annotate(
            f"{row.mean:.1f}", (row.mean, place), (0, 6), textcoords="offset points", ha="center", fontsize=9,
            color=INK,
        )  # fmt: skip

    axes.set_yticks(range(len(rows)), [_label(row.name) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.8)
    axes.set_xlim(left=0, right=max(max(row.high for row in rows) * 1.12, 1.0))
    axes.set_xlabel(label)
    axes.grid(axis="x", color=GRID_COLOR)
    return _png(figure)


def reliability_plot(runs: Sequence[tuple[str, str, Sequence[ReliabilityBin]]]) -> bytes:
    """Share of right answers over mean confidence, one line per (name, colour, bins); a dot's area is its n."""
    figure, axes = _figure(SIZE)
    axes.plot([0, 1], [0, 1], color=GRID_COLOR, linewidth=1.2, linestyle="--", zorder=1)
    for name, color, bins in runs:
        filled = [one for one in bins if one.confidence is not None and one.accuracy is not None]
        total = max(sum(one.n for one in filled), 1)
        at = [one.confidence or 0.0 for one in filled]
        right = [one.accuracy or 0.0 for one in filled]
        axes.plot(at, right, color=color, linewidth=1.6, label=_label(name), zorder=2)
        axes.scatter(
            at, right, s=[12 + 400 * one.n / total for one in filled], color=color, alpha=0.6, zorder=3
        )

    axes.set_xlabel("confidence")
    axes.set_ylabel("share of right answers")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.grid(color=GRID_COLOR)

    _grey_words(axes.legend(frameon=False, loc="upper left", fontsize=9))
    return _png(figure)


def shares(rows: Sequence[str], kinds: Mapping[str, str], values: NDArray[np.float64]) -> bytes:
    """One bar per row, divided among ``kinds`` (name -> colour); ``values`` (rows, kinds) in percent."""
    figure, axes = _figure((5.8, 1.15 + 0.36 * len(rows)))
    left = np.zeros(len(rows))
    for number, (kind, color) in enumerate(kinds.items()):
        axes.barh(range(len(rows)), values[:, number], left=left, color=color, height=0.68, label=kind)
        for place, value in enumerate(values[:, number].tolist()):
            if value >= 4:  # narrower than its number
                middle = float(left[place]) + value / 2
                axes.text(middle, place, f"{value:.0f}", ha="center", va="center", fontsize=10, color="#101010")
        left += values[:, number]

    axes.set_yticks(range(len(rows)), [_label(name) for name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of queries")

    _grey_words(
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=4, fontsize=10)
    )
    return _png(figure)


def unit_edges(bins: int = 20) -> NDArray[np.float64]:
    """Bins of an overlap."""
    return np.linspace(0.0, 1.0, bins + 1)


def seconds_edges(values: NDArray[np.float64], signed: bool, bins: int = 25) -> NDArray[np.float64]:
    """Bins that hold 99% of ``values`` (N,), from 0 or symmetric about it, with round ends."""
    reach = float(np.quantile(np.abs(values), 0.99)) if len(values) else 1.0
    step = 10.0 ** np.floor(np.log10(max(reach, 0.1)))
    end = float(np.ceil(max(reach, 0.1) / step * 2) / 2 * step)
    return np.linspace(-end if signed else 0.0, end, bins + 1)


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure that touches no global state: two reports in one process cannot disturb each other."""
    figure = Figure(figsize=size, dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0.0)

    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    axes.tick_params(colors=INK, labelsize=10)
    for item in (axes.xaxis.label, axes.yaxis.label):
        item.set_color(INK)
        item.set_fontsize(11)
    for spine in axes.spines.values():
        spine.set_color(GRID_COLOR)
    return figure, axes


def _grey_words(legend: Legend) -> None:
    for text in legend.get_texts():
        text.set_color(INK)


def _label(name: str) -> str:
    """A run's name as it is: a dollar would start a formula, and a leading underscore hides a legend entry."""
    short = name if len(name) <= 26 else name[:25] + "..."
    return " " * short.startswith("_") + short.replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables say it as it is.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # Without the version of the library in it, the same numbers are the same bytes for longer.
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
