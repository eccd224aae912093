"""What holds for every data set: nothing lost in silence, the same bytes, clear lines, truth.jsonl."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.built_folder import built, lines, write
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.curation.build import BuildOptions, build
from bridge_stg.curation.datasets.registry import SOURCES
from bridge_stg.curation.published_counts import PUBLISHED
from bridge_stg.curation.reading.folder import inside
from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.errors import DataError, InputError
from bridge_stg.records.record import read_truth
from bridge_stg.records.store import RecordStore


def clip(**changes: Any) -> dict[str, Any]:
    return {
        "bbox": [[10.25, 12, 20, 30], [11, 12, 20, 40]],
        "st_time": 4.0,
        "ed_time": 4.5,
        "img_num": 500,
        "caption": "The man stands up.",
        "width": 64,
        "height": 48,
        "st_frame": 101,
    } | changes


def folder(root: Path, good: int = 19, bad: int = 1) -> Path:
    clips = {f"{number}_good.mp4": clip() for number in range(good)}
    clips |= {f"{number}_bad.mp4": clip(st_frame=0) for number in range(bad)}
    write(root / "train.json", clips)
    write(root / "test.json", {"0_good.mp4": clip()})
    return root


def hcstvg(root: Path, out: Path, **options: Any) -> Any:
    return build("hcstvg-v1", root, out, BuildOptions(annotations_only=True, **options))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_every_item_is_a_record_or_a_line_with_a_reason(root: Path) -> None:
    data = built("hcstvg-v1", folder(root, 15, 5), annotations_only=True)
    train = data.counts["splits"]["train"]
    assert (train["read"], train["kept"], train["skipped"]) == (20, 15, 5)
    assert len(data.records) == 15 + 1
    assert len(data.skipped) == 5
    assert data.notes.keys() == data.records.keys()
    line = lines(data.out / "skipped.jsonl")[0]
    assert line["where"] == "train.json#0_bad.mp4"
    assert data.count("train", "clips") == {
        "what": "clips",
        "published": 4500,
        "certain": False,
        "read": 20,
        "difference": -4480,
        "kept": 15,
        "explanation": "the files hold 4480 fewer than published; the number is from papers; files "
        "in circulation lack some clips; 5 left out, see reasons and skipped.jsonl",
    }


def test_the_same_input_gives_the_same_bytes_wherever_it_lies(root: Path, tmp_path: Path) -> None:
    def digests(out: Path) -> dict[str, str]:
        files = (path for path in out.rglob("*") if path.is_file())
        return {
            path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }

    folder(root)
    hcstvg(root, tmp_path / "out", truth=True)
    other = folder(tmp_path / "elsewhere/data")
    hcstvg(other, tmp_path / "elsewhere/out", truth=True)
    first = digests(tmp_path / "out")
    assert first == digests(tmp_path / "elsewhere/out")
    assert sorted(first) == [
        "counts.json",
        "notes.jsonl",
        "records/00000.parquet",
        "skipped.jsonl",
        "store.json",
        "truth.jsonl",
    ]


def test_truth_is_the_same_records_with_paths_from_where_it_lies(root: Path, tmp_path: Path) -> None:
    hcstvg(folder(root), tmp_path / "deep/out", split="train", truth=True)
    store = RecordStore(tmp_path / "deep/out", cache=tmp_path / "cache")
    truth = read_truth(tmp_path / "deep/out/truth.jsonl")
    assert len(truth) == len(store) == 19
    for from_lines, from_store in zip(truth, store, strict=True):
        assert from_lines.boxes == from_store.boxes == {100: (10.25, 12, 30.25, 42), 101: (11, 12, 31, 48)}
        place = Path(os.path.normpath(tmp_path / "deep/out" / from_lines.video))
        assert place == store.path(from_store) == root / from_store.video


def test_a_build_that_loses_too_much_leaves_the_reasons_and_no_store(root: Path, tmp_path: Path) -> None:
    folder(root, 18, 2)
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"train: 2 of 20 .*10\.0%.* 0\.05 .*\(2\)"):
        hcstvg(root, out)
    assert sorted(path.name for path in out.iterdir()) == ["counts.json", "notes.jsonl", "skipped.jsonl"]
    assert json.loads((out / "counts.json").read_text())["status"] == "failed"
    assert len(lines(out / "skipped.jsonl")) == 2
    # Once the reasons are known, the same folder can be built into.
    hcstvg(root, out, max_skipped=0.1)
    assert json.loads((out / "counts.json").read_text())["status"] == "complete"
    assert len(RecordStore(out, cache=tmp_path / "cache")) == 19


def test_an_empty_file_is_not_an_empty_data_set(root: Path, tmp_path: Path) -> None:
    write(root / "train.json", {})
    with pytest.raises(DataError, match=r"train: .*no items"):
        hcstvg(root, tmp_path / "out", split="train")


def test_what_is_there_is_never_overwritten(root: Path, tmp_path: Path) -> None:
    folder(root)
    mine = write(tmp_path / "out/thesis.txt", "mine")
    with pytest.raises(InputError, match="not an empty"):
        hcstvg(root, tmp_path / "out")
    with pytest.raises(InputError, match="is a file"):
        hcstvg(root, mine)
    with pytest.raises(InputError, match="download"):
        hcstvg(root, root)
    assert mine.read_text() == "mine"
    # A build that cannot even begin leaves nothing behind.
    (root / "test.json").write_text("{")
    with pytest.raises(DataError, match=r"test\.json: .*JSON"):
        hcstvg(root, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]


def test_an_archive_in_place_of_the_folder_or_of_a_file(root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("train.json", "{}")
    with pytest.raises(DataError, match=r"data\.zip: .*archive"):
        hcstvg(tmp_path / "data.zip", tmp_path / "out")
    folder(root)
    (root / "train.json").write_bytes((tmp_path / "data.zip").read_bytes())
    with pytest.raises(DataError, match=r"train\.json: .*unzip"):
        hcstvg(root, tmp_path / "out")
    with pytest.raises(DataError, match="no such folder"):
        hcstvg(tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a\\..\\x", "C:/x", "", "a\0b"])
def test_paths_that_leave_the_folder(name: str) -> None:
    with pytest.raises(Unusable):
        inside(name)


@pytest.mark.parametrize("name", ["a.mp4", "0001/a.mp4", "LVVIS/train/00001", "-_a.b.mp4", "...mp4"])
def test_paths_that_stay(name: str) -> None:
    assert inside(name).as_posix() == name


def test_every_published_count_belongs_to_a_split_that_can_be_built() -> None:
    for name, split in PUBLISHED:
        assert split in SOURCES[name].splits + SOURCES[name].unscored
    assert {name for name, _ in PUBLISHED} == set(SOURCES) - {"custom"}


def run(*words: object) -> Any:
    return CliRunner().invoke(main.app, ["data", "build", *map(str, words)])


def test_the_command_shows_the_counts_and_what_was_left_out(root: Path, tmp_path: Path) -> None:
    done = run(
        "hcstvg-v1", "--root", folder(root), "--out", tmp_path / "out", "--split", "train", "--annotations-only"
    )
    assert done.exit_code == 0, done.output
    assert "~4,500" in done.output
    assert "train: 1 skipped: st_frame counts from 1" in done.output
    assert f"19 records in {tmp_path / 'out'}" in done.output


def test_a_download_of_one_split_says_how_to_build_that(root: Path, tmp_path: Path) -> None:
    (folder(root) / "test.json").unlink()
    with pytest.raises(DataError, match=r"--split train\|test$"):
        hcstvg(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert hcstvg(root, tmp_path / "out", split="train").splits["train"].kept == 19


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("imagenet",), "no data set 'imagenet'; there are: vidstg, hcstvg-v1"),
        (("hcstvg-v1", "--split", "val"), "hcstvg-v1 has no split 'val' to build; there are: train, test"),
        (("hcstvg-v1", "--max-skipped", "5"), "--max-skipped must be a share from 0 to 1, got 5"),
        (
            ("hcstvg-v1",),
            "no videos in it; expected the folder video or v1_video or v1; to build without videos",
        ),
        (("vidstg",), "VidSTG's sentences not found"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    words: tuple[str, ...], message: str, root: Path, tmp_path: Path
) -> None:
    done = run(*words, "--root", folder(root), "--out", tmp_path / "out")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "out").exists()
