"""Multiple choice (VQA): accuracy, with a letter extractor that is a page of rules and no model.

The letter of a prediction
--------------------------
Its field ``choice`` counts if it is given. Otherwise ``letter_of`` reads the raw text:

1. Only the **last line** that is not empty is read: whatever a model thinks aloud before it is not the answer.
2. Only the letters of the record's own choices are valid: with two choices a "C" is no answer.
3. On that line, the first rule that finds a letter decides:

   a. the line is one letter and punctuation, in either case: ``c``, ``(C).``, ``**C**``;
   b. the line begins with a letter as a label: ``C. a star``, ``(c) a star``, ``C: a star``;
   c. the last letter named as the answer: ``the answer is C, not A``; a small one only at the end of the line;
   d. the last capital that stands alone: ``A man is running, so C``. Small letters are words here.

A letter stands alone when no letter, digit or apostrophe touches it. If no rule finds one, there is no answer:
the query is counted as failed and wrong. The text of an option without its letter is no answer either. A method
that knows the options may go by their words and write ``choice`` (``choice_of``).

Known limits of rule d: a line that names several letters counts as its last (``C, not A`` is A), and the
article of ``A dog`` is a letter when no other follows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from bridge_stg.errors import DataError
from bridge_stg.metrics.query_scores import QueryScores
from bridge_stg.prompting.parsing import without_letter
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord, letters_of

PROTOCOL = "video-mme"
OPERATOR = "=="
METRICS = ("accuracy",)

# \W would let an underscore of markdown through as a letter, and "don't" holds no T.
_ALONE = r"(?<![A-Za-z0-9'\u2019])({letters})(?![A-Za-z0-9'\u2019])"
_RULES = (
    (r"^[\W_]*({letters})[\W_]*$", re.IGNORECASE),
    (r"^[\W_]*({letters})[*_]*[.):\]]", re.IGNORECASE),
    (r"(?i:answer)(?i:[\s:*_]+(?:is|option|choice|be))*[\s:*_(\[\"]+" + _ALONE, 0),
    (r"(?i:answer(?:[\s:*_]+(?:is|option|choice|be))*[\s:*_(\[\"]+({letters}))[\W_]*$", 0),
    (_ALONE, 0),
)


def letter_of(text: str, letters: str) -> str | None:
    """The letter that ``text`` answers with, of the valid capitals ``letters``; None if it names none.

    >>> letter_of("It looks like A or B.\\nBased on the video, the answer is C.", "ABCD")
    'C'
    >>> letter_of("the red one", "ABCD") is None
    True
    """
    line = _last_line(text)
    if not line or not letters:
        return None
    for pattern, flags in _RULES:
        found = re.findall(pattern.format(letters=f"[{letters}]"), line, flags)
        if found:
            return str(found[-1]).upper()
    return None


def choice_of(text: str, choices: Sequence[str]) -> str | None:
    """The letter of the choice that an answer means: by its words where they are one, else by its letter.

    A model that says a choice and then its letter (``blue (C)``) has seen what it says, and copies the letter.
    A letter alone is the letter of a choice, even where the text of another one is that letter.

    >>> choice_of("Blue (C)", ("red", "blue", "green"))
    'B'
    >>> choice_of("(C) green", ("red", "blue", "green"))
    'C'
    >>> choice_of("B", ("C", "A", "B"))
    'B'
    """
    letters = letters_of(choices)
    line = _last_line(text)
    if letters and re.match(_RULES[0][0].format(letters=f"[{letters}]"), line, re.IGNORECASE):
        return letter_of(text, letters)

    said = {_plain(line), _plain(without_letter(line))}
    named = [letter for letter, choice in zip(letters, choices, strict=True) if _plain(choice) in said]
    return named[0] if len(named) == 1 else letter_of(text, letters)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _plain(words: str) -> str:
    """Words to compare: options of published sets end with a full stop, answers often do not."""
    return words.strip().rstrip(".").rstrip().casefold()


def has_right_letter(truth: TruthRecord) -> bool:
    """Whether one letter is the right answer: not so of free text, and where any number of choices is right."""
    return len(truth.choices) >= 2 and truth.choice is not None


def predicted_letter(truth: TruthRecord, prediction: PredictionRecord | None) -> str | None:
    """The letter a prediction stands for; None if it has no usable one.

    Raises:
        DataError: the true record has no choices, or does not say which is right.
    """
    if not has_right_letter(truth):
        raise DataError(f"record {truth.id!r}: a vqa record needs at least 2 choices and the right choice")
    if prediction is None or prediction.status != "ok":
        return None
    letters = truth.letters
    if prediction.choice is None:
        return letter_of(prediction.text, letters)
    given = prediction.choice.strip().upper()
    return given if len(given) == 1 and given in letters else None


def score_queries(
    records: Sequence[TruthRecord], predictions: Sequence[PredictionRecord | None]
) -> QueryScores:
    """1 where the letter is the right one; a prediction without a letter, or none (None), is wrong."""
    found = [
        predicted_letter(record, prediction) for record, prediction in zip(records, predictions, strict=True)
    ]
    right = [letter == record.choice for letter, record in zip(found, records, strict=True)]
    return QueryScores(
        METRICS,
        np.array(right, dtype=np.float64)[:, None],
        np.array([letter is None for letter in found]),
        np.ones(len(found)),
    )
