"""What becomes of one annotated item: a record, or a stated reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from bridge_stg.curation.reading.video_facts import VideoFacts
from bridge_stg.errors import DataError
from bridge_stg.records.record import OPTIONAL_TEXT, TruthRecord, is_text
from bridge_stg.types import Task

Value = TypeVar("Value")


class Unusable(Exception):  # noqa: N818 - not an error: it never leaves the curation tools
    """This item gives no record.

    Args:
        reason: the same text for all items left out for the same cause, so that they can be counted.
        detail: what is particular to this item.
        by_design: nothing is wrong with the item. The data set holds it for another use; it is not lost.
    """

    def __init__(self, reason: str, detail: str = "", by_design: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.by_design = reason, detail, by_design


@dataclass(frozen=True)
class Origin:
    """Where an item stands.

    ``source`` is the data set, ``id`` names the item for good, ``where`` is its file and row.
    """

    source: str
    split: str | None
    id: str
    where: str

    def record(self, task: Task, video: str, facts: VideoFacts, query: str, **fields: Any) -> TruthRecord:
        """The record of this item: about the whole video, unless ``fields`` (of the record) give a clip."""
        return TruthRecord(
            **{
                "id": self.id,
                "task": task,
                "video": video,
                "fps": facts.fps,
                "frame_times": facts.frame_times,
                "frame_count": facts.frame_count,
                "clip": (0, facts.frame_count),
                "width": facts.width,
                "height": facts.height,
                "query": query,
                "split": self.split,
                "source": self.source,
                "provenance": self.where,
                **fields,
            }
        )


@dataclass(frozen=True)
class Outcome:
    """One item of an annotation file: either ``record`` or ``unusable`` is there.

    ``id`` and ``where`` are as of :class:`Origin`. ``counted`` lists the published counts that the item is part
    of. ``notes`` tell what was changed to make the record, or is odd about it.
    """

    id: str
    where: str
    video: str
    counted: tuple[str, ...] = ()
    record: TruthRecord | None = None
    unusable: Unusable | None = None
    notes: tuple[str, ...] = ()


def attempt(
    origin: Origin, video: str, counted: Iterable[str], make: Callable[[Origin, list[str]], TruthRecord]
) -> Outcome:
    """The outcome of ``make(origin, notes)``, which adds to the list; whatever is wrong becomes a reason."""
    notes: list[str] = []
    record = unusable = None
    try:
        record = make(origin, notes)
        _check_texts(record)
    except Unusable as problem:
        unusable = problem
    except DataError as problem:
        unusable = Unusable("the fields contradict each other", str(problem))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as problem:
        # Files of others: any part of an item can be something else than documented, however deep.
        unusable = Unusable("malformed", f"{type(problem).__name__}: {problem}")

    if unusable is not None:
        return Outcome(origin.id, origin.where, video, tuple(counted), unusable=unusable)
    assert record is not None
    return Outcome(record.id, origin.where, video, tuple(counted), record, notes=tuple(notes))


def _check_texts(record: TruthRecord) -> None:
    """What a file calls a sentence can be a number, which would end the whole build when it is stored."""
    texts = {name: getattr(record, name) for name in ("id", "video", "query", *OPTIONAL_TEXT)}
    texts |= {f"choice {number}": choice for number, choice in enumerate(record.choices)}
    for name, value in texts.items():
        if not is_text(value) and (value is not None or name not in OPTIONAL_TEXT):
            raise Unusable("malformed", f"{name} must be text, got {ascii(value)[:60]}")


def take(item: Any, key: str, kind: type[Value]) -> Value:
    """``item[key]``, which must be a ``kind``; whole numbers pass for ``float``, true and false never do.

    By hand, and not by a schema of the whole file: one bad field costs one item, with a reason that is counted.

    Raises:
        Unusable: it is missing or something else.
    """
    if not isinstance(item, dict):
        raise Unusable("malformed", f"expected an object with {key!r}, got {str(item)[:60]!r}")
    if key not in item:
        raise Unusable("a field is missing", repr(key))

    value = item[key]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)  # type: ignore[return-value]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Unusable("malformed", f"{key!r} must be {kind.__name__}, got {str(value)[:60]!r}")
    return value
