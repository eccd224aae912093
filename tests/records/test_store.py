"""The store: what is written comes back, the same bytes every time, and a damaged store is one clear line."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge_stg.errors import DataError
from bridge_stg.records import store as stores
from bridge_stg.records.record import TruthRecord
from bridge_stg.records.store import SCHEMA, RecordStore, from_row, to_row, write_store

FRAMES = 50


def record(number: int = 0, **changes: Any) -> TruthRecord:
    values: dict[str, Any] = {
        "id": f"q{number}",
        "task": "stvg",
        "video": f"videos/{number}.mp4",
        "fps": 29.97,
        "frame_count": FRAMES,
        "clip": (0, FRAMES),
        "width": 640,
        "height": 480,
        "query": "the dog that barks",
        "window": (3, 5),
        "boxes": {3: (0.1, 0.2, 10.35, 20.99), 4: (1.0, 2.0, 639.99, 480.0)},
    }
    return TruthRecord(**values | changes)


EVERYTHING = record(
    7,
    task="vqa",
    qtype="interrogative",
    choices=("one", "two"),
    choice="B",
    labels=(False, True),
    answer="two",
    seconds=(1.5, 80.25),
    media="frames",
    split="val",
    source="made",
    kind="CW",
    category="dog",
    subtitles="subtitle/7.srt",
    provenance="a.json#7",
)

# Pixels in hundredths, as to_json and the sources write them.
pixels = st.integers(0, 800_000).map(lambda hundredths: hundredths / 100)
boxes = st.tuples(pixels, pixels, pixels, pixels).map(
    lambda p: (min(p[0], p[2]), min(p[1], p[3]), max(p[0], p[2]), max(p[1], p[3]))
)
tubes = st.dictionaries(st.integers(0, FRAMES - 1), boxes, max_size=8)
words = st.text(st.characters(codec="utf-8"), max_size=12)


def opened(folder: Path, name: str = "store") -> RecordStore:
    return RecordStore(folder / name, cache=folder / "cache")


def written(folder: Path, *records: TruthRecord, root: str = "../data") -> Path:
    folder.mkdir()
    write_store(folder, records, root)
    return folder


@given(tube=tubes, query=words, choices=st.lists(words, max_size=4), fps=st.floats(0.01, 1000))
def test_a_row_brings_back_what_it_was_made_of(tube: Any, query: str, choices: list[str], fps: float) -> None:
    import pyarrow as pa

    one = record(boxes=tube, query=query, choices=tuple(choices), fps=fps)
    (row,) = pa.Table.from_pylist([to_row(one)], schema=SCHEMA).to_pylist()
    assert from_row(row) == one


def test_every_field_comes_back_from_the_disk_and_from_a_line_of_truth(tmp_path: Path) -> None:
    written(tmp_path / "store", record(), EVERYTHING)
    assert list(opened(tmp_path)) == [record(), EVERYTHING]
    assert TruthRecord.from_json(json.loads(json.dumps(EVERYTHING.to_json()))) == EVERYTHING


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 30))
def test_order_and_number_hold_across_groups_and_shards(
    count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "GROUP_ROWS", 3)
        patch.setattr(stores, "SHARD_ROWS", 6)
        folder = tmp_path_factory.mktemp("shards")
        written(folder / "store", *map(record, range(count)))
        assert len(list((folder / "store/records").iterdir())) == -(-count // 6)
        found = opened(folder)
        assert len(found) == count
        assert [one.id for one in found] == [f"q{number}" for number in range(count)] == found.column("id")


def test_it_is_a_sequence(tmp_path: Path) -> None:
    written(tmp_path / "store", *map(record, range(4)))
    found = opened(tmp_path)
    assert found[-1].id == "q3"
    assert [one.id for one in found[1:3]] == ["q1", "q2"]
    with pytest.raises(IndexError):
        found[4]


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    def digests(folder: Path) -> list[str]:
        return [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()]

    first = digests(written(tmp_path / "first", *map(record, range(30)), EVERYTHING))
    assert first == digests(written(tmp_path / "second", *map(record, range(30)), EVERYTHING))
    assert first != digests(written(tmp_path / "third", *map(record, range(31)), EVERYTHING))


def test_a_path_is_relative_to_the_download_wherever_both_lie(tmp_path: Path) -> None:
    written(tmp_path / "store", record(), root="../data")
    found = opened(tmp_path)
    assert found.path(found[0]) == tmp_path / "data/videos/0.mp4"


def test_a_worker_process_gets_names_of_files_and_not_the_records(tmp_path: Path) -> None:
    written(tmp_path / "store", *(record(number) for number in range(3000)))
    found = opened(tmp_path)
    sent = pickle.dumps(found)
    assert len(sent) < 20_000
    assert pickle.loads(sent)[2999] == record(2999)


def _cut_shard(folder: Path) -> None:
    shard = folder / "records/00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-10])


def _garble_shard(folder: Path) -> None:
    shard = folder / "records/00000.parquet"
    shard.write_bytes(b"x" * shard.stat().st_size)


def _change_about(**changes: Any) -> Any:
    def change(folder: Path) -> None:
        about = json.loads((folder / "store.json").read_text()) | changes
        (folder / "store.json").write_text(json.dumps(about))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "store.json").unlink(), r"store\.json"),
        (lambda folder: (folder / "store.json").write_text('{"sch'), r"store\.json: cut off"),
        (
            lambda folder: (folder / "records/00000.parquet").unlink(),
            r"00000\.parquet: .*missing",
        ),
        (_cut_shard, r"00000\.parquet: .*\d+ bytes .*\d+"),
        (_garble_shard, "read as records"),
        (_change_about(schema="bridge-stg/store/9"), "bridge-stg/store/1"),
        (_change_about(shards=[]), "shards"),
        (_change_about(records=5), "5 records.* 1"),
    ],
)
def test_a_damaged_store_is_one_clear_line(damage: Any, message: str, tmp_path: Path) -> None:
    damage(written(tmp_path / "store", record()))
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path)
    assert str(tmp_path / "store") in str(caught.value)


def test_a_store_that_an_error_interrupted_is_no_store(tmp_path: Path) -> None:
    def interrupted() -> Any:
        yield record()
        raise KeyboardInterrupt

    (tmp_path / "store").mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "store", interrupted())
    with pytest.raises(DataError, match=r"store\.json"):
        opened(tmp_path)


def test_several_windows_and_absent_events_come_back_and_old_stores_have_neither() -> None:
    several = record(windows=((3, 5), (9, 12)), window=None, boxes={})
    absent = record(absent=True, window=None, boxes={})
    assert [from_row(to_row(one)) for one in (several, absent)] == [several, absent]

    old = {name: value for name, value in to_row(record()).items() if name not in ("windows", "absent")}
    assert from_row(old) == record()
