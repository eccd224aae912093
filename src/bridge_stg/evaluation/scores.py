"""What ``score`` finds out, and how it is written down: ``scores.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge_stg.evaluation.failures import FailureCounts
from bridge_stg.files.output_files import write_whole
from bridge_stg.metrics.calibration import ReliabilityBin, expected_calibration_error
from bridge_stg.types import Task

SCORES_SCHEMA = "bridge-stg/scores/1"
Interval = tuple[float, float]


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
class MomentScores:
    """The scored windows of queries with a true window, as moment retrieval counts them; percent."""

    metrics: dict[str, float]
    ci95: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        return {"metrics": rounded(self.metrics), "ci95": _rounded_intervals(self.ci95)}


@dataclass(frozen=True)
class RefusalScores:
    """How often the answer is that the event does not happen, in percent.

    ``refused`` is the share of the ``n`` absent queries that are refused, which should be 100;
    ``present_refused`` that of the queries whose event happens, which should be 0.
    """

    n: int
    refused: float
    refused_ci95: Interval
    present_refused: float
    present_refused_ci95: Interval

    def to_json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "refused": round(self.refused, 4),
            "present_refused": round(self.present_refused, 4),
            "ci95": _rounded_intervals(
                {"refused": self.refused_ci95, "present_refused": self.present_refused_ci95}
            ),
        }


@dataclass(frozen=True)
class CalibrationScores:
    """How far the confidence of answers can be trusted, over the ``n`` that state one."""

    n: int
    bins: tuple[ReliabilityBin, ...]

    @property
    def expected_error(self) -> float:
        """The expected calibration error, in [0, 1]."""
        return expected_calibration_error(list(self.bins))

    def to_json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "expected_calibration_error": round(self.expected_error, 4),
            "bins": [asdict(one) for one in self.bins],
        }


@dataclass(frozen=True)
class Scores:
    """The scores of one set of predictions; metrics and intervals in percent.

    ``n`` queries are scored: those of the task whose event happens. ``failures`` says which of them have no
    usable answer; they scored zero. ``split`` names the parts of the data set the queries are of, None if they
    do not say. ``by_category``, ``by_kind`` and ``by_subtitles`` are for vqa whose records have them.
    ``moments`` is for tasks with windows, ``refusals`` for a truth with absent events or answers that refuse,
    ``calibration`` for answers with a confidence; None otherwise. ``not_scored`` counts the true records of
    other tasks, which were left aside.
    """

    task: Task
    protocol: str
    operator: str
    words: str
    split: str | None
    n: int
    failures: FailureCounts
    metrics: dict[str, float]
    ci95: dict[str, Interval]
    by_qtype: dict[str, PartScores]
    by_category: dict[str, PartScores]
    by_kind: dict[str, PartScores]
    by_subtitles: dict[str, PartScores]
    queries: QueryTable
    moments: MomentScores | None = None
    refusals: RefusalScores | None = None
    calibration: CalibrationScores | None = None
    not_scored: dict[str, int] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Queries without a prediction."""
        return self.failures.missing

    @property
    def failed(self) -> int:
        """Predictions that hold no usable answer."""
        return self.failures.failed

    def to_json(self) -> dict[str, Any]:
        """The object that ``score --out`` writes (schema ``bridge-stg/scores/1``), without the queries."""
        parts = {"by_qtype": self.by_qtype}
        if self.task == "vqa":
            parts |= {
                "by_category": self.by_category,
                "by_kind": self.by_kind,
                "by_subtitles": self.by_subtitles,
            }
        content: dict[str, Any] = {
            "schema": SCORES_SCHEMA,
            "task": self.task,
            "protocol": self.protocol,
            "operator": self.operator,
            "split": self.split,
            "n": self.n,
            "missing": self.missing,
            "failed": self.failed,
            "failed_by": self.failures.by_reason,
            "metrics": rounded(self.metrics),
            "ci95": _rounded_intervals(self.ci95),
        }

        for title, found in parts.items():
            content[title] = {
                name: {"n": part.n, "metrics": rounded(part.metrics)} for name, part in found.items()
            }
        if self.moments is not None:
            content["moment_retrieval"] = self.moments.to_json()
        if self.refusals is not None:
            content["absent"] = self.refusals.to_json()
        if self.calibration is not None:
            content["calibration"] = self.calibration.to_json()

        content["not_scored"] = self.not_scored
        return content


@dataclass(frozen=True)
class ScoreReport:
    """The scores that were asked for, and what to read them against.

    ``beside`` are other prediction sets by name. ``no_skill`` is the name of the one among them that a score
    has to beat before it means anything. ``answer_tokens`` is the mean length of an answer, None if nothing
    beside the predictions says it.
    """

    scores: Scores
    beside: dict[str, Scores]
    no_skill: str
    answer_tokens: float | None = None

    def to_json(self) -> dict[str, Any]:
        """``Scores.to_json``, the metrics of each other set, and the table of queries."""
        return self.scores.to_json() | {
            "answer_tokens": self.answer_tokens,
            "beside": {name: rounded(other.metrics) for name, other in self.beside.items()},
            "no_skill": self.no_skill,
            "queries": self.scores.queries.to_json(list(self.scores.metrics)),
        }

    def to_text(self) -> str:
        """``scores.json``: indented, but each column of the table of queries on one line."""
        content = self.to_json()
        columns = content.pop("queries")
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(values)}" for name, values in columns.items())
        return json.dumps(content, indent=2).removesuffix("\n}") + f',\n  "queries": {{\n{lines}\n  }}\n}}\n'


def write_scores(path: Path, report: ScoreReport) -> None:
    """Write ``scores.json``; it appears whole or not at all. InputError when the place is not writable."""
    write_whole(path, report.to_text())


def rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    """Values as they are written: four decimals."""
    return {name: round(value, 4) for name, value in metrics.items()}


def _rounded_intervals(intervals: Mapping[str, Interval]) -> dict[str, list[float]]:
    return {name: [round(low, 4), round(high, 4)] for name, (low, high) in intervals.items()}
