"""From ``truth.jsonl`` and ``predictions.jsonl`` to a table of scores; no model is needed.

Every true query of the task is scored. A prediction that is missing or failed counts as zero and is reported; a
prediction for a query that the truth does not know is an error, because it usually means that the two files do
not belong together.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import DataError, InputError
from bridge_stg.evaluation.constants import best_constant, whole_clip_centre_box
from bridge_stg.evaluation.task_scores import check_protocol, rule_of, score_queries, task_to_score
from bridge_stg.files.output_files import write_whole
from bridge_stg.metrics.bootstrap import clustered_interval
from bridge_stg.metrics.query_scores import QueryScores
from bridge_stg.records.prediction import PredictionRecord, place_of, read_predictions
from bridge_stg.records.record import TruthRecord, read_truth
from bridge_stg.types import Task

SCORES_SCHEMA = "bridge-stg/scores/1"

# What is left of the first constant answer in each task.
_WHOLE_CLIP: dict[Task, str] = {
    "stvg": "whole clip, centre box",
    "vtg": "whole clip",
    "vot": "centre box",
    "rec": "centre box",
    "vqa": "always A",
}


@dataclass(frozen=True)
class PartScores:
    """The scores of one part of the queries, such as the interrogative ones."""

    n: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class QueryTable:
    """What each of N queries scored, so that two runs can be compared query by query.

    ``values`` (N, K) in percent, columns in the order of ``Scores.metrics``; ``weights`` (N,) how much a query
    counts in the mean (1; in tracking its number of frames).
    """

    ids: tuple[str, ...]
    videos: tuple[str, ...]
    weights: NDArray[np.float64]
    values: NDArray[np.float64]

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Columns: ``id``, ``video``, ``weight``, and one per metric."""
        columns = zip(names, self.values.T, strict=True)
        return {
            "id": list(self.ids),
            "video": list(self.videos),
            "weight": self.weights.tolist(),
            **{name: [round(value, 4) for value in column.tolist()] for name, column in columns},
        }


@dataclass(frozen=True)
class Scores:
    """The scores of one set of predictions; metrics and intervals in percent.

    ``failed`` counts predictions that hold no usable answer, ``missing`` queries without any prediction; both
    scored zero. ``split`` names the parts of the data set the queries are of, None if they do not say.
    ``by_category`` and ``by_subtitles`` are for vqa whose records have them. ``not_scored`` counts the true
    records of other tasks, which were left aside.
    """

    task: Task
    protocol: str
    operator: str
    words: str
    split: str | None
    n: int
    missing: int
    failed: int
    metrics: dict[str, float]
    ci95: dict[str, tuple[float, float]]
    by_qtype: dict[str, PartScores]
    by_category: dict[str, PartScores]
    by_subtitles: dict[str, PartScores]
    queries: QueryTable
    not_scored: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object that ``score --out`` writes (schema ``bridge-stg/scores/1``)."""
        parts = {"by_qtype": self.by_qtype}
        if self.task == "vqa":
            parts |= {"by_category": self.by_category, "by_subtitles": self.by_subtitles}
        return {
            "schema": SCORES_SCHEMA,
            "task": self.task,
            "protocol": self.protocol,
            "operator": self.operator,
            "split": self.split,
            "n": self.n,
            "missing": self.missing,
            "failed": self.failed,
            "metrics": _rounded(self.metrics),
            "ci95": {name: [round(low, 4), round(high, 4)] for name, (low, high) in self.ci95.items()},
            **{
                title: {name: {"n": part.n, "metrics": _rounded(part.metrics)} for name, part in found.items()}
                for title, found in parts.items()
            },
            "not_scored": self.not_scored,
        }


def score(
    truth: Sequence[TruthRecord],
    predictions: Mapping[str, PredictionRecord],
    protocol: str | None = None,
    *,
    task: Task | None = None,
    resamples: int = 1000,
    seed: int = 0,
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
        resamples, seed: of the bootstrap interval.
        truth_path, predictions_path: where both were read, so that a message can name the place.

    Raises:
        InputError: a protocol that the task does not have.
        DataError: unknown prediction ids, two tasks answered and none chosen, no record of the task, or a
            record that cannot be scored.
    """
    known = {record.id for record in truth}
    if unknown := [name for name in predictions if name not in known]:
        raise DataError(
            f"{place_of(predictions_path, unknown[0])}prediction {unknown[0]!r}: the truth holds no such id "
            f"({len(unknown)} unknown in all); score against the truth file the predictions were made for"
        )
    chosen = task or task_to_score(truth, predictions, predictions_path)
    rule = rule_of(chosen, protocol)
    records = [record for record in truth if record.task == chosen]
    if not records:
        raise DataError(f"the truth holds no record of task {chosen}, so there is nothing to score")

    answers = [predictions.get(record.id) for record in records]
    try:
        found = score_queries(rule, records, answers)
    except DataError as problem:
        raise DataError(f"{truth_path}: {problem}" if truth_path else str(problem)) from problem
    missing = sum(answer is None for answer in answers)
    videos = tuple(record.video for record in records)
    intervals = 100 * clustered_interval(
        found.values, videos, weights=found.weights, resamples=resamples, seed=seed
    )
    subtitles = ["without" if record.subtitles is None else "with" for record in records]
    return Scores(
        task=chosen,
        protocol=rule.protocol,
        operator=rule.operator,
        words=rule.words,
        split=", ".join(sorted({record.split for record in records if record.split is not None})) or None,
        n=len(records),
        missing=missing,
        failed=int(found.failed.sum()) - missing,
        metrics=found.means(),
        ci95={
            name: (float(low), float(high)) for name, (low, high) in zip(found.names, intervals, strict=True)
        },
        by_qtype=_parts(found, [record.qtype for record in records]),
        by_category=_parts(found, [record.category for record in records]) if chosen == "vqa" else {},
        # Without subtitles anywhere there is nothing to tell apart.
        by_subtitles=_parts(found, subtitles) if chosen == "vqa" and "with" in subtitles else {},
        queries=QueryTable(tuple(record.id for record in records), videos, found.weights, 100 * found.values),
        not_scored=dict(Counter(record.task for record in truth if record.task != chosen)),
    )


def _parts(found: QueryScores, labels: Sequence[str | None]) -> dict[str, PartScores]:
    """The scores of the queries with each label, by name; those without a label are in none."""
    names = np.array([label or "" for label in labels])
    return {
        name: PartScores(int((names == name).sum()), found.means(names == name))
        for name in sorted(set(names.tolist()) - {""})
    }


@dataclass(frozen=True)
class ScoreReport:
    """The scores that were asked for, and those of other prediction sets to read them against."""

    scores: Scores
    beside: dict[str, Scores]

    def to_json(self) -> dict[str, Any]:
        """``Scores.to_json`` and two more fields: the metrics of each other set, and the table of queries."""
        beside = {name: _rounded(other.metrics) for name, other in self.beside.items()}
        queries = self.scores.queries.to_json(list(self.scores.metrics))
        return self.scores.to_json() | {"beside": beside, "queries": queries}

    def to_text(self) -> str:
        """``scores.json``: indented, but each column of the table of queries on one line."""
        content = self.to_json()
        columns = content.pop("queries")
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(values)}" for name, values in columns.items())
        return json.dumps(content, indent=2).removesuffix("\n}") + f',\n  "queries": {{\n{lines}\n  }}\n}}\n'


def score_files(
    truth_path: Path,
    predictions_path: Path,
    protocol: str | None = None,
    beside: Mapping[str, Path] | None = None,
    task: Task | None = None,
) -> ScoreReport:
    """Read, check and score files; the constant baselines are scored beside them.

    Args:
        truth_path: ``truth.jsonl``.
        predictions_path: ``predictions.jsonl``.
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
    for name, constant in constant_baselines(truth, scores.task).items():
        if name in others:
            raise InputError(f"--beside: {name!r} is the name of a constant answer; rename the file")
        others[name] = score(truth, constant, protocol, task=scores.task)
    return ScoreReport(scores, others)


def constant_baselines(truth: Sequence[TruthRecord], task: Task) -> dict[str, dict[str, PredictionRecord]]:
    """Answers that look at no video, by name: what a score has to beat before it means anything.

    The best constant is fitted to ``truth`` itself, so no constant chosen on training data can do better on the
    grid that is searched.
    """
    records = [record for record in truth if record.task == task]
    answers = {
        _WHOLE_CLIP[task]: whole_clip_centre_box(records),
        "best constant answer": best_constant(records, task).predict(records),
    }
    return {name: {record.id: record for record in found} for name, found in answers.items()}


def write_scores(path: Path, report: ScoreReport) -> None:
    """Write ``scores.json``; it appears whole or not at all. InputError when the place is not writable."""
    write_whole(path, report.to_text())


def _rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in metrics.items()}
