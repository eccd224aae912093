"""Which differences between two runs are real: two ``scores.json``, compared query by query.

Both runs answered the same questions about the same videos, so what is easy for one is easy for the other.
The bootstrap is therefore **paired**: the difference is taken per query, and whole videos are drawn, as for the
interval of a single run. A difference is called real when its 95% interval excludes 0.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import DataError
from bridge_stg.evaluation.scores import SCORES_SCHEMA, QueryTable
from bridge_stg.files.output_files import write_whole
from bridge_stg.metrics.bootstrap import clustered_interval

COMPARISON_SCHEMA = "bridge-stg/comparison/1"


@dataclass(frozen=True)
class ScoresFile:
    """What a comparison needs of a ``scores.json``; ``metrics`` in percent, in the order of the columns."""

    path: Path
    task: str
    protocol: str
    operator: str
    n: int
    missing: int
    failed: int
    metrics: dict[str, float]
    queries: QueryTable


@dataclass(frozen=True)
class Difference:
    """One metric of two runs: percent, ``difference`` is b - a in points, ``ci95`` its interval."""

    a: float
    b: float
    difference: float
    ci95: tuple[float, float]
    real: bool


@dataclass(frozen=True)
class Comparison:
    """Two runs over the same ``a.n`` queries about ``videos`` videos, metric by metric."""

    a: ScoresFile
    b: ScoresFile
    videos: int
    metrics: dict[str, Difference]

    def to_json(self) -> dict[str, Any]:
        """The object that ``compare --out`` writes (schema ``bridge-stg/comparison/1``)."""
        runs = {
            name: {"path": str(run.path), "missing": run.missing, "failed": run.failed}
            for name, run in (("a", self.a), ("b", self.b))
        }
        return {
            "schema": COMPARISON_SCHEMA,
            "task": self.a.task,
            "protocol": self.a.protocol,
            "operator": self.a.operator,
            "n": self.a.n,
            "videos": self.videos,
            **runs,
            "metrics": {
                name: {
                    "a": one.a,
                    "b": one.b,
                    "difference": round(one.difference, 4),
                    "ci95": [round(bound, 4) for bound in one.ci95],
                    "real": one.real,
                }
                for name, one in self.metrics.items()
            },
        }


def compare_files(a: Path, b: Path, *, resamples: int = 1000, seed: int = 0) -> Comparison:
    """Compare two ``scores.json`` of the same task, protocol and queries.

    Raises:
        DataError: a file that is no scores.json with queries, or two files that cannot be compared; the message
            names the first query that only one of them has.
    """
    first, second = read_scores(a), read_scores(b)
    for name in ("task", "protocol", "operator"):
        if getattr(first, name) != getattr(second, name):
            raise DataError(
                f"{name} differs: {getattr(first, name)} in {a}, {getattr(second, name)} in {b}; "
                "score both in the same way"
            )
    if list(first.metrics) != list(second.metrics):
        raise DataError(f"{a} has the metrics {list(first.metrics)}, {b} has {list(second.metrics)}")

    # The paired bootstrap: differences per query, whole videos resampled.
    mine, other = first.queries, second.queries
    order = _same_queries(first, second)
    differences = other.values[order] - mine.values
    intervals = clustered_interval(
        differences, mine.videos, weights=mine.weights, resamples=resamples, seed=seed
    )
    means = mine.weights @ differences / mine.weights.sum()

    videos = len(set(mine.videos))
    return Comparison(
        first,
        second,
        videos,
        {
            name: Difference(
                first.metrics[name],
                second.metrics[name],
                float(mean),
                (float(low), float(high)),
                # One video has no spread: its interval is a point and says nothing about any other video.
                bool(videos > 1 and (low > 0 or high < 0)),
            )
            for name, mean, (low, high) in zip(first.metrics, means, intervals, strict=True)
        },
    )


def _same_queries(first: ScoresFile, second: ScoresFile) -> list[int]:
    """The rows of ``second`` in the order of ``first``."""
    # Both have the same questions.
    rows = {identity: row for row, identity in enumerate(second.queries.ids)}
    known = set(first.queries.ids)
    for one, only, its_ids, others in (
        (first, second, first.queries.ids, rows.keys()),
        (second, first, second.queries.ids, known),
    ):
        if only_here := [identity for identity in its_ids if identity not in others]:
            raise DataError(
                f"query {only_here[0]!r} is in {one.path} and not in {only.path} ({len(only_here)} such); "
                "score both runs against the same truth"
            )

    # A question is about the same video and weighs as much in both.
    order = [rows[identity] for identity in first.queries.ids]
    pairs = zip(
        first.queries.ids,
        zip(first.queries.videos, first.queries.weights.tolist(), strict=True),
        ((second.queries.videos[row], float(second.queries.weights[row])) for row in order),
        strict=True,
    )
    for identity, mine, other in pairs:
        if mine != other:
            raise DataError(
                f"query {identity!r} is about {mine[0]} with weight {mine[1]:g} in {first.path}, about "
                f"{other[0]} with weight {other[1]:g} in {second.path}; score both against the same truth"
            )
    return order


def read_scores(path: Path) -> ScoresFile:
    """A ``scores.json`` with its table of queries; DataError when it is something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror}); give a scores.json") from problem
    except (ValueError, RecursionError) as problem:
        raise DataError(f"{path}: not a JSON file (truncated?): {problem}") from problem

    # Is it a scores.json, and one with its queries?
    if not isinstance(content, dict) or content.get("schema") != SCORES_SCHEMA:
        raise DataError(f"{path}: is not a scores.json ({SCORES_SCHEMA}); write one with score --out")
    if "queries" not in content:
        raise DataError(f"{path}: holds no values of single queries; write it again with score --out")

    # Its means and its table of queries.
    try:
        metrics = {str(name): float(value) for name, value in content["metrics"].items()}
        columns = content["queries"]
        queries = QueryTable(
            _texts(columns["id"]),
            _texts(columns["video"]),
            _numbers(columns["weight"]),
            np.stack([_numbers(columns[name]) for name in metrics], axis=1),
        )
        found = ScoresFile(
            path,
            task=str(content["task"]),
            protocol=str(content["protocol"]),
            operator=str(content["operator"]),
            n=int(content["n"]),
            missing=int(content["missing"]),
            failed=int(content["failed"]),
            metrics=metrics,
            queries=queries,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as problem:
        raise DataError(f"{path}: missing or malformed field: {problem}") from problem

    _check_table(found)
    return found


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(values, list) or not set(map(type, values)) <= {str}:
        raise ValueError("the ids and videos of its queries must be lists of texts")
    return tuple(values)


def _numbers(values: Sequence[float]) -> NDArray[np.float64]:
    if not isinstance(values, list) or not set(map(type, values)) <= {int, float}:
        raise ValueError("the columns of its queries must be lists of numbers")
    return np.array(values, dtype=np.float64)


def _check_table(found: ScoresFile) -> None:
    queries = found.queries
    lengths = {len(queries.ids), len(queries.videos), len(queries.weights), len(queries.values), found.n}
    if len(lengths) > 1 or not found.n:
        raise DataError(f"{found.path}: the columns of its queries differ in length or from n = {found.n}")

    if len(set(queries.ids)) < found.n:
        repeated = Counter(queries.ids).most_common(1)[0][0]
        raise DataError(f"{found.path}: query {repeated!r} is there twice")
    if not np.isfinite(queries.values).all():
        raise DataError(f"{found.path}: a value of its queries is not a number")
    if not ((queries.weights > 0) & np.isfinite(queries.weights)).all():
        raise DataError(f"{found.path}: a weight is not positive, or not a number")

    means = queries.weights @ queries.values / queries.weights.sum()
    for name, mean in zip(found.metrics, means.tolist(), strict=True):
        # Columns and metrics are written with four decimals.
        if not abs(mean - found.metrics[name]) <= 1e-3:
            raise DataError(
                f"{found.path}: {name} is {found.metrics[name]}, but its column has mean {mean:.4f}"
            )


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write the comparison; it appears whole or not at all. InputError when the place is not writable."""
    write_whole(path, json.dumps(comparison.to_json(), indent=2) + "\n")
