"""Questions of a truth file, put together by the clip that answers them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge_stg.errors import InputError
from bridge_stg.geometry.spans import frame_time, frames_to_span
from bridge_stg.records.question_text import asked_part, question_text
from bridge_stg.records.record import TruthRecord
from bridge_stg.types import Task, TimeSpan, parse_task


@dataclass(frozen=True)
class ClipQuestions:
    """All questions of one task about one part of one video: they share its decoding and its vision pass.

    ``frames`` is the part, half-open source frames; None for the whole video.
    """

    task: Task
    video: str
    frames: tuple[int, int] | None
    records: tuple[TruthRecord, ...]

    @property
    def span(self) -> TimeSpan | None:
        """The part in seconds on the clock of the file; None for the whole video."""
        return None if self.frames is None else frames_to_span(*self.frames, self.records[0].fps)

    @property
    def times(self) -> list[float] | None:
        """The second of each picture of a folder, which has no clock of its own; None for a file."""
        first = self.records[0]
        if first.media != "frames":
            return None
        return [frame_time(frame, first.fps) for frame in range(first.frame_count)]

    @property
    def queries(self) -> list[str]:
        """What the model is asked: the words it was trained with.

        Raises:
            DataError: an object to track has no box to begin with.
        """
        return [question_text(record) for record in self.records]


def choose_task(records: Sequence[TruthRecord], wanted: Task | None, path: Path) -> Task:
    """The task to be asked: the wanted one, else stvg if there is any, else the only one.

    Raises:
        InputError: the truth holds none of it, or several others and none was named.
    """
    counts = Counter(record.task for record in records)
    held = ", ".join(f"{count} {task}" for task, count in sorted(counts.items()))
    if wanted is not None:
        if parse_task(wanted) not in counts:
            raise InputError(f"{path}: holds no {wanted} question, but {held}; give another --task")
        return wanted
    if "stvg" in counts:
        return "stvg"
    if len(counts) > 1:
        raise InputError(f"{path}: holds {held}; say which with --task")
    return next(iter(counts))


def group_questions(records: Sequence[TruthRecord], task: Task) -> tuple[ClipQuestions, ...]:
    """The questions of ``task`` by clip, in the order of their videos and clips; in a clip, as in the truth.

    Raises:
        DataError: a rec question that does not say which frame it is about.
    """
    groups: dict[tuple[str, tuple[int, int], float, str], list[TruthRecord]] = {}
    for record in records:
        if record.task == task:
            key = (record.video, asked_part(record), record.fps, record.media)
            groups.setdefault(key, []).append(record)
    found = []
    for (video, frames, _, _), members in sorted(groups.items(), key=lambda item: item[0]):
        # Whole is whole, even where the truth and the file disagree by a frame.
        whole = task != "rec" and frames == (0, members[0].frame_count)
        found.append(ClipQuestions(task, video, None if whole else frames, tuple(members)))
    return tuple(found)
