"""From ``truth.jsonl`` and ``predictions.jsonl`` to a table of scores; no model is needed.

Every true query is scored. A prediction that is missing or failed counts as zero and is reported; a prediction
for a query that the truth does not know is an error, because it usually means that the two files do not belong
together.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bridge_stg.data.predictions import PredictionRecord, read_predictions
from bridge_stg.data.records import TruthRecord, read_truth
from bridge_stg.data.shapes.baselines import best_constant_window, whole_clip_centre_box
from bridge_stg.errors import DataError, InputError
from bridge_stg.metrics.bootstrap import clustered_interval
from bridge_stg.metrics.stvg import (
    FAILED,
    METRICS,
    Protocol,
    comparison,
    query_overlap,
    query_values,
    summarize,
)

SCORES_SCHEMA = "bridge-stg/scores/1"


@dataclass(frozen=True)
class TypeScores:
    """The scores of one query type."""

    n: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Scores:
    """The scores of one set of predictions; metrics and intervals in percent, named as in ``METRICS``.

    ``failed`` counts predictions without a usable window, ``missing`` queries without any prediction; both
    scored zero. ``not_scored`` counts the true records of other tasks that were left aside.
    """

    protocol: Protocol
    operator: str
    n: int
    missing: int
    failed: int
    metrics: dict[str, float]
    ci95: dict[str, tuple[float, float]]
    by_qtype: dict[str, TypeScores]
    not_scored: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object that ``score --out`` writes (schema ``bridge-stg/scores/1``)."""
        return {
            "schema": SCORES_SCHEMA,
            "protocol": self.protocol,
            "operator": self.operator,
            "n": self.n,
            "missing": self.missing,
            "failed": self.failed,
            "metrics": _rounded(self.metrics),
            "ci95": {name: [round(low, 4), round(high, 4)] for name, (low, high) in self.ci95.items()},
            "by_qtype": {
                name: {"n": part.n, "metrics": _rounded(part.metrics)} for name, part in self.by_qtype.items()
            },
            "not_scored": self.not_scored,
        }


def score(
    truth: Sequence[TruthRecord],
    predictions: Mapping[str, PredictionRecord],
    protocol: Protocol,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Scores:
    """Score the stvg queries of ``truth``.

    Args:
        truth: records with unique ids; those of other tasks are counted and left aside.
        predictions: by id; every id must be known to ``truth``.
        protocol: see ``bridge_stg.metrics.stvg``.
        resamples, seed: of the bootstrap interval.

    Raises:
        DataError: unknown prediction ids, no stvg record, or a record that cannot be scored.
    """
    known = {record.id for record in truth}
    if unknown := [name for name in predictions if name not in known]:
        raise DataError(
            f"prediction {unknown[0]!r}: the truth holds no such id "
            f"({len(unknown)} unknown in all); score against the truth file the predictions were made for"
        )
    queries = [record for record in truth if record.task == "stvg"]
    if not queries:
        raise DataError("the truth holds no record of task stvg, so there is nothing to score")

    found = [predictions.get(record.id) for record in queries]
    overlaps = [
        FAILED if prediction is None else query_overlap(record, prediction)
        for record, prediction in zip(queries, found, strict=True)
    ]
    missing = sum(prediction is None for prediction in found)
    values = query_values(overlaps, protocol)
    videos = [record.video for record in queries]
    intervals = 100 * clustered_interval(values, videos, resamples=resamples, seed=seed)

    kinds = np.array([record.qtype for record in queries])
    by_qtype = {
        kind: TypeScores(int((kinds == kind).sum()), summarize(values[kinds == kind]))
        for kind in ("declarative", "interrogative")
        if (kinds == kind).any()
    }
    return Scores(
        protocol=protocol,
        operator=comparison(protocol),
        n=len(queries),
        missing=missing,
        failed=sum(one.failed for one in overlaps) - missing,
        metrics=summarize(values),
        ci95={name: (float(low), float(high)) for name, (low, high) in zip(METRICS, intervals, strict=True)},
        by_qtype=by_qtype,
        not_scored=dict(Counter(record.task for record in truth if record.task != "stvg")),
    )


@dataclass(frozen=True)
class ScoreReport:
    """The scores that were asked for, and those of other prediction sets to read them against."""

    scores: Scores
    beside: dict[str, Scores]

    def to_json(self) -> dict[str, Any]:
        """``Scores.to_json`` with one more field, ``beside``: the metrics of each other set."""
        beside = {name: _rounded(other.metrics) for name, other in self.beside.items()}
        return self.scores.to_json() | {"beside": beside}


def score_files(
    truth_path: Path, predictions_path: Path, protocol: Protocol, beside: Mapping[str, Path] | None = None
) -> ScoreReport:
    """Read, check and score files; the constant baselines are scored beside them.

    Args:
        truth_path: ``truth.jsonl``.
        predictions_path: ``predictions.jsonl``.
        protocol: see ``bridge_stg.metrics.stvg``.
        beside: name -> another ``predictions.jsonl`` over the same truth.

    Raises:
        DataError: a file or record that cannot be used; the message names it.
    """
    truth = read_truth(truth_path)
    scores = score(truth, read_predictions(predictions_path), protocol)
    sets = {name: read_predictions(path) for name, path in (beside or {}).items()}
    sets |= constant_baselines(truth)
    return ScoreReport(scores, {name: score(truth, other, protocol) for name, other in sets.items()})


def constant_baselines(truth: Sequence[TruthRecord]) -> dict[str, dict[str, PredictionRecord]]:
    """Answers that look at no video, by name: what a score has to beat before it means anything.

    The best constant is fitted to ``truth`` itself, so no constant chosen on training data can do better on the
    grid that is searched.
    """
    answers = {
        "whole clip, centre box": whole_clip_centre_box(truth),
        "best constant answer": best_constant_window(truth).predict(truth),
    }
    return {name: {record.id: record for record in records} for name, records in answers.items()}


def write_scores(path: Path, report: ScoreReport) -> None:
    """Write ``scores.json``; it appears whole or not at all. InputError when the place is not writable."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as problem:
        raise InputError(f"{path}: cannot be written ({problem.strerror}); choose another --out") from problem


def _rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in metrics.items()}
