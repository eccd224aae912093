"""Which answers cannot be used, and why: counted by the same words when they are made and when scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from bridge_stg.metrics.choice import has_right_letter, predicted_letter
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import WINDOW_TASKS

MISSING = "missing"


def failure_reason(record: TruthRecord, prediction: PredictionRecord | None) -> str | None:
    """Why a prediction holds no answer that the task of its record can use; None if it does.

    "missing", a status such as "no_window", or for status ok "no_window", "no_box", "several_boxes" or
    "no_letter". Such a query scores 0.
    """
    if prediction is None:
        return MISSING
    if prediction.status != "ok":
        return prediction.status
    if record.task in WINDOW_TASKS:
        return None if prediction.windows else "no_window"
    if record.task == "vqa":
        # What has no one letter can be answered all the same, though ``score`` knows no rule for it.
        lettered = has_right_letter(record)
        return "no_letter" if lettered and predicted_letter(record, prediction) is None else None

    count = len(prediction.boxes)
    if record.task == "rec" and count > 1:
        return "several_boxes"
    return None if count else "no_box"


@dataclass(frozen=True)
class FailureCounts:
    """How many of ``n`` queries have no usable answer, by ``failure_reason``; ``missing`` has its own count."""

    n: int
    missing: int
    by_reason: dict[str, int]

    @property
    def failed(self) -> int:
        """Predictions that are there and hold no usable answer."""
        return sum(self.by_reason.values())

    @property
    def words(self) -> str:
        """``4 failed (3 no_window, 1 failed)``."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.by_reason.items())
        return f"{self.failed} failed" + (f" ({reasons})" if reasons else "")


def count_failures(answers: Iterable[tuple[TruthRecord, PredictionRecord | None]]) -> FailureCounts:
    """Over queries whose event happens; an absent event has no usable answer to miss."""
    reasons = [failure_reason(record, prediction) for record, prediction in answers if not record.absent]
    counts = Counter(reason for reason in reasons if reason is not None)
    missing = counts.pop(MISSING, 0)
    return FailureCounts(len(reasons), missing, dict(sorted(counts.items())))
