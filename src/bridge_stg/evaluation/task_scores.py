"""Which metric scores which task: the one place that knows all five."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import DataError, InputError
from bridge_stg.metrics import choice, referring, stvg, temporal, tracking
from bridge_stg.metrics.query_scores import QueryScores
from bridge_stg.records.prediction import PredictionRecord, place_of
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import Task

# The tasks with one standard: its name, the operator, and what is compared in words.
STANDARDS: dict[Task, tuple[str, str, str]] = {
    "vtg": (temporal.PROTOCOL, temporal.OPERATOR, "R1@R counts tIoU >= R"),
    "vot": (tracking.PROTOCOL, tracking.OPERATOR, "SR@R counts IoU > R, frames pooled, first frame out"),
    "rec": (referring.PROTOCOL, referring.OPERATOR, "Acc@R counts IoU >= R of exactly one box"),
    "vqa": (choice.PROTOCOL, choice.OPERATOR, "accuracy counts the right letter"),
}
# A track is right when its mean overlap is above this.
RIGHT_OVERLAP = 0.5
STVG_DEFAULT: stvg.Protocol = "stcat"


@dataclass(frozen=True)
class Rule:
    """How a task is scored: ``protocol`` and ``operator`` by name, ``words`` for a person who reads a table."""

    task: Task
    protocol: str
    operator: str
    words: str


def rule_of(task: Task, protocol: str | None) -> Rule:
    """The rule of a task; only stvg has a choice of protocols (None: the one most of the literature uses).

    Raises:
        InputError: the protocol is unknown or belongs to another task.
    """
    if task == "stvg":
        chosen = stvg.parse_protocol(protocol or STVG_DEFAULT)
        operator = stvg.comparison(chosen)
        return Rule(task, chosen, operator, f"vIoU@R counts vIoU {operator} R")
    standard = STANDARDS[task]
    if protocol is not None and protocol != standard[0]:
        check_protocol(protocol)
        raise InputError(
            f"protocol {protocol!r} is not one of task {task}, which is scored by {standard[0]}; "
            "leave --protocol out"
        )
    return Rule(task, *standard)


def check_protocol(protocol: str | None) -> None:
    """InputError when no task has such a protocol; what can be said before any file is read."""
    if protocol is not None and protocol not in {name for name, _, _ in STANDARDS.values()}:
        stvg.parse_protocol(protocol)


def score_queries(
    rule: Rule, records: Sequence[TruthRecord], predictions: Sequence[PredictionRecord | None]
) -> QueryScores:
    """The values of each query in the metrics of its task; None is a missing prediction.

    Raises:
        DataError: a true record that cannot be scored.
    """
    if rule.task == "stvg":
        return stvg.score_queries(records, predictions, stvg.parse_protocol(rule.protocol))
    if rule.task == "vtg":
        return temporal.score_queries(records, predictions)
    if rule.task == "vot":
        return tracking.score_queries(records, predictions)
    if rule.task == "rec":
        return referring.score_queries(records, predictions)
    return choice.score_queries(records, predictions)


def is_right(task: Task, row: NDArray[np.float64]) -> bool:
    """Whether the answer to a query whose event happens is right, by its values (K,) in the metrics of a task.

    The first column decides: R1@0.5 of tasks with windows, as moment retrieval counts, Acc@0.5 of rec, accuracy
    of vqa; of vot the mean overlap, which must be above ``RIGHT_OVERLAP``.
    """
    return bool(row[0] > RIGHT_OVERLAP) if task == "vot" else bool(row[0] == 1)


def task_to_score(
    truth: Sequence[TruthRecord], predictions: Mapping[str, PredictionRecord], path: Path | None = None
) -> Task:
    """The task that the predictions answer.

    Without any prediction it is that of the truth if it holds one task only, else stvg.

    Args:
        truth, predictions: every predicted id is one of the truth.
        path: the file of the predictions, so that a message can name the line.

    Raises:
        DataError: they answer more than one task, or there are none and the truth holds several without stvg.
    """
    tasks = {record.id: record.task for record in truth}
    answered: Task | None = None
    for identity in predictions:
        task = tasks[identity]
        if answered is not None and task != answered:
            raise DataError(
                f"{place_of(path, identity)}prediction {identity!r}: answers a question of task {task}, those "
                f"before it of {answered}; say which to score with --task {answered} or --task {task}"
            )
        answered = task
    if answered is not None:
        return answered
    held = set(tasks.values())
    if len(held) == 1:
        return held.pop()
    if "stvg" in held:
        return "stvg"
    raise DataError(f"there is no prediction to tell which of {', '.join(sorted(held))} to score; use --task")
