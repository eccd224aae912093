"""Videos with foreign clips inserted: pixels on both sides of a seam, boxes after it, filters, the seed."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from bridge_stg.cli import main
from bridge_stg.curation.reading.outcome import Unusable
from bridge_stg.curation.synthesis.plan import Donors, Insert, VideoPlan, make_plan, synthetic_record
from bridge_stg.curation.synthesis.run import synthesize
from bridge_stg.curation.synthesis.video import cover
from bridge_stg.errors import DataError
from bridge_stg.records.record import TruthRecord, read_truth, write_truth
from bridge_stg.records.store import RecordStore
from bridge_stg.video.decode import open_source
from bridge_stg.video.write import VideoWriter

# A base is red with a white square, a donor is blue; the square of frame f is at x = 2 f + 4.
SIZES = {"base": (96, 64, 10), "donor": (64, 96, 25), "slow": (48, 48, 4)}


def square(frame: int) -> tuple[float, float, float, float]:
    return 2.0 * frame + 4, 20, 2.0 * frame + 20, 36


def picture(name: str, frame: int, width: int, height: int) -> Any:
    # The level of red (base) or green (donor) tells the frame, in steps that two compressions do not blur.
    colour = (60 + 6 * frame, 40, 40) if name == "base" else (60, 40 + 6 * (frame % 25), 160)
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = colour
    if name == "base":
        x1, y1, x2, y2 = map(int, square(frame))
        pixels[y1:y2, x1:x2] = 255
    return pixels


def record(name: str, frames: int, **changes: Any) -> TruthRecord:
    width, height, fps = SIZES[name]
    boxes = {frame: square(frame) for frame in range(frames)}
    values: dict[str, Any] = {
        "id": name,
        "task": "vot",
        "video": f"{name}.mp4",
        "fps": float(fps),
        "frame_count": frames,
        "clip": (0, frames),
        "width": width,
        "height": height,
        "query": f"the thing in {name}",
        "boxes": boxes if name == "base" else {},
    }
    return TruthRecord(**{**values, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of different size and rate, and their truth.jsonl."""
    place = tmp_path_factory.mktemp("synthesis")
    records = [record("base", 30), record("donor", 100), record("slow", 20)]
    for one in records:
        with VideoWriter(place / one.video, one.width, one.height, Fraction(one.fps)) as writer:
            for frame in range(one.frame_count):
                writer.write(picture(one.id, frame, one.width, one.height))
    write_truth(place / "truth.jsonl", records)
    return place


def made(folder: Path, out: Path, **options: Any) -> tuple[TruthRecord, Any, Any]:
    """The only sample: its record, its decoded frames, and the line of inserts.jsonl."""
    records = read_truth(folder / "truth.jsonl")
    synthesize(records, lambda one: folder / one.video, out, **options)
    (one,) = read_truth(out / "truth.jsonl")
    source = open_source(out / one.video)
    assert isinstance(source.info.fps, Fraction)
    frames = np.stack([pixels for _, pixels in source.read(range(source.info.frames))])
    return one, frames, json.loads((out / "inserts.jsonl").read_text())


def assert_levels(found: Any, expected: Any) -> None:
    """Being compressed twice darkens by up to 4 levels; the neighbouring frame is 6 away on either side."""
    assert (expected - found).max() < 5
    assert (expected - found).min() > -1


@pytest.mark.parametrize("seed", range(4))
def test_pixels_and_boxes_around_the_seams(folder: Path, tmp_path: Path, seed: int) -> None:
    one, frames, inserts = made(folder, tmp_path / "out", seed=seed)
    assert frames.shape == (one.frame_count, 64, 96, 3)
    assert (one.width, one.height, one.fps, one.task) == (96, 64, 10.0, "stvg")
    before, after = ((inserts[side] or {"frames": 0})["frames"] for side in ("before", "after"))
    assert one.frame_count == before + 30 + after
    assert one.window == (before, before + 30)
    # Every frame, so also the last and first one on each side of a seam: foreign ones are blue ...
    foreign = np.ones(one.frame_count, bool)
    foreign[before : before + 30] = False
    corner = frames[:, 50:62, 80:94].mean((1, 2))
    assert (corner[foreign, 2] > 120).all()
    # ... and the others are the base, one by one, none lost or shown twice.
    levels = corner[~foreign, 0]
    assert_levels(levels, 60 + 6 * np.arange(30))
    assert (corner[~foreign, 2] < 80).all()
    assert sorted(one.boxes) == list(range(before, before + 30))
    for frame, (x1, y1, x2, y2) in one.boxes.items():
        # White inside the box, one pixel off its edge, and red outside: the box is where the square is.
        grey = frames[frame, :, :, 1].astype(int)
        rows, columns = np.nonzero(grey > 128)
        found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.array(found) - (x1, y1, x2, y2)).max() <= 1


@pytest.mark.parametrize("seed", range(3))
def test_a_foreign_clip_runs_at_its_own_speed(folder: Path, tmp_path: Path, seed: int) -> None:
    """Level 6 k of the donor's frame k says which frame is shown at each time."""
    _, frames, inserts = made(folder, tmp_path / "out", seed=seed)
    for side in ("before", "after"):
        insert = inserts[side]
        if insert is None:
            continue
        rate = SIZES[insert["video"].removesuffix(".mp4")][2]
        moments = insert["start"] + np.arange(insert["frames"]) / 10
        expected = 40 + 6 * (np.floor(moments * rate + 1e-4).astype(int) % 25)
        part = frames[: insert["frames"]] if side == "before" else frames[-insert["frames"] :]
        levels = part[:, 2:10, 2:10, 1].mean((1, 2))
        assert_levels(levels, expected)


def test_the_same_seed_makes_the_same_and_another_does_not(folder: Path, tmp_path: Path) -> None:
    for out in ("a", "b"):
        one, _, _ = made(folder, tmp_path / out, seed=3)
    names = ("truth.jsonl", "inserts.jsonl", "skipped.jsonl", "counts.json", one.video)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    others = set()
    for seed in (4, 5):
        made(folder, tmp_path / str(seed), seed=seed)
        others.add((tmp_path / str(seed) / "inserts.jsonl").read_text())
    assert len(others) == 2


def test_what_is_dropped_is_counted(folder: Path, tmp_path: Path) -> None:
    base, donor, slow = read_truth(folder / "truth.jsonl")
    short = replace(base, id="short", boxes={frame: base.boxes[frame] for frame in range(9)})
    just = replace(base, id="just", boxes={frame: base.boxes[frame] for frame in range(10)})
    long = replace(base, id="long", video="long.mp4", frame_count=1801, clip=(0, 1801))
    other = replace(base, id="other", frame_count=29, clip=(0, 29), boxes=just.boxes)
    vtg = replace(slow, id="vtg", task="vtg", window=(0, 9))
    gone = replace(base, id="gone", video="gone.mp4")
    given = [base, donor, slow, short, just, long, other, vtg, gone]
    report = synthesize(given, lambda one: folder / one.video, tmp_path / "out")
    reasons = {
        line["id"]: line["reason"]
        for line in map(json.loads, (tmp_path / "out" / "skipped.jsonl").read_text().splitlines())
    }
    assert reasons["short"] == "an annotated span shorter than 1 s"
    assert reasons["long"] == "a video longer than 180 s"
    assert reasons["other"] == "the video is another one than its record says"
    assert reasons["vtg"] == "not about a tube in a video"
    assert reasons["gone"] == "a video cannot be read"
    assert reasons["donor"] == "no boxes in the clip"
    kept = {one.id for one in RecordStore(tmp_path / "out", cache=tmp_path / "cache")}
    assert "synthetic/just" in kept
    assert report.kept + report.dropped.total() == report.read == 9
    named = {one.video for one in read_truth(tmp_path / "out" / "truth.jsonl")}
    found = {f"videos/{path.name}" for path in (tmp_path / "out" / "videos").iterdir()}
    assert found == named
    assert len(found) == report.kept


def test_nothing_to_insert_is_an_error_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="other video"):
        synthesize([record("base", 30)], lambda one: folder / one.video, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_donors_show_something_else() -> None:
    cat = record("donor", 99, id="c", video="c.mp4", query="A cat", category="cat")
    dog = record("donor", 99, id="d", video="d.mp4", query="Dog")
    also = record("donor", 99, id="e", video="c.mp4", query="a bird")
    base = record("base", 30, query="dog ", category="animal")
    donors = Donors([base, cat, dog, also])
    assert {donors.choose(base, random.Random(seed)).video for seed in range(20)} == {"c.mp4"}
    with pytest.raises(Unusable):
        donors.choose(replace(base, category="cat"), random.Random(0))


def test_donors_are_of_the_same_split() -> None:
    videos = (("a", ["train"]), ("b", ["train", "test"]), ("c", ["test"]))
    donors = Donors(
        record("donor", 99, id=f"{name}/{split}", video=f"{name}.mp4", query=name, split=split)
        for name, splits in videos
        for split in splits
    )
    for split, video in (("train", "a.mp4"), ("test", "c.mp4")):
        base = record("base", 30, split=split)
        assert {donors.choose(base, random.Random(seed)).video for seed in range(20)} == {video}


@given(st.integers(0, 5), st.integers(6, 30), st.integers(0, 50), st.integers(0, 50))
def test_only_the_clip_is_used(start: int, end: int, before: int, after: int) -> None:
    donor = record("donor", 99)
    base = record("base", 30, clip=(start, end))
    inserts = [Insert(donor, 0.0, frames) if frames else None for frames in (before, after)]
    plan = VideoPlan(base, *inserts)
    one = synthetic_record(plan, "v.mp4", (96, 64))
    assert one.frame_count == before + end - start + after
    assert one.window == (before, before + end - start)
    assert all(box == base.boxes[frame - before + start] for frame, box in one.boxes.items())


@given(st.integers(0, 200))
def test_plans_keep_the_limits(seed: int) -> None:
    plan = make_plan(record("base", 30), Donors([record("base", 30), record("donor", 100)]), seed)
    assert plan.before is not None or plan.after is not None
    for insert in filter(None, (plan.before, plan.after)):
        assert 20 <= insert.frames <= 40  # 2 s at least, and the donor lasts 4
        assert insert.start >= 0
        assert insert.start + insert.frames / 10 <= 4 + 1e-9


def test_cover_keeps_the_middle() -> None:
    pixels = np.zeros((10, 40, 3), np.uint8)
    pixels[:, 15:25] = 255
    assert cover(pixels, 10, 10).min() == 255
    assert cover(pixels, 20, 20).shape == (20, 20, 3)


def compressed(mask: Any) -> str:
    """COCO's text of a mask, straight from its definition."""
    flat = np.concatenate([[0], mask.T.ravel(), [2]])
    changes = np.flatnonzero(np.diff(flat.astype(int)))
    lengths = np.diff(np.concatenate([[0], changes])).tolist()
    text = ""
    for position, length in enumerate(lengths):
        value = length - lengths[position - 2] if position > 2 else length
        while True:
            bits, value = value & 31, value >> 5
            more = not ((value == 0 and not bits & 16) or (value == -1 and bits & 16))
            text += chr((bits | (32 if more else 0)) + 48)
            if not more:
                break
    return text


def test_revos_as_downloaded(tmp_path: Path) -> None:
    """Masks of an odd-sized video of pictures: the record's boxes are where the pixels of the new video are."""
    root, frames = tmp_path / "revos", 6
    videos, masks = {}, {}
    for number, name in enumerate(("LVVIS/train/a", "LVVIS/train/b")):
        names = [f"{frame:05d}" for frame in range(0, 5 * frames, 5)]
        place = root / "JPEGImages" / name
        place.mkdir(parents=True)
        drawn = []
        for frame, file in enumerate(names):
            mask = np.zeros((47, 63), np.uint8)
            mask[10:30, 4 + 5 * frame : 24 + 5 * frame] = 1
            pixels = np.where(mask[..., None] > 0, 255, np.uint8([0, 0, 120] if number else [120, 0, 0]))
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{file}.jpg", quality=95, subsampling=0)
            drawn.append({"size": [47, 63], "counts": compressed(mask)})
        sentence = {"exp": f"thing {number}", "obj_id": [1], "anno_id": [number], "type_id": 0}
        videos[name] = {"vid_id": number, "height": 47, "width": 63, "frames": names}
        videos[name]["expressions"] = {"0": sentence, "1": sentence | {"anno_id": []}}
        masks[str(number)] = drawn
    (root / "meta_expressions_train_.json").write_text(json.dumps({"videos": videos}))
    (root / "mask_dict.json").write_text(json.dumps(masks))
    out = tmp_path / "out"
    words = ["data", "synthesize", "--revos", str(root), "--out", str(out), "--limit", "1", "--seed", "2"]
    done = CliRunner().invoke(main.app, words)
    assert done.exit_code == 0, done.output
    assert "not used 2: " in done.output
    assert "1 of 2 records" in done.output
    (one,) = read_truth(out / "truth.jsonl")
    source = open_source(out / one.video)
    assert (one.width, one.height) == (64, 48) == (source.info.width, source.info.height)
    assert one.window is not None
    assert one.window[1] - one.window[0] == frames
    for frame, pixels in source.read(range(source.info.frames)):
        if frame not in one.boxes:
            continue
        rows, columns = np.nonzero(pixels[..., 1] > 128)
        found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.abs(np.array(found) - one.boxes[frame]).max() <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give either --revos or --records"),
        (["--revos", "nowhere"], "no such folder"),
        (["--records", "nowhere"], "neither store.json"),
        (["--revos", "x", "--split", "test"], "no split 'test'"),
        (["--revos", "x", "--fps", "0"], "--fps must be a positive number"),
        (["--records", "nowhere", "--split", "valid"], "--split and --fps are for --revos"),
        (["--records", "nowhere", "--fps", "2"], "--split and --fps are for --revos"),
    ],
)
def test_bad_input_of_the_command(tmp_path: Path, words: list[str], said: str) -> None:
    done = CliRunner().invoke(main.app, ["data", "synthesize", "--out", str(tmp_path / "o"), *words])
    assert done.exit_code == 2
    assert said in done.output
