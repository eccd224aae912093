"""What an answer is guessed to go on with."""

from __future__ import annotations

import pytest

from bridge_stg.prompting.drafts import direct_draft, rest_of, scan_draft

QUERY = "the blue square that moves down"
SECONDS = [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("", "From 6 to 7. It ends at 1.0 s."),
        ("From ", "6 to 7. It ends at 1.0 s."),
        ("From 12", " to 7. It ends at 1.0 s."),
        ("From 12 to 30. It", " ends at 1.0 s."),
        ("From 1 to 2. It ends at 14", ".0 s."),
        ("From 1 to 2. It ends at 14.", "0 s."),
        ("From 1 to 2. It ends at 14.7", " s."),
        ("From 1 to 2. It ends at 14.7 s.", ""),
        ("From 1 to 2. It ends at 14.7 s. And", None),
        ("From x", None),
    ],
)
def test_the_rest_of_a_draft_whose_numbers_differ(text: str, rest: str | None) -> None:
    assert rest_of("From 6 to 7. It ends at 1.0 s.", text) == rest


@pytest.mark.parametrize(
    ("text", "guess", "draft"),
    [
        (
            "The event starts at 12.2",
            "",
            " seconds and ends at 0.0 seconds. The start and end frames are: [1, 0].",
        ),
        (
            "The event starts at 12.2 seconds and ends at 14.7 seconds.",
            "The event starts at 12.2 seconds and ends at 14.7 seconds.",
            " The start and end frames are: [25, 29].",
        ),
        ("The action happens", "", " somewhere between 0.0 seconds and 0.0 seconds. The start and end"),
        ("It starts at 1.0 seconds and", "", " ends at 0.0 seconds."),
        ("The event starts at 1.0 seconds and ends at 2.0 seconds. It", "", " starts at 0.0 seconds and ends"),
        ("This", "", " does not happen."),
        ("A dog", "", ""),
    ],
)
def test_short_answers(text: str, guess: str, draft: str) -> None:
    found = direct_draft(text, guess)
    assert found == draft if not draft else found.startswith(draft)


def test_a_scan_takes_its_words_from_the_query_and_from_what_was_foreseen() -> None:
    assert scan_draft("", "", QUERY, SECONDS) == "The blue square moves down:"
    assert scan_draft("The blue", "", QUERY, SECONDS) == " square moves down:"
    assert scan_draft("The star", "", QUERY, SECONDS) == ""
    head = "The blue square moves down:"
    window = " It happens from 0 to 0. The event starts at 0.0 seconds and ends at 1.0 seconds."
    nothing = " 0 before 1 before 2 before 3 before." + window
    assert scan_draft(head, head, QUERY, SECONDS) == nothing

    # Foreseen over a draft of "before": what is seen is right, what follows it is not, nor are the seconds.
    window = "It happens from {} to {}. The event starts at {}.4 seconds and ends at {}.9 seconds."
    foreseen = " 0 before 1 begins 2 down 3 before " + window.format(0, 0, 0, 0)
    rest = " 0 before 1 begins 2 down 3 after. " + window.format(1, 2, 1, 2)
    assert scan_draft(head, head + foreseen, QUERY, SECONDS) == rest

    # Said words count, and the numbers of the sentences after them are no seconds of the scan.
    said = head + rest[: rest.index(" seconds")]
    assert scan_draft(said, said, QUERY, SECONDS).startswith(" seconds and ends at ")


def test_an_answer_of_digits_alone_is_no_number_too_large() -> None:
    digits = "9" * 5000
    assert direct_draft("This", f"From {digits} to {digits}.") == " does not happen."
    assert isinstance(scan_draft("The star:", f"The star: {digits} up. It {digits}", QUERY, SECONDS), str)
