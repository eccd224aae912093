"""A scan that sees its event several times, read for each of them."""

from __future__ import annotations

import pytest

from bridge_stg.prompting.parsing import sees_nothing
from bridge_stg.prompting.scan_times import each_time, left_out

THREE = "The red star spins: 0 spins 1 before 2 begins 3 ends 4 after 5 before 6 spins. It happens from 0 to 6."


def words(scan: str) -> list[str]:
    return scan.removesuffix(".").split(": ")[1].split()[1::2]


def test_each_time_keeps_its_own_words_and_no_others() -> None:
    assert [words(scan) for scan in each_time(THREE)] == [
        ["spins", "after", "after", "after", "after", "after", "after"],
        ["before", "before", "begins", "ends", "after", "after", "after"],
        ["before", "before", "before", "before", "before", "before", "spins"],
    ]
    for scan in each_time(THREE):
        assert scan.startswith("The red star spins: 0 ")
        assert scan.endswith(".")
        assert not sees_nothing(scan)


@pytest.mark.parametrize(
    "said",
    [
        "The star spins: 0 before 1 spins 2 spins 3 after. It happens from 1 to 2.",
        "The star spins: 0 before 1 after.",
        "The star spins: 0 spins.",
        "The event starts at 1.0 seconds and ends at 2.0 seconds.",
        "This does not happen.",
        "",
        # Not one word a second, in order.
        "The star spins: 0 spins 1 after 2 spins spins 3 after.",
        "The star spins: 0 spins 2 after 1 spins.",
        "The star spins: 0 spins 1 after 1 spins.",
        "The star spins: 0 spins 1 after 2 spins",
    ],
)
def test_an_event_seen_once_or_a_scan_in_another_form_has_no_times_to_tell_apart(said: str) -> None:
    assert each_time(said) == []


@pytest.mark.parametrize(
    ("said", "seconds", "found"),
    [
        (
            "It spins: 0 spins 1 after 2 spins spins 4 after. It",
            range(5),
            "It spins: 0 spins 1 after 2 spins 3",
        ),
        ("The star spins: 0 spins spins spins.", range(3), "The star spins: 0 spins 1"),
        ("The star spins: 0 spins 2 after.", range(3), "The star spins: 0 spins 1"),
        ("The star spins: 1 spins 2 after.", range(3), "The star spins: 0"),
        ("The star spins: 0 spins 12 after.", range(3), "The star spins: 0 spins 1"),
        # All of them, an early end, more than there are, another form.
        ("The star spins: 0 spins 1 after. It happens from 0 to 0.", range(2), None),
        ("The star spins: 0 spins. It happens from 0 to 0.", range(3), None),
        ("The star spins: 0 spins 1 after 2 after.", range(2), None),
        ("The star spins: it does.", range(2), None),
        ("This does not happen.", range(2), None),
    ],
)
def test_a_second_that_is_left_out_is_found(said: str, seconds: range, found: str | None) -> None:
    lost = left_out(said, seconds)
    assert (None if lost is None else said[: lost[0]] + lost[1]) == found
