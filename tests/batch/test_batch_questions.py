"""Folders, patterns and manifests as questions."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from bridge_stg.batch.cluster import run
from bridge_stg.batch.questions import by_video, read_query_file, read_questions
from bridge_stg.batch.workers import BatchModel
from bridge_stg.errors import InputError


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.mkv", "deep/c.webm", "notes.txt"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "clips"


def asked(source: str | Path, *queries: str) -> list[tuple[str, str]]:
    return [(Path(one.video).name, one.query) for one in read_questions(str(source), queries)]


def test_a_folder_is_searched_to_its_depths_and_every_sentence_asked(clips: Path) -> None:
    names = ["a.mkv", "b.mp4", "c.webm"]
    assert asked(clips, "x", "y") == [(name, query) for name in names for query in "xy"]


def test_a_pattern_and_a_file(clips: Path) -> None:
    assert asked(f"{clips}/*.mp4", "x") == [("b.mp4", "x")]
    assert asked(f"{clips}/**/*.webm", "x") == [("c.webm", "x")]
    assert asked(clips / "a.mkv", "x") == [("a.mkv", "x")]


ROWS: list[dict[str, Any]] = [
    {"video": "a.mkv", "query": "one", "clip": "1.5-4", "id": "q1"},
    {"video": "b.mp4", "query": "two", "clip": None, "id": None},
    {"video": "b.mp4", "query": None, "clip": None, "id": "q3"},
]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_manifest_reads_the_same_in_every_format(clips: Path, kind: str) -> None:
    path = clips / f"list.{kind}"
    if kind == "csv":
        lines = [",".join(ROWS[0])] + [",".join(value or "" for value in row.values()) for row in ROWS]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    else:
        parquet.write_table(pa.Table.from_pylist(ROWS), path)
    questions = read_questions(str(path), ["x", "y"])
    assert [one.query for one in questions] == ["one", "two", "x", "y"]
    assert [one.clip for one in questions] == [(1.5, 4.0), None, None, None]
    assert [one.id for one in questions[:1]] + [one.id for one in questions[2:]] == ["q1", "q3-0", "q3-1"]
    assert questions[0].video == str(clips / "a.mkv")


def test_questions_keep_their_ids_whatever_else_is_asked(clips: Path) -> None:
    alone = {one.id for one in read_questions(str(clips / "b.mp4"), ["x"])}
    assert alone < {one.id for one in read_questions(str(clips), ["y", "x"])}


def test_questions_about_one_part_of_a_video_are_asked_together(clips: Path) -> None:
    path = clips / "list.jsonl"
    rows = [
        {"video": "a.mkv", "query": "1"},
        {"video": "b.mp4", "query": "2"},
        {"video": "a.mkv", "query": "3"},
        {"video": "a.mkv", "query": "4", "clip": [0, 2]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    groups = by_video(read_questions(str(path), []))
    assert [[one.query for one in group.questions] for group in groups] == [["1", "3"], ["2"], ["4"]]


@pytest.mark.parametrize(
    "row",
    [
        {"query": "x"},
        {"video": 3, "query": "x"},
        {"video": "a.mkv"},
        {"video": "a.mkv", "query": " "},
        {"video": "a.mkv", "query": "x", "clip": "4-1"},
        {"video": "a.mkv", "query": "x", "clip": "soon"},
        {"video": "a.mkv", "query": "x", "clip": [-1, 2]},
        {"video": "a.mkv", "qeury": "x"},
    ],
)
def test_a_bad_row_is_named(clips: Path, row: dict[str, Any]) -> None:
    path = clips / "list.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_questions(str(path), [])
    assert "\n" not in str(caught.value)


def test_what_cannot_be_asked_is_refused(clips: Path, tmp_path: Path) -> None:
    for source, queries in ((clips / "no*.mp4", ["x"]), (clips, []), (tmp_path / "none", ["x"])):
        with pytest.raises(InputError):
            read_questions(str(source), queries)
    with pytest.raises(InputError):
        read_query_file(tmp_path / "none.txt")
    (tmp_path / "twice.jsonl").write_text('{"video":"a","query":"x","id":1}\n' * 2, encoding="utf-8")
    with pytest.raises(InputError):
        read_questions(str(tmp_path / "twice.jsonl"), [])


def test_a_name_that_is_not_there_is_told_from_a_folder_without_videos(tmp_path: Path) -> None:
    found = []
    for source in (tmp_path, tmp_path / "none", tmp_path / "*.mp4"):
        with pytest.raises(InputError) as caught:
            read_questions(str(source), ["x"])
        found.append("no such" in str(caught.value))
    assert found == [False, True, False]


def test_a_file_of_sentences(tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_text("\ufeffone\n\n  two \n", encoding="utf-8")
    assert read_query_file(path) == ["one", "two"]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_listens_is_refused_at_once(scheme: str) -> None:
    with socket.socket() as idle:  # bound, and not listening
        idle.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{idle.getsockname()[1]}"
        with pytest.raises(InputError, match=address):
            next(run([], BatchModel("shapes", "bridge-stg"), address, 1))
