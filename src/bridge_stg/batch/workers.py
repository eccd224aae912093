"""What a worker of a batch does: it loads one model, and answers the questions about one video at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bridge_stg.batch.questions import BatchQuestion, VideoQuestions
from bridge_stg.errors import InputError, VideoError, one_line
from bridge_stg.inference.options import GroundOptions
from bridge_stg.types import TimeSpan
from bridge_stg.zero_shot.open_grounder import GrounderName

# A video that ended this many workers is not given to another one.
_DEATHS = 2


@dataclass(frozen=True)
class BatchModel:
    """What every worker loads, and how it answers."""

    checkpoint: str
    method: GrounderName
    device: str | None = None
    box_fps: float | None = None
    # Where annotated videos go; None draws none. All workers must see this folder.
    drawings: str | None = None
    # Of the method "compose"; None is its own.
    detector: str | None = None


@dataclass(frozen=True)
class Answer:
    """One question with its object of tube.json, or with the reason why there is none."""

    id: str
    video: str
    query: str
    result: dict[str, Any] | None
    reason: str = ""


class Attempts:
    """How often each video was begun and not finished; kept in a process that outlives the workers."""

    def __init__(self) -> None:
        self._begun: dict[str, int] = {}

    def begin(self, video: str) -> bool:
        """False for a video that has ended too many workers."""
        if self._begun.get(video, 0) >= _DEATHS:
            return False
        self._begun[video] = self._begun.get(video, 0) + 1
        return True

    def end(self, video: str) -> None:
        self._begun.pop(video, None)


class VideoWorker:
    """What Ray makes once per worker and calls with tasks: columns in, columns out."""

    def __init__(self, model: BatchModel, attempts: Any) -> None:
        from transformers.utils.logging import disable_progress_bar

        from bridge_stg.zero_shot.open_grounder import open_grounder

        disable_progress_bar()
        self.model, self.attempts = model, attempts
        threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
        self.grounder = open_grounder(model.method, model.checkpoint, model.device, threads, model.detector)

    def __call__(self, columns: dict[str, Any]) -> dict[str, list[str]]:
        answers: list[Answer] = []
        for text in columns["video_questions"]:
            answers += self._answer(_unpack(str(text)))
        return {"answer": [json.dumps(asdict(answer)) for answer in answers]}

    def _answer(self, asked: VideoQuestions) -> list[Answer]:
        import ray

        place = json.dumps([asked.video, asked.clip])
        if not ray.get(self.attempts.begin.remote(place)):
            return _failed(asked.questions, f"reading it ended {_DEATHS} workers; re-encode it as H.264 mp4")
        answers = self._ground(asked.video, asked.clip, asked.questions)
        ray.get(self.attempts.end.remote(place))
        return answers

    def _ground(
        self, video: str, clip: tuple[float, float] | None, questions: Sequence[BatchQuestion]
    ) -> list[Answer]:
        from torch import OutOfMemoryError

        span = None if clip is None else TimeSpan(*clip)
        options = GroundOptions(clip=span, box_fps=self.model.box_fps)
        try:
            results = self.grounder.ground_with(video, [question.query for question in questions], options)
        except InputError as problem:
            if len(questions) > 1 and not isinstance(problem, VideoError):
                # One sentence that cannot be asked does not take the others of its video with it.
                return [answer for one in questions for answer in self._ground(video, clip, [one])]
            return _failed(questions, str(problem))
        except (OutOfMemoryError, MemoryError) as problem:
            return _failed(questions, f"out of memory: {one_line(problem, 200)}")

        answers = []
        for question, result in zip(questions, results, strict=True):
            if self.model.drawings is not None and result.status == "ok":
                from bridge_stg.inference.drawing import write_annotated

                met: list[str] = []
                out = Path(self.model.drawings) / drawing_name(question.id)
                write_annotated(result, video, out, on_note=met.append)
                result = result.with_notes(met)
            answers.append(Answer(question.id, question.video, question.query, result.to_json()))
        return answers


def drawing_name(question_id: str) -> str:
    """The file of a question's annotated video; an id from a manifest cannot lead out of the folder."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in question_id)
    return f"{safe.lstrip('.')[:150] or 'question'}.mp4"


def _failed(questions: Sequence[BatchQuestion], reason: str) -> list[Answer]:
    return [Answer(one.id, one.video, one.query, None, reason) for one in questions]


def _unpack(text: str) -> VideoQuestions:
    told = json.loads(text)
    clip = None if told["clip"] is None else (told["clip"][0], told["clip"][1])
    questions = tuple(BatchQuestion(**{**one, "clip": clip}) for one in told["questions"])
    return VideoQuestions(told["video"], clip, questions)
