"""``report``: files in, one page out.

The scores are those of ``evaluation.score``; everything else on the page is about the same queries, scored by
the same metrics room.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bridge_stg
from bridge_stg.errors import DataError, InputError, unwritable
from bridge_stg.evaluation.benchmarks import benchmark_by_name
from bridge_stg.evaluation.constants import no_skill_answers
from bridge_stg.evaluation.report import error_blocks, score_blocks
from bridge_stg.evaluation.report.case_blocks import BASELINE_COLOR, cases
from bridge_stg.evaluation.report.document import Block, Document, Heading, Paragraph
from bridge_stg.evaluation.report.plots import COLORS
from bridge_stg.evaluation.report.render import IMAGES, to_html, to_markdown
from bridge_stg.evaluation.report.runs import RunFiles, read_made_by
from bridge_stg.evaluation.report.scored_queries import score_each
from bridge_stg.evaluation.reported import ReportedRow, reported_rows
from bridge_stg.evaluation.run_cost import read_costs
from bridge_stg.evaluation.score import score
from bridge_stg.evaluation.scores import Scores
from bridge_stg.evaluation.task_scores import check_protocol, task_to_score
from bridge_stg.files.hashes import file_hash
from bridge_stg.files.output_files import check_output, write_whole
from bridge_stg.records.prediction import PredictionRecord, read_predictions
from bridge_stg.records.record import TruthRecord, read_truth
from bridge_stg.types import Task

_OWN_PICTURE = re.compile(r"plot-[\w-]+\.png|(best|worst)-\d+\.jpg")


@dataclass(frozen=True)
class ReportPlan:
    """What is asked of a report.

    ``benchmark`` names the rows of the paper to put beside (None: none), ``best`` and ``worst`` how many film
    strips are drawn of the first run, ``videos`` the folder that the ``video`` of records is relative to.
    """

    truth: Path
    runs: tuple[RunFiles, ...]
    videos: Path
    protocol: str | None = None
    task: Task | None = None
    benchmark: str | None = None
    worst: int = 8
    best: int = 4


@dataclass(frozen=True)
class Report:
    """The finished report, and what should be said on the terminal."""

    document: Document
    scores: dict[str, Scores]
    pictures_missing: int


def make_report(plan: ReportPlan, on_case: Callable[[int, int], None] | None = None) -> Report:
    """Read, check and score the files, and lay out the page; writes nothing.

    Args:
        on_case: told (film strips done, film strips in all).

    Raises:
        InputError: an unknown protocol or benchmark, or no folder of videos.
        DataError: a file or record that cannot be used, or runs that answer different tasks.
    """
    check_protocol(plan.protocol)
    if not plan.videos.is_dir():
        raise InputError(f"{plan.videos}: no such folder; give --videos, the folder that holds the videos")
    truth = read_truth(plan.truth)
    answers = {run.name: read_predictions(run.predictions) for run in plan.runs}
    task = plan.task or _common_task(truth, plan.runs, answers)
    reported = _reported(plan.benchmark, task)
    runs = [
        _run_scores(plan, truth, run, answers[run.name], task, COLORS[place % len(COLORS)])
        for place, run in enumerate(plan.runs)
    ]
    constants = no_skill_answers(truth, task)
    if taken := {"truth", *constants} & set(answers):
        raise InputError(f"a run cannot be called {min(taken)!r}, which is on the page already; give NAME=FILE")
    baselines = {
        name: score(truth, found, plan.protocol, task=task, moments=False) for name, found in constants.items()
    }

    blocks: list[Block] = [*_head(runs[0].scores), *score_blocks.overview(runs[0], baselines)]
    blocks += score_blocks.score_table(runs, baselines, reported)
    scored = [(run, score_each(truth, answers[run.name], task, plan.protocol)) for run in runs]
    known = [error_blocks.ScoredRun(run.name, run.color, found) for run, found in scored if found is not None]
    unread = 0
    if known:
        blocks += error_blocks.where_the_error_is(known)
        sets = {run.name: (_rgb(run.color), answers[run.name]) for run in known}
        last = list(constants)[-1]
        sets[last] = (BASELINE_COLOR, constants[last])
        strips, unread = cases(known[0].queries, sets, plan.videos, plan.best, plan.worst, on_case)
        blocks += [*strips, *error_blocks.histograms(known), *error_blocks.overlap_bins(known)]
        blocks += error_blocks.length_slices(known)
    blocks += [
        *score_blocks.several_windows(runs),
        *score_blocks.refusals(runs),
        *score_blocks.confidence(runs),
    ]
    blocks += [*score_blocks.parts(runs), *score_blocks.oracle_gap(runs), *score_blocks.cost_table(runs)]
    if plan.benchmark == "vidstg":
        blocks.append(Heading(2, "The paper's closer looks"))
        blocks += [block for number in (9, 14, 15, 16) for block in score_blocks.reported_beside(number)]
    blocks += score_blocks.origin(runs, file_hash(plan.truth))
    return Report(Document(tuple(blocks)), {run.name: run.scores for run in runs}, unread)


def write_report(out: Path, document: Document) -> list[Path]:
    """Write ``report.html``, ``report.md`` and the pictures of the latter; returns the two pages.

    Pictures of an earlier report that this one does not have are removed; other files stay.

    Raises:
        InputError: the folder or a page cannot be written.
    """
    images = out / IMAGES
    pages = {out / "report.html": to_html(document), out / "report.md": to_markdown(document)}
    for page in pages:
        check_output(page)
    try:
        images.mkdir(parents=True, exist_ok=True)
        if any(page.exists() for page in pages):  # else they are somebody's own
            for old in images.iterdir():
                if _OWN_PICTURE.fullmatch(old.name):
                    old.unlink()
        for picture in document.pictures:
            (images / picture.name).write_bytes(picture.content)
    except OSError as problem:
        raise unwritable(out, problem) from problem
    for path, content in pages.items():
        write_whole(path, content)
    return list(pages)


def _reported(name: str | None, task: Task) -> tuple[ReportedRow, ...]:
    """The paper's rows about a benchmark, which must be one of the task."""
    if name is None:
        return ()
    benchmark = benchmark_by_name(name)
    if benchmark.task not in (None, task):
        raise InputError(
            f"--benchmark {name} is about {benchmark.task}, and the runs answer {task}; leave it out"
        )
    # Table 7 has two columns about one benchmark, which differ in what is asked.
    names = ("video-mme", "video-mme-subs") if name.startswith("video-mme") else (name,)
    return tuple(row for one in names for row in reported_rows(one))


def _common_task(
    truth: Sequence[TruthRecord],
    runs: Sequence[RunFiles],
    answers: Mapping[str, Mapping[str, PredictionRecord]],
) -> Task:
    """The task that every run answers."""
    known = {record.id for record in truth}
    tasks: dict[Task, str] = {}
    for run in runs:
        # Scoring reports unknown ids, with the line.
        mine = {name: answer for name, answer in answers[run.name].items() if name in known}
        tasks.setdefault(task_to_score(truth, mine, run.predictions), run.name)
    if len(tasks) > 1:
        (first, one), (second, other) = list(tasks.items())[:2]
        raise DataError(
            f"{one} answers questions of task {first}, {other} of {second}; one report is about one task"
        )
    return next(iter(tasks))


def _run_scores(
    plan: ReportPlan,
    truth: Sequence[TruthRecord],
    run: RunFiles,
    answers: Mapping[str, PredictionRecord],
    task: Task,
    color: str,
) -> score_blocks.RunScores:
    def scored(found: Mapping[str, PredictionRecord], path: Path) -> Scores:
        return score(truth, found, plan.protocol, task=task, truth_path=plan.truth, predictions_path=path)

    return score_blocks.RunScores(
        run.name,
        color,
        scored(answers, run.predictions),
        scored(read_predictions(run.oracle), run.oracle) if run.oracle is not None else None,
        read_made_by(run.predictions),
        tuple(read_costs(run.predictions)),
    )


def _head(scores: Scores) -> list[Block]:
    split = f", split {scores.split}" if scores.split else ""
    about = (
        f"Task {scores.task}, protocol {scores.protocol}: {scores.words}. "
        f"{scores.n} queries on {len(set(scores.queries.videos))} videos{split}. "
        f"bridge-stg {bridge_stg.__version__}."
    )
    left = ", ".join(f"{count} {task}" for task, count in scores.not_scored.items())
    blocks: list[Block] = [Heading(1, f"Report: {scores.task} on {scores.n} queries"), Paragraph(about, "note")]
    if left:
        blocks.append(
            Paragraph(f"The truth also holds records of other tasks, which are not in here: {left}.", "note")
        )
    return blocks


def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
