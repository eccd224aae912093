"""From ``truth.jsonl`` and ``predictions.jsonl`` to a table of scores; no model is needed.

Every true query of the task whose event happens is scored. A prediction that is missing or failed counts as
zero and is reported. A prediction for a query that the truth does not know is an error, because it usually
means that the two files do not belong together. Queries whose event is absent are asked one thing only: was it
refused?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import DataError, InputError
from bridge_stg.evaluation.constants import no_skill_answers
from bridge_stg.evaluation.failures import count_failures
from bridge_stg.evaluation.run_cost import mean_answer_tokens
from bridge_stg.evaluation.scores import (
    CalibrationScores,
    Interval,
    MomentScores,
    PartScores,
    QueryTable,
    RefusalScores,
    ScoreReport,
    Scores,
)
from bridge_stg.evaluation.task_scores import (
    Rule,
    check_protocol,
    is_right,
    rule_of,
    score_queries,
    task_to_score,
)
from bridge_stg.metrics import moment_retrieval
from bridge_stg.metrics.bootstrap import clustered_interval
from bridge_stg.metrics.calibration import reliability
from bridge_stg.metrics.query_scores import QueryScores
from bridge_stg.records.prediction import PredictionRecord, place_of, read_predictions
from bridge_stg.records.record import TruthRecord, read_truth
from bridge_stg.types import WINDOW_TASKS, Task

Answers = Sequence[PredictionRecord | None]


def score(
    truth: Sequence[TruthRecord],
    predictions: Mapping[str, PredictionRecord],
    protocol: str | None = None,
    *,
    task: Task | None = None,
    resamples: int = 1000,
    moments: bool = True,
    truth_path: Path | None = None,
    predictions_path: Path | None = None,
) -> Scores:
    """Score the queries of one task.

    Args:
        truth: records with unique ids; those of other tasks are counted and left aside.
        predictions: by id; every id must be known to ``truth``.
        protocol: for stvg one of ``bridge_stg.metrics.stvg.PROTOCOLS``, stcat by default; the other tasks have
            one standard each.
        task: None is the one that the predictions answer.
        resamples: of the bootstrap interval, which always draws the same.
        moments: also score all windows as moment retrieval does, where the task has windows.
        truth_path, predictions_path: where both were read, so that a message can name the place.

    Raises:
        InputError: a protocol that the task does not have.
        DataError: unknown prediction ids, two tasks answered and none chosen, no record of the task whose event
            happens, or a record that cannot be scored.
    """
    known = {record.id for record in truth}
    if unknown := [name for name in predictions if name not in known]:
        raise DataError(
            f"{place_of(predictions_path, unknown[0])}prediction {unknown[0]!r}: the truth holds no such id "
            f"({len(unknown)} unknown in all); score against the truth file the predictions were made for"
        )
    chosen = task or task_to_score(truth, predictions, predictions_path)
    rule = rule_of(chosen, protocol)
    of_task = [record for record in truth if record.task == chosen]
    present = [record for record in of_task if not record.absent]
    if not of_task:
        raise DataError(f"the truth holds no record of task {chosen}, so there is nothing to score")
    if not present:
        raise DataError(f"every {chosen} record of the truth is absent; add some whose event happens")

    # What each query scores, and from that the means and their intervals.
    answers = [predictions.get(record.id) for record in present]
    try:
        found = score_queries(rule, present, answers)
        retrieved = None
        if moments and chosen in WINDOW_TASKS:
            retrieved = moment_retrieval.score_queries(present, answers)
    except DataError as problem:
        raise DataError(f"{truth_path}: {problem}" if truth_path else str(problem)) from problem

    videos = tuple(record.video for record in present)
    subtitles = ["without" if record.subtitles is None else "with" for record in present]
    found_moments = None
    if retrieved is not None:
        found_moments = MomentScores(retrieved.means(), _intervals(retrieved, videos, resamples))

    return Scores(
        task=chosen,
        protocol=rule.protocol,
        operator=rule.operator,
        words=rule.words,
        split=", ".join(sorted({record.split for record in present if record.split is not None})) or None,
        n=len(present),
        failures=count_failures(zip(present, answers, strict=True)),
        metrics=found.means(),
        ci95=_intervals(found, videos, resamples),
        by_qtype=_parts(found, [record.qtype for record in present]),
        by_category=_parts(found, [record.category for record in present]) if chosen == "vqa" else {},
        by_kind=_parts(found, [record.kind for record in present]) if chosen == "vqa" else {},
        # Without subtitles anywhere there is nothing to tell apart.
        by_subtitles=_parts(found, subtitles) if chosen == "vqa" and "with" in subtitles else {},
        queries=QueryTable(tuple(record.id for record in present), videos, found.weights, 100 * found.values),
        moments=found_moments,
        refusals=_refusals(of_task, predictions, resamples),
        calibration=_calibration(rule, found if retrieved is None else retrieved, of_task, predictions),
        not_scored=dict(Counter(record.task for record in truth if record.task != chosen)),
    )


def _intervals(found: QueryScores, videos: Sequence[str], resamples: int) -> dict[str, Interval]:
    """The 95% interval of each metric, in percent."""
    bounds = 100 * clustered_interval(found.values, videos, weights=found.weights, resamples=resamples)
    return {name: (float(low), float(high)) for name, (low, high) in zip(found.names, bounds, strict=True)}


def _parts(found: QueryScores, labels: Sequence[str | None]) -> dict[str, PartScores]:
    """The scores of the queries with each label, by name; those without a label are in none."""
    names = np.array([label or "" for label in labels])
    return {
        name: PartScores(int((names == name).sum()), found.means(names == name))
        for name in sorted(set(names.tolist()) - {""})
    }


def _refusals(
    records: Sequence[TruthRecord], predictions: Mapping[str, PredictionRecord], resamples: int
) -> RefusalScores | None:
    """How often absent and present events are refused; None where nothing is absent and nothing refused."""
    absent = np.array([record.absent for record in records])
    refused = np.array(
        [record.id in predictions and predictions[record.id].status == "absent" for record in records]
    )
    if not absent.any() and not refused.any():
        return None

    def share(rows: NDArray[np.bool_]) -> tuple[float, Interval]:
        if not rows.any():
            return 0.0, (0.0, 0.0)
        values = refused[rows].astype(np.float64)[:, None]
        videos = [record.video for record, chosen in zip(records, rows.tolist(), strict=True) if chosen]
        ((low, high),) = 100 * clustered_interval(values, videos, resamples=resamples)
        return 100 * float(values.mean()), (float(low), float(high))

    return RefusalScores(int(absent.sum()), *share(absent), *share(~absent))


def _calibration(
    rule: Rule,
    present: QueryScores,
    records: Sequence[TruthRecord],
    predictions: Mapping[str, PredictionRecord],
) -> CalibrationScores | None:
    """Confidence against being right, over the answers that state a confidence; None without any.

    Args:
        present: what the queries whose event happens scored, in the order of ``records``; of tasks with
            windows, as moment retrieval counts.
    """
    rows = iter(present.values)
    confidence, right = [], []
    for record in records:
        row = None if record.absent else next(rows)
        prediction = predictions.get(record.id)
        if prediction is not None and prediction.confidence is not None:
            confidence.append(prediction.confidence)
            right.append(prediction.status == "absent" if row is None else is_right(rule.task, row))
    if not confidence:
        return None
    return CalibrationScores(
        len(confidence), tuple(reliability(np.array(confidence), np.array(right, dtype=np.bool_)))
    )


def score_files(
    truth_path: Path,
    predictions_path: Path,
    protocol: str | None = None,
    beside: Mapping[str, Path] | None = None,
    task: Task | None = None,
) -> ScoreReport:
    """Read, check and score files; answers without skill are scored beside them.

    Args:
        truth_path: ``truth.jsonl``.
        predictions_path: ``predictions.jsonl``, or a folder of such files.
        protocol, task: see ``score``.
        beside: name -> another ``predictions.jsonl`` over the same truth.

    Raises:
        InputError: a protocol that is unknown or not of the task, or a name in ``beside`` that is taken.
        DataError: a file or record that cannot be used; the message names it.
    """
    check_protocol(protocol)
    truth = read_truth(truth_path)

    def scored(path: Path, chosen: Task | None) -> Scores:
        answers = read_predictions(path)
        return score(truth, answers, protocol, task=chosen, truth_path=truth_path, predictions_path=path)

    scores = scored(predictions_path, task)
    others = {name: scored(path, scores.task) for name, path in (beside or {}).items()}
    for name, answers in no_skill_answers(truth, scores.task).items():
        if name in others:
            raise InputError(f"--beside: {name!r} is the name of a constant answer; rename the file")
        others[name] = score(truth, answers, protocol, task=scores.task, moments=False)
    # The last of the answers without skill is the best of them.
    return ScoreReport(scores, others, list(others)[-1], mean_answer_tokens(predictions_path))
