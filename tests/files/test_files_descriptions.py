"""A folder says what it holds, and a run goes on only with the plan it began with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge_stg.errors import DataError, InputError
from bridge_stg.files.descriptions import changed_plan, read_description
from bridge_stg.files.hashes import file_hash


def described(path: Path) -> dict[str, object]:
    return read_description(path, "test/1", ("rows",), missing="make one", cure="make it again")


def test_a_description_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "about.json"
    with pytest.raises(DataError, match="make one"):
        described(path)
    for content in ('{"schema"', "[]", '{"schema": "test/2", "rows": 1}', '{"schema": "test/1"}'):
        path.write_text(content)
        with pytest.raises(DataError, match="make it again"):
            described(path)

    path.write_text('{"schema": "test/1", "rows": 3, "more": 4}')
    assert described(path) == {"schema": "test/1", "rows": 3, "more": 4}


def test_a_plan_is_written_once_and_then_compared(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    assert changed_plan(path, {"seed": 1, "size": (2, 3)}) == []
    assert json.loads(path.read_text()) == {"seed": 1, "size": [2, 3]}

    assert changed_plan(path, {"seed": 1, "size": (2, 3)}) == []
    assert changed_plan(path, {"seed": 2, "size": (2, 3)}) == ["seed"]
    # What one of the two lacks is a change, even of nothing.
    assert changed_plan(path, {"seed": 1}) == ["size"]
    assert changed_plan(path, {"seed": 1, "size": (2, 3), "by": None}) == ["by"]

    path.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        changed_plan(path, {"seed": 1})


def test_the_hash_of_files_in_a_row(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"ab")
    (tmp_path / "b").write_bytes(b"c")
    # FIPS 180-4, the example of one block.
    assert file_hash(tmp_path / "a", tmp_path / "b") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    with pytest.raises(InputError):
        file_hash(tmp_path / "nothing")
