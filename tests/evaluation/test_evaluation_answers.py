"""What a score says beside the old metrics: several windows, absent events, confidence, failures, no skill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bridge_stg.cli.main import app
from bridge_stg.evaluation.constants import no_skill_answers
from bridge_stg.evaluation.failures import count_failures, failure_reason
from bridge_stg.evaluation.score import score
from bridge_stg.evaluation.task_scores import rule_of, score_queries
from bridge_stg.records.prediction import PredictionRecord, write_predictions
from bridge_stg.records.record import TruthRecord, write_truth
from bridge_stg.types import Task, TimeSpan

BOX = (0.0, 0.0, 10.0, 10.0)


def truth(name: str, task: Task = "vtg", **changes: Any) -> TruthRecord:
    """A 10 fps video of ten seconds; what the task needs."""
    values: dict[str, Any] = {"video": f"{name}.mp4", "fps": 10.0, "frame_count": 100, "clip": (0, 100)}
    values |= {"width": 40, "height": 40, "query": "?"}
    if not changes.get("absent") and "windows" not in changes and task in ("stvg", "vtg"):
        values["window"] = (20, 40)
    if task == "vqa":
        values |= {"choices": ("x", "y", "z"), "choice": "B"}
    if task in ("stvg", "vot") and not changes.get("absent"):
        values["boxes"] = dict.fromkeys(range(20, 40), BOX)
    if task == "rec":
        values["boxes"] = {20: BOX}
    return TruthRecord(id=name, task=task, **values | changes)


def windows(*spans: tuple[float, float]) -> tuple[tuple[TimeSpan, float], ...]:
    return tuple((TimeSpan(*span), 1.0 - 0.1 * place) for place, span in enumerate(spans))


def answer(name: str, *spans: tuple[float, float], **changes: Any) -> PredictionRecord:
    return PredictionRecord(name, windows=windows(*spans), **changes)


def boxed(name: str, *boxes: tuple[float, float, float, float], **changes: Any) -> PredictionRecord:
    times = np.arange(len(boxes)) / 10 + 2
    return PredictionRecord(name, times=times, boxes=np.array(boxes), scores=np.ones(len(boxes)), **changes)


def by_id(*answers: PredictionRecord) -> dict[str, PredictionRecord]:
    return {one.id: one for one in answers}


# --- several windows


def test_an_event_that_happens_twice_is_scored_by_both_windows() -> None:
    records = [truth("twice", windows=((20, 40), (60, 80)))]
    both = score(records, by_id(answer("twice", (6.0, 8.0), (2.0, 4.0))))
    # The old metrics look at the best window alone, the new ones at all.
    assert both.metrics["R1@0.7"] == both.metrics["mIoU"] == 100
    assert both.moments is not None
    assert both.moments.metrics["mAP@[.5:.95]"] == 100
    one = score(records, by_id(answer("twice", (6.0, 8.0))))
    assert one.metrics["mIoU"] == 100
    assert one.moments is not None
    assert one.moments.metrics["mAP@[.5:.95]"] == 50


def test_boxes_are_judged_in_the_window_that_was_found() -> None:
    later = dict.fromkeys(range(60, 80), (20.0, 20.0, 30.0, 30.0))
    twice = truth("q", "stvg", windows=((20, 40), (60, 80)), boxes=dict.fromkeys(range(20, 40), BOX) | later)
    right = PredictionRecord(
        "q",
        windows=windows((6.0, 8.0)),
        times=np.array([6.0]),
        boxes=np.array([[20.0, 20.0, 30.0, 30.0]]),
        scores=np.ones(1),
    )
    assert score([twice], by_id(right)).metrics["m_vIoU"] == 100


# --- absent events

BALANCED = [*(truth(f"here{n}") for n in range(4)), *(truth(f"gone{n}", absent=True) for n in range(4))]


def test_absent_and_present_refusals_are_counted_apart() -> None:
    answers = by_id(
        answer("here0", (2.0, 4.0)),
        answer("here1", (2.0, 4.0)),
        answer("here2", (2.0, 4.0)),
        answer("here3", status="absent"),
        answer("gone0", status="absent"),
        answer("gone1", status="absent"),
        answer("gone2", (1.0, 2.0)),
        # gone3 has no answer: that is no refusal.
    )
    found = score(BALANCED, answers)
    assert (found.n, found.missing, found.failures.by_reason) == (4, 0, {"absent": 1})
    assert found.metrics["R1@0.5"] == 75
    assert found.refusals is not None
    assert (found.refusals.n, found.refusals.refused, found.refusals.present_refused) == (4, 50, 25)
    low, high = found.refusals.refused_ci95
    assert low <= 50 <= high


def test_without_absent_events_and_refusals_nothing_is_said_of_them() -> None:
    assert score([truth("a")], by_id(answer("a", (2.0, 4.0)))).refusals is None


# --- confidence


def test_confidence_is_held_against_being_right() -> None:
    records = [truth("right"), truth("wrong"), truth("gone", absent=True), truth("silent")]
    answers = by_id(
        answer("right", (2.0, 4.0), confidence=0.9),
        answer("wrong", (7.0, 8.0), confidence=0.9),
        answer("gone", status="absent", confidence=1.0),
        answer("silent", (2.0, 4.0)),
    )
    found = score(records, answers).calibration
    assert found is not None
    assert found.n == 3
    # Two answers at 0.9 of which half is right, one refusal at 1.0 that is.
    assert found.expected_error == pytest.approx(2 / 3 * 0.4)


@pytest.mark.parametrize(
    ("record", "prediction", "right"),
    [
        (truth("q", "stvg"), boxed("q", BOX, windows=windows((2.0, 4.0)), confidence=1.0), True),
        (truth("q", "stvg"), boxed("q", BOX, windows=windows((2.0, 2.9)), confidence=1.0), False),
        (truth("q", "vot"), boxed("q", BOX, confidence=1.0), True),
        (truth("q", "vot"), boxed("q", (0.0, 0.0, 10.0, 4.0), confidence=1.0), False),
        (truth("q", "rec"), boxed("q", BOX, confidence=1.0), True),
        (truth("q", "rec"), boxed("q", (9.0, 9.0, 20.0, 20.0), confidence=1.0), False),
        (truth("q", "vqa"), PredictionRecord("q", choice="B", confidence=1.0), True),
        (truth("q", "vqa"), PredictionRecord("q", choice="A", confidence=1.0), False),
    ],
)
def test_what_is_right_in_each_task(record: TruthRecord, prediction: PredictionRecord, right: bool) -> None:
    found = score([record], by_id(prediction)).calibration
    assert found is not None
    assert found.expected_error == pytest.approx(0.0 if right else 1.0)


# --- failures

ANSWERS: dict[Task, list[tuple[PredictionRecord | None, str | None]]] = {
    "vtg": [
        (answer("q", (2.0, 4.0)), None),
        (answer("q"), "no_window"),
        (answer("q", status="no_window"), "no_window"),
        (answer("q", status="empty_window"), "empty_window"),
        (answer("q", status="absent"), "absent"),
        (answer("q", status="failed"), "failed"),
        (None, "missing"),
    ],
    "stvg": [(boxed("q", BOX, windows=windows((2.0, 4.0))), None), (boxed("q", BOX), "no_window")],
    "vot": [(boxed("q", BOX), None), (answer("q", (2.0, 4.0)), "no_box")],
    "rec": [(boxed("q", BOX), None), (boxed("q", BOX, BOX), "several_boxes"), (answer("q"), "no_box")],
    "vqa": [
        (PredictionRecord("q", text="the answer is B"), None),
        (PredictionRecord("q", text="the red one"), "no_letter"),
        (PredictionRecord("q", choice="D"), "no_letter"),
    ],
}


@pytest.mark.parametrize("task", ANSWERS)
def test_what_counts_as_failed_is_what_the_metric_scores_as_failed(task: Task) -> None:
    record = truth("q", task)
    for prediction, reason in ANSWERS[task]:
        assert failure_reason(record, prediction) == reason
        failed = score_queries(rule_of(task, None), [record], [prediction]).failed
        assert failed.tolist() == [reason is not None]


@pytest.mark.parametrize(
    "changes",
    [{"choices": (), "choice": None, "answer": "red"}, {"choice": None, "labels": (True, False, True)}],
)
def test_questions_without_one_right_letter_can_be_answered(changes: dict[str, Any]) -> None:
    assert failure_reason(truth("q", "vqa", **changes), PredictionRecord("q", text="red")) is None


def test_failures_are_counted_by_their_reason() -> None:
    counts = count_failures((truth("q", "vtg"), prediction) for prediction, _ in ANSWERS["vtg"])
    assert (counts.n, counts.missing, counts.failed) == (7, 1, 5)
    assert counts.by_reason == {"absent": 1, "empty_window": 1, "failed": 1, "no_window": 2}
    assert counts.words == "5 failed (1 absent, 1 empty_window, 1 failed, 2 no_window)"


# --- what a score has to beat


def test_the_first_box_held_still_is_the_line_of_tracking() -> None:
    away = (20.0, 20.0, 30.0, 30.0)
    record = truth("q", "vot", boxes={5: BOX, 6: BOX, 7: away})
    names = no_skill_answers([record], "vot")
    assert list(names)[-1] == "first box held still"
    # Of the frames after the first, one has the box of the first.
    assert score([record], names["first box held still"]).metrics["AO"] == 50


def test_the_commonest_letter_is_the_line_of_multiple_choice() -> None:
    records = [truth(f"q{n}", "vqa", choice=letter) for n, letter in enumerate("CCB")]
    names = no_skill_answers(records, "vqa")
    assert list(names) == ["always A", "commonest letter"]
    assert score(records, names["commonest letter"]).metrics["accuracy"] == pytest.approx(200 / 3)


# --- the command


def test_the_command_prints_and_writes_all_of_it(tmp_path: Path) -> None:
    write_truth(tmp_path / "truth.jsonl", BALANCED)
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    write_predictions(predictions / "rank-00000.jsonl", [answer("here0", (2.0, 4.0), confidence=0.5)])
    write_predictions(predictions / "rank-00001.jsonl", [answer("gone0", status="absent", confidence=0.75)])
    out = tmp_path / "scores.json"
    words = ["--truth", str(tmp_path / "truth.jsonl"), "--predictions", str(predictions), "--out", str(out)]
    done = CliRunner().invoke(app, ["score", *words])
    assert done.exit_code == 0, done.output
    for part in ("moment retrieval: R1@0.5 25.0", "25.0%", "calibration error 0.375", "(no skill)"):
        assert part in done.output

    content = json.loads(out.read_text())
    assert content["moment_retrieval"]["metrics"]["mAP@[.5:.95]"] == 25
    assert content["absent"]["n"] == 4
    assert content["absent"]["refused"] == 25
    assert content["calibration"]["expected_calibration_error"] == 0.375
    assert len(content["calibration"]["bins"]) == 15
    assert content["no_skill"] == "best constant answer"
    assert content["answer_tokens"] is None
