"""The letter extractor as a table of answers, and accuracy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.errors import DataError
from bridge_stg.metrics.choice import choice_of, letter_of, predicted_letter, score_queries
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        # a: the line is a letter
        ("C", "C"),
        ("c", "C"),
        (" (C).", "C"),
        ("**C**", "C"),
        ("_c_", "C"),
        # b: a label at the beginning
        ("C. a star", "C"),
        ("(c) a star that spins", "C"),
        ("**B**: because A is wrong", "B"),
        ("D) four, e.g. A", "D"),
        # c: named as the answer
        ("The best answer is: C", "C"),
        ("The answer is C, not A", "C"),
        ("the answer is option B because A is wrong", "B"),
        ("Answer: b", "B"),
        ("Option A is wrong; the correct answer is (D) a man", "D"),
        # d: the last capital that stands alone
        ("Based on the video, the answer is C.", "C"),
        ("After watching, I think option C", "C"),
        ("Because of that, C", "C"),
        ("A man is running, so C", "C"),
        ("<answer>B</answer>", "B"),
        ("\\boxed{C}", "C"),
        # only the last line
        ("<think>A or B</think>\nC", "C"),
        ("B\n\n  \n", "B"),
        ("A\nI do not know", None),
        # no letter
        ("", None),
        (" \n ", None),
        ("a star", None),
        ("the answer is a star", None),
        ("ABC", None),
        ("E", None),  # no such choice
        ("Don't know, it's D's", None),
        ("A1", None),
        # known limits, as documented
        ("C, not A", "A"),
        ("A dog", "A"),
    ],
)
def test_letters_by_hand(text: str, letter: str | None) -> None:
    assert letter_of(text, "ABCD") == letter


def test_only_letters_of_the_choices_are_valid() -> None:
    assert letter_of("C", "AB") is None
    assert letter_of("not C but B", "AB") == "B"
    assert letter_of("C", "") is None


@given(st.text(max_size=60), st.sampled_from(["", "A", "AB", "ABCDE"]))
def test_any_text_gives_a_valid_letter_or_none(text: str, letters: str) -> None:
    found = letter_of(text, letters)
    assert found is None or (len(found) == 1 and found in letters)


@given(st.sampled_from("ABCD"), st.sampled_from("ABCD"))
def test_the_last_line_decides(thought: str, said: str) -> None:
    assert letter_of(f"The answer is {thought}.\n{said}", "ABCD") == said


def truth(
    choice: str | None = "B", choices: tuple[str, ...] = ("yes", "no", "maybe"), **more: Any
) -> TruthRecord:
    return TruthRecord("q", "vqa", "v", 10.0, 50, (0, 50), 40, 30, "?", choices=choices, choice=choice, **more)


@pytest.mark.parametrize(
    ("prediction", "letter"),
    [
        (PredictionRecord("q", text="A", choice="B"), "B"),  # the field wins
        (PredictionRecord("q", text="A", choice=" b "), "B"),
        (PredictionRecord("q", text="A", choice="D"), None),  # and is not rescued by the text
        (PredictionRecord("q", text="A", choice=""), None),
        (PredictionRecord("q", text="A", choice="AB"), None),
        (PredictionRecord("q", text="A"), "A"),
        (PredictionRecord("q", text="D"), None),
        (PredictionRecord("q", text="no"), None),  # the words of an option are not its letter
        (PredictionRecord("q", text="B", choice="B", status="failed"), None),
        (None, None),
    ],
)
def test_which_letter_counts(prediction: PredictionRecord | None, letter: str | None) -> None:
    assert predicted_letter(truth(), prediction) == letter


def test_failed_and_missing_are_wrong_and_counted() -> None:
    answers = [PredictionRecord("q", text=text) for text in ("B", "A", "no idea")]
    found = score_queries([truth()] * 4, [*answers, None])
    assert found.failed.tolist() == [False, False, True, True]
    assert found.means() == {"accuracy": 25.0}


@pytest.mark.parametrize("record", [truth(None), truth(None, ()), truth("A", ("yes",))])
def test_a_record_without_a_right_choice_cannot_be_scored(record: TruthRecord) -> None:
    with pytest.raises(DataError, match=r"'q': .* 2 choices"):
        predicted_letter(record, None)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        # The words are what was seen; the letter behind them may be another one's.
        ("blue (C)", "B"),
        ("Blue.", "B"),
        ("It moves.\nmoves up (A)", "D"),
        # No words of a choice: the letter.
        ("(C)", "C"),
        ("C. blue", "C"),
        ("purple (C)", "C"),
        ("a blue one", None),
        ("", None),
        # A choice that stands twice names neither.
        ("red (A)", "A"),
    ],
)
def test_the_words_of_a_choice_go_before_its_letter(text: str, letter: str | None) -> None:
    assert choice_of(text, ("red", "blue", "Red", "moves up")) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Berries.", "C"),
        ("berries", "C"),
        ("Berries. (A)", "C"),
        ("Apples (C).", "A"),
        ("C", "C"),
        ("(B)", "B"),
    ],
)
def test_a_full_stop_is_no_part_of_a_choice(text: str, letter: str) -> None:
    assert choice_of(text, ("Apples.", "Candles.", "Berries.")) == letter
    assert choice_of(text, ()) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        # A letter alone is a letter, whatever the choices are.
        ("B", "B"),
        ("(B).", "B"),
        ("b", "B"),
        # Said with another one it is words, and so is one that is no letter of a choice.
        ("B (D)", "A"),
        ("X", "C"),
        # What looks like a letter behind a choice may be its own.
        ("vitamin (A)", "D"),
    ],
)
def test_choices_that_are_letters(text: str, letter: str) -> None:
    assert choice_of(text, ("B", "D", "X", "vitamin (A)", "vitamin (C)")) == letter
