"""What a model is asked of a record: in training as when it is judged."""

from __future__ import annotations

from collections.abc import Sequence

from bridge_stg.errors import DataError, InputError
from bridge_stg.prompting.given_box import GivenBox, given_text, names_box
from bridge_stg.prompting.templates import choices_text
from bridge_stg.records.record import TruthRecord


def question_text(record: TruthRecord) -> str:
    """The query; with its choices, if it has any, and of an object to track with the box it begins at.

    That box is the first annotated one, in Qwen's 0-1000 grid, with the second at which it is (on the clock of
    the clip) unless the clip begins with it. A tracking query that names a box itself stays as it is.

    Raises:
        DataError: an object to track has no box, or one that has no area in that grid.
    """
    if record.choices:
        return choices_text(record.query, record.choices)
    if record.task != "vot" or names_box(record.query):
        return record.query
    if not record.boxes:
        raise DataError(f"record {record.id!r}: task vot needs boxes")
    first = min(record.boxes)
    left, top, right, bottom = record.boxes[first]
    sides = (left / record.width, top / record.height, right / record.width, bottom / record.height)
    x1, y1, x2, y2 = (min(max(side, 0.0), 1.0) for side in sides)
    second = record.clock.span(record.clip[0], first).length if first > record.clip[0] else 0.0
    try:
        given = GivenBox((x1, y1, x2, y2), second)
    except InputError as problem:
        raise DataError(f"record {record.id!r}: {problem}") from problem
    return given_text(record.query.strip(), given)


def subtitled_text(question: str, said: Sequence[str]) -> str:
    """A question after the subtitles that belong to it; the question alone without any.

    >>> subtitled_text("Who wins? (A) Ann (B) Bob", ["Ready?", "Go!"])
    'Subtitles of the video: Ready? Go! Question: Who wins? (A) Ann (B) Bob'
    """
    if not said:
        return question
    return f"Subtitles of the video: {' '.join(' '.join(line.split()) for line in said)} Question: {question}"
