"""What a command writes appears whole or not at all, and never in place of what it reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge_stg.errors import InputError
from bridge_stg.files.output_files import check_output, new_folder, whole_file, write_whole


def test_a_file_is_written_and_nothing_else(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", "one\ntwo")
    write_whole(tmp_path / "a.json", "\u00e9")
    assert (tmp_path / "a.json").read_bytes() == b"\xc3\xa9"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for place in (tmp_path / "taken", tmp_path / "no" / "a.json", tmp_path / ("a" * 300)):
        with pytest.raises(InputError, match=r"\(.+\).*--out"):
            write_whole(place, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert not list((tmp_path / "taken").iterdir())


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "far" / "target")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "target").read_text() == "new"


def test_outputs_that_are_refused(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    truth.write_text("x")
    (tmp_path / "soft").symlink_to(truth)
    os.link(truth, tmp_path / "hard")
    os.mkfifo(tmp_path / "pipe")
    for name, part in (
        ("truth.jsonl", "is read by this command"),
        ("soft", "is read by this command"),
        ("hard", "is read by this command"),
        ("pipe", "is a device or a pipe"),
        (".", "is a folder"),
    ):
        with pytest.raises(InputError, match=part):
            check_output(tmp_path / name, [None, tmp_path / "missing", truth])
    with pytest.raises(InputError, match="device"):
        check_output(Path(os.devnull))
    check_output(tmp_path / "hard", [None, tmp_path / "missing"])
    check_output(tmp_path / "new", [truth])
    check_output(tmp_path / ("a" * 300), [truth])


def stop_while_writing(path: Path) -> None:
    path.write_text("half")
    raise ZeroDivisionError


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError), new_folder(out) as folder:
        stop_while_writing(folder / "half")
    assert list(tmp_path.iterdir()) == []
    with new_folder(out) as folder:
        (folder / "all").touch()
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["all"]
    # Nothing else is replaced, except what the caller names.
    for place in (out, out / "all"):
        with pytest.raises(InputError), new_folder(place):
            raise AssertionError("must not begin")
    with new_folder(out, ["all"]) as folder:
        (folder / "new").touch()
    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_that_somebody_else_writes_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "file"
    out.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(out) as unfinished:
        stop_while_writing(unfinished)
    assert out.read_text() == "old"
    with whole_file(out) as unfinished:
        unfinished.write_text("new")
    assert (out.read_text(), [path.name for path in tmp_path.iterdir()]) == ("new", ["file"])
