"""Videos and truth on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from bridge_stg.errors import InputError
from bridge_stg.records.record import TruthRecord, read_truth
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import HELD_OUT, Scene, SceneSettings, Split, parse_split
from bridge_stg.shapes.world.questions import questions
from bridge_stg.shapes.world.render import render
from bridge_stg.shapes.world.scene import make_scene
from bridge_stg.shapes.world.writer import truth_record, write_shapes

WIDTH, HEIGHT = 96, 72


def save(
    out: Path,
    videos: int,
    seed: int,
    split: Split = "train",
    workers: int = 1,
    count: int = 4,
    progress: Callable[[int], None] | None = None,
) -> Path:
    settings = SceneSettings(split=split, width=WIDTH, height=HEIGHT)
    return write_shapes(
        out, videos, seed, settings, per_video_questions=count, workers=workers, progress=progress
    )


def scene_of(number: int) -> Scene:
    """The scene of video ``number`` of the written set: seed 5, split test."""
    return make_scene(5_000_000 + number, SceneSettings(split="test", width=WIDTH, height=HEIGHT))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shapes") / "set"
    done: list[int] = []
    truth = save(out, 3, 5, "test", count=6, progress=done.append)
    assert truth == out / "truth.jsonl"
    assert done == [1, 2, 3]
    return out


@pytest.mark.process
def test_two_processes_write_the_same_bytes(written: Path, tmp_path: Path) -> None:
    save(tmp_path / "again", 3, 5, "test", workers=2, count=6)
    names = sorted(path.relative_to(written) for path in written.rglob("*") if path.is_file())
    assert [str(name) for name in names] == ["truth.jsonl", *(f"videos/00000{i}.mp4" for i in range(3))]
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes(), name


def test_videos_show_their_scene_at_its_exact_rate(written: Path) -> None:
    for number in range(3):
        scene = scene_of(number)
        with av.open(str(written / f"videos/{number:06d}.mp4")) as container:
            stream = container.streams.video[0]
            assert stream.average_rate == scene.fps
            frames = list(container.decode(stream))
            base = frames[0].time_base
        assert base is not None
        exact = [Fraction(index) / scene.fps for index in range(scene.frame_count)]
        assert [(frame.pts or 0) * base for frame in frames] == exact
        for index in (0, scene.frame_count // 2, scene.frame_count - 1):
            drawn = render(scene, np.array([index / float(scene.fps)]), 96, 72)[0].astype(int)
            decoded = frames[index].to_ndarray(format="rgb24").astype(int)
            assert np.abs(drawn - decoded).mean() < 6


def test_truth_boxes_are_the_boxes_of_the_scene(written: Path) -> None:
    tasks = set()
    for record in read_truth(written / "truth.jsonl"):
        number = int(record.id.split("-")[2])
        scene = scene_of(number)
        assert record.video == f"videos/{number:06d}.mp4"
        assert (record.frame_count, record.fps) == (scene.frame_count, float(scene.fps))
        tasks.add(record.task)
        if record.task in ("vtg", "vqa"):
            assert not record.boxes
            continue
        frames = np.array(sorted(record.boxes))
        position, visible = boxes(scene, frames / float(scene.fps))
        pixels = position * [96, 72, 96, 72]
        found = np.array([record.boxes[frame] for frame in frames])
        same = [i for i in range(len(scene.objects)) if np.abs(pixels[i] - found).max() <= 0.0051]
        assert len(same) == 1
        assert visible[same[0]].all()
        if record.task == "stvg":
            assert record.window is not None
            assert record.window[0] == frames[0]
            assert record.window[1] == frames[-1] + 1
        if record.task == "rec":
            assert record.clip == (frames[0], frames[0] + 1)
    assert {"stvg", "vtg", "vqa"} <= tasks


def test_windows_in_frames_are_those_that_appear_inside(tmp_path: Path) -> None:
    """start <= f / fps < end, against a loop."""
    for seed in range(8):
        scene = make_scene(seed, SceneSettings())
        for question in questions(scene, np.random.default_rng(0))[:20]:
            if question.task != "vtg":
                continue
            record = truth_record(scene, question, "q", "v.mp4")
            assert question.window is not None
            inside = [
                frame
                for frame in range(scene.frame_count)
                if question.window.start <= frame / float(scene.fps) < question.window.end
            ]
            assert record.window == (inside[0], inside[-1] + 1)


def test_questions_of_a_video(written: Path) -> None:
    by_video: dict[str, list[TruthRecord]] = {}
    for record in read_truth(written / "truth.jsonl"):
        by_video.setdefault(record.video, []).append(record)
    assert len(by_video) == 3
    for records in by_video.values():
        assert [record.task for record in records].count("stvg") == 3
        assert len({record.query for record in records}) == len(records)
        assert all(record.split == "test" for record in records)


def test_compositional_sentences_name_the_held_out_pair(tmp_path: Path) -> None:
    truth = save(tmp_path / "held", 2, 1, "compositional", count=3)
    named = {f"{colour} {shape}" for colour, shape in HELD_OUT}
    records = read_truth(truth)
    assert records
    for record in records:
        if record.task in ("stvg", "vtg", "rec"):
            assert sum(name in record.query for name in named) == 1


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"a new (one|folder)"):
        save(tmp_path / "full", 1, 0)
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"a new (one|folder)"):
        save(tmp_path / "file", 1, 0)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "half", 2, 0, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"videos": 0},
        {"seed": -1},
        {"settings": SceneSettings(width=95, height=72)},
        {"workers": 0},
        {"per_video_questions": 0},
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    arguments: dict[str, object] = {"videos": 1, "seed": 0, **wrong}
    with pytest.raises(InputError, match="got"):
        write_shapes(tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()

    with pytest.raises(InputError, match="got 'dev'"):
        parse_split("dev")


def test_absent_and_repeated_events_are_written_beside_the_usual_questions(tmp_path: Path) -> None:
    small = SceneSettings(max_duration=6.0, width=WIDTH, height=HEIGHT)
    plain = read_truth(write_shapes(tmp_path / "plain", 3, 8, small, workers=1))
    more = read_truth(write_shapes(tmp_path / "more", 3, 8, small, absent=2, workers=1))
    refused = [record for record in more if record.absent]
    assert [record for record in more if not record.absent] == plain
    assert len(refused) == 6
    assert all(record.task == "stvg" and not record.windows and not record.boxes for record in refused)
    assert {record.provenance for record in more} == {"shapes, version 2 of the world"}

    lasting = replace(small, min_duration=12.0, max_duration=14.0, repeats=1.0)
    twice = read_truth(write_shapes(tmp_path / "twice", 4, 2, lasting, workers=1))
    several = [record for record in twice if len(record.windows) > 1]
    assert several
    for record in several:
        outside = [
            frame for frame in record.boxes if not any(first <= frame < last for first, last in record.windows)
        ]
        assert record.boxes
        assert not outside
