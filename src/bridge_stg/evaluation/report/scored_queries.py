"""A set of predictions laid beside its truth: one row per query, scored by the metrics room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge_stg.evaluation.task_scores import rule_of, score_queries
from bridge_stg.metrics.query_scores import QueryScores
from bridge_stg.records.part import true_windows
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import Task, TimeSpan

# The columns of ``QueryScores`` that hold the two overlaps of a query, by task.
_TIOU: dict[Task, str] = {"stvg": "m_tIoU", "vtg": "mIoU"}
_VIOU: dict[Task, str] = {"stvg": "m_vIoU"}


@dataclass(frozen=True)
class ScoredQueries:
    """N queries that have a true window, their answers and their scores, in the order of the truth.

    ``answers`` has None where a prediction is missing. Shapes: ``tiou`` and ``viou`` (N,) in [0, 1], as the
    protocol defines them; ``viou`` is None for a task without boxes.
    """

    records: tuple[TruthRecord, ...]
    answers: tuple[PredictionRecord | None, ...]
    scores: QueryScores
    tiou: NDArray[np.float64]
    viou: NDArray[np.float64] | None

    def means(self, rows: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Each metric in percent over ``rows`` (N,) (all by default); {} if there is none."""
        return self.scores.means(rows) if rows is None or rows.any() else {}

    def predicted_windows(self) -> list[TimeSpan | None]:
        """The window of each answer, seconds; None without a usable one."""
        return [window_of(answer) for answer in self.answers]


def score_each(
    truth: Sequence[TruthRecord],
    predictions: Mapping[str, PredictionRecord],
    task: Task,
    protocol: str | None,
) -> ScoredQueries | None:
    """Lay the queries of a task beside their predictions; None for a task without windows (vot, rec, vqa).

    Raises:
        InputError: a protocol that the task does not have.
        DataError: a true record that cannot be scored.
    """
    if task not in _TIOU:
        return None
    records = tuple(record for record in truth if record.task == task and not record.absent)
    answers = tuple(predictions.get(record.id) for record in records)
    scores = score_queries(rule_of(task, protocol), records, answers)
    column = {name: scores.values[:, number] for number, name in enumerate(scores.names)}
    return ScoredQueries(
        records,
        answers,
        scores,
        column[_TIOU[task]],
        column[_VIOU[task]] if task in _VIOU else None,
    )


def window_of(answer: PredictionRecord | None) -> TimeSpan | None:
    """The window that counts, seconds; None if the answer is missing, failed or names none."""
    return answer.best_window if answer is not None and answer.status == "ok" else None


def true_window(record: TruthRecord) -> TimeSpan:
    """The true window in seconds: as annotated in seconds, or else that of its frames."""
    return true_windows(record)[0]  # every stvg and vtg record has one
