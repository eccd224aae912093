"""Which part of which file a record asks about, on the clock of the file.

Prediction, training, the frame cache and the report ask here, so that all of them read the same frames.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bridge_stg.errors import DataError, InputError
from bridge_stg.records.question_text import question_text
from bridge_stg.records.record import FrameSpan, TruthRecord
from bridge_stg.types import FrameTimes, Task, TimeSpan, parse_task

# A file may be this much wider or narrower than annotated before it counts as another video.
ASPECT_SLACK = 0.03


def same_aspect(annotated: tuple[int, int], found: tuple[int, int]) -> bool:
    """Whether a file whose frames are ``found`` (width, height) can be what was annotated at another size.

    >>> same_aspect((640, 360), (1920, 1080)), same_aspect((640, 360), (360, 640))
    (True, False)
    """
    return abs((found[0] / found[1]) / (annotated[0] / annotated[1]) - 1) <= ASPECT_SLACK


def asked_frames(record: TruthRecord) -> FrameSpan:
    """The source frames that a question is about, half-open: one for rec, otherwise the clip.

    Raises:
        DataError: a rec question about more than one frame.
    """
    if record.task != "rec":
        return record.clip
    if len(record.boxes) == 1:
        frame = next(iter(record.boxes))
        return frame, frame + 1
    if record.clip[1] - record.clip[0] == 1:
        return record.clip
    raise DataError(
        f"record {record.id!r}: a rec question is about one frame, but {len(record.boxes)} frames have a box "
        f"and the clip is {list(record.clip)}; annotate one frame, or make it the clip"
    )


def asked_moment(record: TruthRecord) -> float:
    """The second at which the frame of a rec question appears; 0 in a picture.

    Raises:
        DataError: it is about more than one frame.
    """
    frame, _ = asked_frames(record)
    return 0.0 if record.media == "image" else record.clock.time(frame)


def asked_span(record: TruthRecord) -> TimeSpan | None:
    """What has to be read: seconds on the clock of the file, a single moment for rec; None for the whole file.

    Raises:
        DataError: a rec question about more than one frame.
    """
    if record.task == "rec":
        moment = asked_moment(record)
        return TimeSpan(moment, moment)
    # Whole is whole, even where the truth and the file disagree by a frame.
    return None if record.clip == (0, record.frame_count) else clip_span(record)


def clip_span(record: TruthRecord) -> TimeSpan:
    """The seconds of the clip of a record."""
    return record.clock.span(*record.clip)


def true_windows(record: TruthRecord) -> tuple[TimeSpan, ...]:
    """The true windows in seconds: as annotated in seconds, or else those of its frames."""
    if record.seconds is not None:
        return (TimeSpan(*record.seconds),)
    return tuple(record.clock.span(*window) for window in record.all_windows)


def picture_times(record: TruthRecord) -> list[float] | None:
    """The second of each picture of a folder, which has no clock of its own; None for a file."""
    if record.media != "frames":
        return None
    times: list[float] = record.clock.times.tolist()
    return times


@dataclass(frozen=True)
class ClipQuestions:
    """All questions of one task about one part of one video: they share its decoding and its vision pass.

    ``frames`` is the part, half-open source frames; None for the whole video.
    """

    task: Task
    video: str
    frames: FrameSpan | None
    records: tuple[TruthRecord, ...]

    @property
    def span(self) -> TimeSpan | None:
        """The part in seconds on the clock of the file; None for the whole video."""
        return None if self.frames is None else self.records[0].clock.span(*self.frames)

    @property
    def times(self) -> list[float] | None:
        """The second of each picture of a folder, which has no clock of its own; None for a file."""
        return picture_times(self.records[0])

    @property
    def queries(self) -> list[str]:
        """What the model is asked: the words it was trained with.

        Raises:
            DataError: an object to track has no box to begin with.
        """
        return [question_text(record) for record in self.records]


# A record, or the questions of a clip.
AskedOf = TypeVar("AskedOf", TruthRecord, ClipQuestions)


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


def of_first_videos(asked: Iterable[AskedOf], limit: int | None) -> tuple[AskedOf, ...]:
    """What is asked about the first ``limit`` videos by name, in the order given; all of it with None."""
    asked = tuple(asked)
    chosen = set(sorted({one.video for one in asked})[:limit])
    return tuple(one for one in asked if one.video in chosen)


def group_questions(records: Sequence[TruthRecord], task: Task) -> tuple[ClipQuestions, ...]:
    """The questions of ``task`` by clip, in the order of their videos and clips; in a clip, as in the truth.

    Raises:
        DataError: a rec question that does not say which frame it is about.
    """
    groups: dict[tuple[str, FrameSpan, float, str, FrameTimes | None], list[TruthRecord]] = {}
    for record in records:
        if record.task == task:
            key = (record.video, asked_frames(record), record.fps, record.media, record.frame_times)
            groups.setdefault(key, []).append(record)

    found = []
    for (video, frames, *_), members in sorted(groups.items(), key=lambda item: item[0][:4]):
        whole = task != "rec" and frames == (0, members[0].frame_count)
        found.append(ClipQuestions(task, video, None if whole else frames, tuple(members)))
    return tuple(found)
