"""What becomes of one annotated item: a record, or a stated reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bridge_stg.errors import DataError
from bridge_stg.records.record import OPTIONAL_TEXT, TruthRecord, is_text

Value = TypeVar("Value")


class Unusable(Exception):  # noqa: N818 - not an error: it never leaves this room
    """This item gives no record.

    ``reason`` is the same text for all items left out for the same cause, so that they can be counted; what is
    particular to this one goes into ``detail``. ``by_design`` says that nothing is wrong with the item: the
    data set holds it for something else, and it does not count as lost.
    """

    def __init__(self, reason: str, detail: str = "", by_design: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.by_design = reason, detail, by_design


@dataclass(frozen=True)
class Outcome:
    """One item of an annotation file.

    ``id`` names it for good, ``where`` says in which file and row it is, ``counted`` lists the published counts
    it is part of. Either ``record`` or ``unusable`` is there. ``notes`` tell what was changed to make the
    record, or is odd about it.
    """

    id: str
    where: str
    video: str
    counted: tuple[str, ...] = ()
    record: TruthRecord | None = None
    unusable: Unusable | None = None
    notes: tuple[str, ...] = field(default=())


def attempt(
    identity: str,
    where: str,
    video: str,
    counted: Iterable[str],
    make: Callable[[list[str]], TruthRecord],
) -> Outcome:
    """The outcome of ``make``, which gets a list for its notes; whatever is wrong with the item is a reason."""
    notes: list[str] = []
    counted = tuple(counted)
    try:
        record = make(notes)
        _check_texts(record)
    except Unusable as problem:
        return Outcome(identity, where, video, counted, unusable=problem)
    except DataError as problem:
        contradiction = Unusable("the fields contradict each other", str(problem))
        return Outcome(identity, where, video, counted, unusable=contradiction)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as problem:
        # Files of others: any part of an item may be something else than documented, however deep.
        detail = f"{type(problem).__name__}: {problem}"
        return Outcome(identity, where, video, counted, unusable=Unusable("malformed", detail))
    return Outcome(identity, where, video, counted, record=record, notes=tuple(notes))


def _check_texts(record: TruthRecord) -> None:
    """What a file calls a sentence may be a number, which would end the whole build when it is stored."""
    texts = {name: getattr(record, name) for name in ("id", "video", "query", *OPTIONAL_TEXT)}
    texts |= {f"choice {number}": choice for number, choice in enumerate(record.choices)}
    for name, value in texts.items():
        if not is_text(value) and (value is not None or name not in OPTIONAL_TEXT):
            raise Unusable("malformed", f"{name} must be text, got {ascii(value)[:60]}")


def take(item: Any, key: str, kind: type[Value]) -> Value:
    """``item[key]``, which must be a ``kind``; whole numbers pass for ``float``, true and false never do.

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
