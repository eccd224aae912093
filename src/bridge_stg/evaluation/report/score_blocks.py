"""Where the runs stand, as blocks: scores beside baselines and reported values, oracle gap, cost, origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bridge_stg.evaluation.report.document import (
    Block,
    Cell,
    Fact,
    Facts,
    Gallery,
    Heading,
    Items,
    Paragraph,
    Picture,
    Row,
    RowKind,
    Table,
    row,
)
from bridge_stg.evaluation.report.plots import BASELINE, Interval, intervals, reliability_plot
from bridge_stg.evaluation.report.runs import MadeBy
from bridge_stg.evaluation.reported import LABEL, ReportedRow, reported_analysis
from bridge_stg.evaluation.run_cost import RunCost, summarize_cost
from bridge_stg.evaluation.scores import PartScores, Scores
from bridge_stg.types import Task

# What a reader looks at first in each task.
HEADLINE: dict[Task, tuple[str, ...]] = {
    "stvg": ("m_tIoU", "m_vIoU"),
    "vtg": ("mIoU", "R1@0.5"),
    "vot": ("AO",),
    "rec": ("Acc@0.5",),
    "vqa": ("accuracy",),
}


@dataclass(frozen=True)
class RunScores:
    """The scores of one run and what lies beside its file; ``color`` is its own on every picture."""

    name: str
    color: str
    scores: Scores
    oracle: Scores | None = None
    made_by: MadeBy | None = None
    cost: tuple[RunCost, ...] = ()


def overview(run: RunScores, baselines: Mapping[str, Scores]) -> list[Block]:
    """The figures of a run to see first, each beside the last of ``baselines``, the line of no skill."""
    name, constant = list(baselines.items())[-1]
    scores = run.scores
    facts = [
        Fact(
            f"{metric}, %",
            f"{value:.1f}",
            f"{_range(scores.ci95[metric])}; {name} {constant.metrics[metric]:.1f}",
        )
        for metric, value in scores.metrics.items()
    ]
    videos = len(set(scores.queries.videos))
    lost = f"{scores.missing} missing, {scores.failed} failed"
    facts.append(Fact("queries", f"{scores.n}", f"on {videos} videos; {lost}"))
    verdicts = (_verdict(run, metric, f"the {name}", constant) for metric in HEADLINE[scores.task])
    return [Heading(2, f"{run.name} at a glance"), Facts(tuple(facts)), Items(tuple(verdicts))]


def _verdict(run: RunScores, metric: str, name: str, constant: Scores) -> str:
    value, other = run.scores.metrics[metric], constant.metrics[metric]
    low, high = run.scores.ci95[metric]
    verdict = "is above" if low > other else "is below" if high < other else "cannot be told apart from"
    return (
        f"{metric}: {value:.1f} (95% interval {_range((low, high))}) {verdict} {name}, which looks at no video "
        f"({other:.1f})."
    )


def score_table(
    runs: Sequence[RunScores], baselines: Mapping[str, Scores], reported: Sequence[ReportedRow]
) -> list[Block]:
    """All runs beside the constants and the values that the paper prints."""
    metrics = tuple(runs[0].scores.metrics)
    rows = [_score_row(run.name, run.scores, "strong") for run in runs]
    rows.append(row("answers that look at no video", kind="group"))
    rows += [_score_row(name, scores) for name, scores in baselines.items()]
    rows += _reported(reported, metrics)
    note = (
        "Percent, and the 95% interval, bootstrap over whole videos. Missing and failed predictions are in n "
        "and score 0. The best constant answer is one answer for every query, fitted to this very truth."
    )
    if reported:
        note += " Reported values are the paper's; nothing of them was measured here."
    return [
        Heading(2, "Scores"),
        Table(("set", *metrics, "n", "missing", "failed"), tuple(rows)),
        Paragraph(note, "note"),
        Gallery(tuple(_intervals(runs, baselines, metric) for metric in HEADLINE[runs[0].scores.task])),
    ]


def _intervals(runs: Sequence[RunScores], baselines: Mapping[str, Scores], metric: str) -> Picture:
    rows = [_interval(run.name, run.scores, metric, run.color) for run in runs]
    rows += [_interval(name, scores, metric, BASELINE) for name, scores in baselines.items()]
    said = ", ".join(f"{one.name} {one.mean:.1f} ({_range((one.low, one.high))})" for one in rows)
    name = "".join(letter if letter.isalnum() else "-" for letter in metric)
    return Picture(f"plot-{name}.png", intervals(rows, f"{metric}, %"), f"{metric} with 95% intervals: {said}")


def _reported(reported: Sequence[ReportedRow], metrics: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for benchmark, split in dict.fromkeys((one.benchmark, one.split) for one in reported):
        rows.append(row(f"{LABEL}, {benchmark} {split}", kind="group"))
        for one in reported:
            if (one.benchmark, one.split) == (benchmark, split):
                values = (f"{one.metrics[name]:.1f}" if name in one.metrics else "-" for name in metrics)
                rows.append(row(f"{one.model} (Table {one.table})", *values, "", "", "", kind="faint"))
    return rows


def several_windows(runs: Sequence[RunScores]) -> list[Block]:
    """All scored windows as moment retrieval counts them, of tasks with windows."""
    known = [(run.name, run.scores.moments) for run in runs]
    found = [(name, moments) for name, moments in known if moments is not None]
    if not found:
        return []
    metrics = tuple(found[0][1].metrics)
    rows = [
        row(name, *(Cell(f"{moments.metrics[one]:.1f}", _range(moments.ci95[one])) for one in metrics))
        for name, moments in found
    ]
    note = "As QVHighlights defines them: R1 looks at the best window alone, mAP at all of them in their order."
    return [
        Heading(2, "All windows of an answer"),
        Table(("run", *metrics), tuple(rows)),
        Paragraph(note, "note"),
    ]


def refusals(runs: Sequence[RunScores]) -> list[Block]:
    """How often absent and present events are refused; nothing where no event is absent and none refused."""
    found = [(run.name, run.scores.refusals, run.scores.n) for run in runs if run.scores.refusals is not None]
    rows = [
        row(
            name,
            str(one.n),
            Cell(f"{one.refused:.1f}", _range(one.refused_ci95)),
            str(present),
            Cell(f"{one.present_refused:.1f}", _range(one.present_refused_ci95)),
        )
        for name, one, present in found
        if one is not None
    ]
    if not rows:
        return []
    columns = ("run", "absent", "of them refused, %", "present", "of them refused, %")
    note = "An absent event does not happen in the clip. All absent ones should be refused, and no present one."
    return [Heading(2, "Events that do not happen"), Table(columns, tuple(rows)), Paragraph(note, "note")]


def confidence(runs: Sequence[RunScores]) -> list[Block]:
    """How far the confidence of answers can be trusted; nothing where none is stated."""
    known = [(run, run.scores.calibration) for run in runs]
    found = [(run, one) for run, one in known if one is not None]
    if not found:
        return []
    rows = [row(run.name, str(one.n), f"{one.expected_error:.3f}") for run, one in found]
    drawn = reliability_plot([(run.name, run.color, one.bins) for run, one in found])
    said = "; ".join(f"{run.name} error {one.expected_error:.3f} over {one.n} answers" for run, one in found)
    note = (
        "An answer is right if it refuses an absent event; otherwise, as the task asks, if its window has tIoU "
        "of 0.5 or more, its mean overlap is above 0.5, its box has IoU of 0.5 or more, or its letter is right."
    )
    return [
        Heading(2, "Confidence"),
        Table(("run", "answers", "expected calibration error"), tuple(rows)),
        Picture("plot-reliability.png", drawn, f"Reliability diagram: {said}", wide=True),
        Paragraph(note, "note"),
    ]


def reported_beside(number: int) -> list[Block]:
    """One of the paper's closer looks at Bridge-STG, as it is printed."""
    found = reported_analysis(number)
    rows = [row(name, *("-" if one is None else f"{one:,g}" for one in values)) for name, values in found.rows]
    title = f"{LABEL}, Table {found.table}: {found.caption}"
    return [Table((title, *found.columns), tuple(rows))]


def parts(runs: Sequence[RunScores]) -> list[Block]:
    """Declarative and interrogative sentences apart; of vqa categories, kinds, with and without subtitles."""
    metrics = tuple(runs[0].scores.metrics)
    blocks: list[Block] = [Heading(2, "By kind of question")]
    for title in ("sentence", "category", "kind", "subtitles"):
        rows: list[Row] = []
        for run in runs:
            found = _parts_of(run.scores, title)
            rows.append(row(run.name, kind="group"))
            rows += [row(name, str(one.n), *_values(one.metrics, metrics)) for name, one in found.items()]
        if len(rows) > len(runs):
            blocks.append(Table((title, "n", *metrics), tuple(rows)))
    return blocks


def _parts_of(scores: Scores, title: str) -> dict[str, PartScores]:
    by_title = {
        "sentence": scores.by_qtype,
        "category": scores.by_category,
        "kind": scores.by_kind,
        "subtitles": scores.by_subtitles,
    }
    return by_title[title]


def oracle_gap(runs: Sequence[RunScores]) -> list[Block]:
    """The form of Table 14: how much better boxes are when the true window is given."""
    metrics = tuple(runs[0].scores.metrics)
    rows: list[Row] = []
    warnings: list[str] = []
    for run in runs:
        if run.oracle is None:
            continue
        given, predicted = run.oracle, run.scores
        gap = (f"{given.metrics[name] - predicted.metrics[name]:+.1f}" for name in metrics)
        rows.append(row(run.name, kind="group"))
        rows.append(row("predicted window", *_values(predicted.metrics, metrics), *_counts(predicted)))
        rows.append(row("true window given", *_values(given.metrics, metrics), *_counts(given)))
        rows.append(row("gap", *gap, "", "", "", kind="faint"))

        # Queries without an answer score 0, which is no error of the boxes.
        if lost := given.missing + given.failed:
            warnings.append(
                f"{run.name}: {lost} of {given.n} queries have no answer with the true window given and score "
                "0: the gap is not that of a whole run."
            )

    if not rows:
        return []
    note = (
        "The form of Table 14. With the true window given, m_tIoU says nothing of the model; what m_vIoU then "
        "lacks of 100 is the error of the boxes alone."
    )
    return [
        Heading(2, "With the true window given"),
        Table(("setting", *metrics, "n", "missing", "failed"), tuple(rows)),
        *(Paragraph(warning) for warning in warnings),
        Paragraph(note, "note"),
    ]


def cost_table(runs: Sequence[RunScores]) -> list[Block]:
    """The form of Table 9: frames, tokens, milliseconds and memory of the runs whose cost was written."""
    known = [(run.name, summarize_cost(run.cost)) for run in runs if run.cost]
    if not known:
        return []
    costs = [cost for _, cost in known]
    clip, query = ([cost[part] for cost in costs] for part in ("mean_per_clip", "mean_per_query"))
    stages = dict.fromkeys(stage for one in query for stage in one["ms"])
    rows = [
        row("parameters", *(_count(cost["parameters"]) for cost in costs)),
        row("clips / queries", *(f"{cost['clips']} / {cost['queries']}" for cost in costs)),
        row("mean of a clip", kind="group"),
        *(row(title, *(_mean(one[name]) for one in clip)) for name, title in _PER_CLIP),
        row("mean of a query", kind="group"),
        *(row(title, *(_mean(one[name]) for one in query)) for name, title in _PER_QUERY),
        row("mean of a query, ms", kind="group"),
        *(row(stage, *(_mean(one["ms"].get(stage)) for one in query)) for stage in stages),
        row("all stages", *(_mean(one["total_ms"]) for one in query), kind="strong"),
        row("highest", kind="group"),
        row("memory of a process, MiB", *(_mean(cost["peak_memory_mib"]) for cost in costs)),
        row("memory of a GPU, MiB", *(_mean(cost["peak_gpu_memory_mib"]) for cost in costs)),
    ]
    devices = "; ".join(f"{name}: {', '.join(cost['devices'])}" for name, cost in known)
    note = f"The form of Table 9. What a clip needs once is shared by its queries. Devices: {devices}."
    return [
        Heading(2, "Cost"),
        Table(("", *(name for name, _ in known)), tuple(rows)),
        Paragraph(note, "note"),
    ]


_PER_CLIP = (
    ("source_fps", "frames per second of the file"),
    ("frames", "frames read"),
    ("frame_width", "width of a frame, pixels"),
    ("frame_height", "height of a frame, pixels"),
    ("visual_tokens", "visual tokens"),
)
_PER_QUERY = (
    ("prompt_tokens", "tokens of clip and question"),
    ("answer_tokens", "tokens of the answer"),
    ("located_frames", "frames with a box"),
)


def origin(runs: Sequence[RunScores], truth_hash: str) -> list[Block]:
    """Which weights, data and settings the answers come from, as far as is written beside them."""
    rows: list[Row] = []
    for run in runs:
        rows.append(row(run.name, kind="group"))
        if run.made_by is None:
            rows.append(row("nothing is written beside its predictions", ""))
            continue
        same = "this one" if run.made_by.truth == truth_hash else f"another file: {run.made_by.truth[:12]}"
        rows.append(row("checkpoint (SHA-256 or hub id)", _short_hash(run.made_by.checkpoint)))
        rows.append(row("made for the truth", same))
        rows += [row(name, value) for name, value in run.made_by.settings]
    return [
        Heading(2, "Where the answers come from"),
        Table(("", "written beside the predictions"), tuple(rows), text_columns=2),
        Paragraph(f"Truth of this report: SHA-256 {truth_hash[:12]}.", "note"),
    ]


def _short_hash(value: str) -> str:
    """The beginning of a hash; a name as it is."""
    is_hash = len(value) == 64 and all(letter in "0123456789abcdef" for letter in value)
    return value[:12] if is_hash else value


def _score_row(name: str, scores: Scores, kind: RowKind = "plain") -> Row:
    values = (Cell(f"{value:.1f}", _range(scores.ci95[metric])) for metric, value in scores.metrics.items())
    return row(name, *values, *_counts(scores), kind=kind)


def _counts(scores: Scores) -> tuple[str, str, str]:
    return str(scores.n), str(scores.missing), str(scores.failed)


def _interval(name: str, scores: Scores, metric: str, color: str) -> Interval:
    low, high = scores.ci95[metric]
    return Interval(name, scores.metrics[metric], low, high, color)


def _values(metrics: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{metrics[name]:.1f}" for name in names]


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.1f}-{ends[1]:.1f}"


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
