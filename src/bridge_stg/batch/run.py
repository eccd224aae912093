"""One batch from its questions to its files; given again, it asks what has no answer yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bridge_stg.batch.answer_store import AnswerStore
from bridge_stg.batch.cluster import run
from bridge_stg.batch.questions import BatchQuestion, by_video
from bridge_stg.batch.summary import write_summary
from bridge_stg.batch.workers import BatchModel
from bridge_stg.errors import InputError
from bridge_stg.files.descriptions import changed_plan
from bridge_stg.files.json_lines import to_line
from bridge_stg.files.one_writer import only_writer
from bridge_stg.files.output_files import whole_file

RUN = "run.json"
# (questions done, questions of this run)
OnAnswer = Callable[[int, int], None]


@dataclass(frozen=True)
class BatchReport:
    """``kept`` had their answers before; ``answered`` and ``failed`` are of this run."""

    kept: int
    answered: int
    failed: int
    summary: Path


def run_batch(
    questions: Sequence[BatchQuestion],
    model: BatchModel,
    out: Path,
    *,
    address: str = "local",
    workers: int | None = None,
    jsonl: bool = False,
    on_answer: OnAnswer | None = None,
) -> BatchReport:
    """Answer every question that ``out`` has no answer to.

    Args:
        out: the folder of the batch; of an earlier run with the same model, or new.
        address, workers: as in :func:`bridge_stg.batch.cluster.run`.
        jsonl: write ``tubes.jsonl`` too, one object of tube.json a line.

    Raises:
        InputError: ``out`` is of another model, is in use, or cannot be written.
        BridgeSTGError: the workers cannot be started.
    """
    with only_writer(out, out / "batch.lock"):
        # Only now: to open the store is to tidy its journal, which another run may be writing.
        _check_model(out / RUN, model)
        store = AnswerStore(out)
        waiting = [question for question in questions if question.id not in store.answered]
        done = answered = 0
        if waiting:
            for answer in run(by_video(waiting), model, address, workers):
                if answer.result is None:
                    store.fail(answer.id, answer.video, answer.query, answer.reason)
                elif answer.id not in store.answered:
                    store.add(answer.id, answer.result)
                    answered += 1
                done += 1
                if on_answer is not None:
                    on_answer(done, len(waiting))
        store.flush()

        if jsonl:
            # Line by line: all answers of a large batch are more than memory.
            with whole_file(out / "tubes.jsonl") as unfinished, unfinished.open("w", encoding="utf-8") as file:
                file.writelines(map(to_line, store.results()))
        summary = write_summary(out, store.results(), store.failed, model.checkpoint)
        return BatchReport(len(questions) - len(waiting), answered, store.failed, summary)


def _check_model(path: Path, model: BatchModel) -> None:
    """Answers of two models must not come into one folder."""
    said = {name: value for name, value in asdict(model).items() if name not in ("device", "drawings")}
    if model.detector is None:  # folders that were begun before there was a choice do not name it
        del said["detector"]
    if changed := changed_plan(path, said):
        raise InputError(
            f"{path.parent}: holds answers with another {' and '.join(changed)}; give another --out"
        )
