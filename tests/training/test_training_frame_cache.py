"""The frame cache: what comes out is what decoding gives, and what is not in it is not made up."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "video"))
from support.video_files import write_file

from bridge_stg.cli.runs import recipe
from bridge_stg.curation.doctor.annotations import RecordFolder
from bridge_stg.curation.frame_extraction import FrameSettings, clips_of, extract_frames
from bridge_stg.errors import DataError, InputError
from bridge_stg.model.frames import fit_frame_size
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.records.record import TruthRecord, read_truth, write_truth
from bridge_stg.training.configuration import DataConfig, RecordsConfig, SourceConfig
from bridge_stg.training.data.cached_sampling import CACHES_VARIABLE, cached_or_sampled, caches, useless_caches
from bridge_stg.training.data.frame_cache import FrameCache
from bridge_stg.training.data.record_clips import read_clip
from bridge_stg.training.data.record_source import AnnotatedClips
from bridge_stg.types import SampledVideo, TimeSpan
from bridge_stg.video.sampling import sample_video

# 64x48 is read at 32x32.
SETTINGS = FrameSettings(fps=4.0, token_side=16, max_tokens=6)


def size(width: int, height: int) -> tuple[int, int]:
    return fit_frame_size(width, height, SETTINGS.token_side, SETTINGS.max_tokens)


def record(name: str, video: str, **changes: Any) -> TruthRecord:
    values: dict[str, Any] = {
        "id": name,
        "task": "vtg",
        "video": video,
        "fps": 30.0,
        "frame_count": 90,
        "clip": (0, 90),
        "width": 64,
        "height": 48,
        "query": "what happens",
        "window": (10, 40),
    }
    return TruthRecord(**values | changes)


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A turned video, one with B-frames, one with uneven times, a folder of pictures, and a picture."""
    folder = tmp_path_factory.mktemp("made") / "data"
    (folder / "frames").mkdir(parents=True)
    write_file(folder / "turned.mp4", stamps=tuple(range(90)), turn=90)
    write_file(folder / "b.mp4", stamps=tuple(range(90)), b_frames=3)
    write_file(folder / "uneven.mkv", stamps=tuple(number * number // 60 + number for number in range(40)))
    noise = np.random.default_rng(0)
    for number in range(12):
        pixels = noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "frames" / f"{number}.png")
    rec: dict[str, Any] = {"task": "rec", "window": None}
    pictures = {"fps": 2.0, "frame_count": 12}
    write_truth(
        folder / "truth.jsonl",
        [
            record("turned", "turned.mp4"),
            record("again", "turned.mp4", query="and what else"),
            record("part", "turned.mp4", clip=(7, 61)),
            record("b", "b.mp4", clip=(1, 90)),
            record("uneven", "uneven.mkv", frame_count=65, clip=(0, 65)),
            record("moment", "b.mp4", boxes={33: (0, 0, 9, 9)}, clip=(33, 34), **rec),
            record("pictures", "frames", media="frames", clip=(0, 12), window=(2, 5), **pictures),
            record("some", "frames", media="frames", clip=(3, 8), window=(3, 5), **pictures),
            record(
                "picture", "frames/0.png", media="image", fps=1.0, frame_count=1, clip=(0, 1),
                boxes={0: (0, 0, 9, 9)}, **rec,
            ),
        ],
    )  # fmt: skip
    return folder


def same(one: SampledVideo, other: SampledVideo) -> bool:
    return (
        one.info == other.info
        and np.array_equal(one.frames, other.frames)
        and one.frames.dtype == other.frames.dtype
        and np.array_equal(one.times, other.times)
        and np.array_equal(one.source_frames, other.source_frames)
        and (one.sampled_fps, one.notes) == (other.sampled_fps, other.notes)
    )


def test_every_clip_comes_out_as_decoding_gives_it(data: Path, tmp_path: Path) -> None:
    done = extract_frames(data, tmp_path / "cache", SETTINGS)
    clips, bad = clips_of(RecordFolder(data))
    assert (len(clips), bad, done.clips, done.failed) == (8, 0, 8, ())  # "again" asks about the same clip
    cache = FrameCache(tmp_path / "cache")
    frames = 0
    for clip in clips:
        decoded = sample_video(clip.path, SETTINGS.fps, size, clip.span, clip.times)
        found = cache.sample(clip.path, SETTINGS.fps, size, clip.span, clip.times)
        assert found is not None, clip
        assert same(found, decoded), clip
        frames += len(decoded)
    assert (cache.hits, cache.misses, done.frames) == (8, 0, frames)


def test_what_is_not_in_it_is_decoded(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract_frames(data, tmp_path / "cache", SETTINGS)
    cache = FrameCache(tmp_path / "cache")
    video = data / "b.mp4"
    part = TimeSpan(1 / 30, 3.0)
    assert cache.sample(video, 4.0, size, part) is not None
    assert cache.sample(video, 2.0, size, part) is None
    assert cache.sample(video, 4.0, size, TimeSpan(0.1, 3.0)) is None
    assert cache.sample(video, 4.0, None, part) is None
    assert cache.sample(video, 4.0, lambda w, h: (48, 32), part) is None
    assert cache.sample(data / "other.mp4", 4.0, size, part) is None
    assert (cache.hits, cache.misses) == (1, 5)
    monkeypatch.setenv(CACHES_VARIABLE, str(tmp_path / "cache"))
    for rate in (4.0, 2.0):
        found = cached_or_sampled(video, rate, size, part, None)
        assert same(found, sample_video(video, rate, size, part))
    (used,) = caches(str(tmp_path / "cache"))
    assert (used.hits, used.misses) == (1, 1)


def test_it_moves_with_the_data_and_needs_no_videos(data: Path, tmp_path: Path) -> None:
    extract_frames(data, tmp_path / "cache", SETTINGS)
    decoded = sample_video(data / "turned.mp4", 4.0, size)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(data, tmp_path / "elsewhere" / "data")
    shutil.move(tmp_path / "cache", tmp_path / "elsewhere" / "cache")
    video = tmp_path / "elsewhere" / "data" / "turned.mp4"
    video.unlink()
    cache = pickle.loads(pickle.dumps(FrameCache(tmp_path / "elsewhere" / "cache")))
    found = cache.sample(video, 4.0, size)
    assert found is not None
    assert same(replace(found, info=decoded.info), decoded)


def test_another_video_under_the_same_name_is_an_error(data: Path, tmp_path: Path) -> None:
    extract_frames(data, tmp_path / "cache", SETTINGS)
    write_file(data / "turned.mp4", stamps=tuple(range(80)))
    with pytest.raises(DataError, match="extract"):
        FrameCache(tmp_path / "cache").sample(data / "turned.mp4", 4.0, size)


def test_training_reads_the_same_clips(
    shapes_data: Path, small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = BridgeSTGProcessor.from_pretrained(str(small_checkpoint))
    config = processor.config
    settings = FrameSettings(config.sample_fps, config.pixels_per_token_side, config.max_tokens_per_frame)
    extract_frames(shapes_data, tmp_path / "cache", settings)
    records = read_truth(shapes_data / "truth.jsonl")
    monkeypatch.delenv(CACHES_VARIABLE, raising=False)
    decoded = [read_clip(one, shapes_data / one.video, processor) for one in records]
    monkeypatch.setenv(CACHES_VARIABLE, str(tmp_path / "cache"))
    cached = [read_clip(one, shapes_data / one.video, processor) for one in records]
    assert all(same(a, b) and x == y for (a, x), (b, y) in zip(decoded, cached, strict=True))
    (cache,) = caches(str(tmp_path / "cache"))
    # None of them was decoded: extraction and training agree on which part of a video a record needs.
    assert (cache.hits, cache.misses) == (len(records), 0)
    assert {one.task for one in records} >= {"stvg", "rec"}
    assert useless_caches(config.sample_fps, processor.frame_size) == []


def test_a_cache_that_a_model_cannot_use_is_said_before_the_run(
    shapes_data: Path,
    small_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    processor = BridgeSTGProcessor.from_pretrained(str(small_checkpoint))
    config = processor.config
    side, tokens = config.pixels_per_token_side, config.max_tokens_per_frame
    for name, rate, width in (("fits", 2.0, side), ("rate", 4.0, side), ("size", 2.0, 2 * side)):
        extract_frames(shapes_data, tmp_path / name, FrameSettings(rate, width, tokens))
    places = [str(tmp_path / name) for name in ("size", "fits", "rate")]
    monkeypatch.setenv(CACHES_VARIABLE, os.pathsep.join(places))
    source = SourceConfig(name="shapes", path=str(shapes_data / "truth.jsonl"))
    values = recipe("shapes").model_copy(update={"data": DataConfig(records=RecordsConfig(sources=(source,)))})
    AnnotatedClips(values, processor)
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(": ")[0] for line in said if "another rate or size" in line] == [places[0], places[2]]
    monkeypatch.setenv(CACHES_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere"):
        AnnotatedClips(values, processor)


def test_jpeg_is_near_and_says_so(shapes_data: Path, tmp_path: Path) -> None:
    settings = FrameSettings(jpeg_quality=95)
    runs = (FrameSettings(), settings)
    exact, near = (extract_frames(shapes_data, tmp_path / str(one.jpeg_quality), one) for one in runs)
    assert near.size < exact.size
    cache = FrameCache(tmp_path / "95")
    assert not cache.lossless
    video = shapes_data / "videos" / "000000.mp4"
    found = cache.sample(video, 2.0, lambda w, h: fit_frame_size(w, h, 32, 192))
    assert found is not None
    decoded = sample_video(video, 2.0, lambda w, h: fit_frame_size(w, h, 32, 192))
    apart = np.abs(found.frames.astype(int) - decoded.frames.astype(int))
    assert 0 < apart.mean() < 2.5
    assert np.array_equal(found.times, decoded.times)


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge_stg.curation.frame_extraction.CLIPS_PER_SHARD", 3)
    extract_frames(data, tmp_path / "whole", SETTINGS)
    extract_frames(data, tmp_path / "stopped", SETTINGS)
    shards = tmp_path / "stopped" / "shards"
    (shards / "00001.parquet").unlink()
    (shards / "00002.parquet").write_bytes((shards / "00002.parquet").read_bytes()[:500])
    (tmp_path / "stopped" / "cache.json").unlink()
    with pytest.raises(DataError, match=r"no cache\.json"):
        FrameCache(tmp_path / "stopped")
    told: list[tuple[int, int]] = []
    done = extract_frames(data, tmp_path / "stopped", SETTINGS, progress=lambda *now: told.append(now))
    assert (done.kept, told[0], told[-1]) == (3, (3, 8), (8, 8))
    names = [str(file.relative_to(tmp_path / "whole")) for file in sorted((tmp_path / "whole").rglob("*.*"))]
    assert len(names) == 7  # three shards, index, cache.json, plan.json, failed.jsonl
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes(), name


def test_clips_that_cannot_be_read_are_told_and_tried_again(data: Path, tmp_path: Path) -> None:
    content = (data / "b.mp4").read_bytes()
    (data / "b.mp4").write_text("no video")
    done = extract_frames(data, tmp_path / "cache", SETTINGS)
    told = [json.loads(line) for line in (tmp_path / "cache" / "failed.jsonl").read_text().splitlines()]
    assert [line["video"] for line in told] == ["b.mp4", "b.mp4"]
    assert [(line["video"], line["reason"]) for line in told] == list(done.failed)
    assert len(FrameCache(tmp_path / "cache")) == 6
    (data / "b.mp4").write_bytes(content)
    assert extract_frames(data, tmp_path / "cache", SETTINGS).failed == ()
    assert len(FrameCache(tmp_path / "cache")) == 8
    assert (tmp_path / "cache" / "failed.jsonl").read_text() == ""


@pytest.mark.process
def test_processes_write_what_one_writes(data: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        extract_frames(data, tmp_path / str(workers), SETTINGS, workers=workers)
    one, two = ((tmp_path / str(workers) / "shards" / "00000.parquet").read_bytes() for workers in (1, 2))
    assert one == two


def test_two_runs_are_not_mixed(data: Path, tmp_path: Path) -> None:
    extract_frames(data, tmp_path / "cache", SETTINGS)
    with pytest.raises(InputError, match="other settings"):
        extract_frames(data, tmp_path / "cache", FrameSettings())
    write_truth(data / "truth.jsonl", read_truth(data / "truth.jsonl")[:3])
    with pytest.raises(InputError, match="other records"):
        extract_frames(data, tmp_path / "cache", SETTINGS)
    with pytest.raises(InputError, match="other files"):
        extract_frames(data, data, SETTINGS)


def test_damage_to_a_cache_is_one_line(data: Path, tmp_path: Path) -> None:
    extract_frames(data, tmp_path / "cache", SETTINGS)
    shard = tmp_path / "cache" / "shards" / "00000.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="extract"):
        FrameCache(tmp_path / "cache").sample(data / "turned.mp4", 4.0, size)
    (tmp_path / "cache" / "index.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="extract"):
        FrameCache(tmp_path / "cache")
    (tmp_path / "cache" / "cache.json").write_text("{")
    with pytest.raises(DataError, match="extract"):
        FrameCache(tmp_path / "cache")


@pytest.mark.parametrize(
    "wrong", [{"fps": 0.0}, {"fps": float("nan")}, {"max_tokens": 0}, {"token_side": 0}, {"jpeg_quality": 101}]
)
def test_settings_that_mean_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--"):
        FrameSettings(**wrong)


def test_no_variable_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CACHES_VARIABLE, raising=False)
    assert caches("") == ()
    assert caches(os.pathsep) == ()
