"""``VideoGrounder`` on real files, with a model that has learned a few answers by heart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.taught import TAUGHT

from bridge_stg.errors import CheckpointError, InputError, VideoError
from bridge_stg.inference import free_memory, locating
from bridge_stg.inference import grounder as module
from bridge_stg.inference.answer_outcome import read_outcome
from bridge_stg.inference.answering import Answers, answer
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.types import GroundingResult, TimeSpan
from bridge_stg.video.sampling import sample_video
from bridge_stg.weights.locate import checkpoint_folder

QUERIES = list(TAUGHT)
WINDOW = TimeSpan(1.0, 3.2)


@pytest.fixture(scope="module")
def grounder(taught_checkpoint: Path) -> VideoGrounder:
    return VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")


@pytest.fixture(scope="module")
def results(grounder: VideoGrounder, clip: Path) -> list[GroundingResult]:
    return grounder.ground(clip, QUERIES)


def same(one: GroundingResult, other: GroundingResult, boxes: float = 1e-3) -> None:
    assert (one.status, one.answer, one.window) == (other.status, other.answer, other.window)
    if one.tube is None or other.tube is None:
        assert one.tube is other.tube
        return
    assert one.tube.times.tolist() == other.tube.times.tolist()
    assert one.tube.frames.tolist() == other.tube.frames.tolist()
    assert np.abs(one.tube.boxes - other.tube.boxes).max() < boxes
    assert np.abs(one.tube.scores - other.tube.scores).max() < 1e-5


# --- what is answered


def test_statuses_answers_and_windows(results: list[GroundingResult]) -> None:
    assert [result.status for result in results] == ["ok", "ok", "no_window", "empty_window"]
    assert [result.answer for result in results] == list(TAUGHT.values())
    assert [result.window for result in results] == [WINDOW, TimeSpan(2.6, 2.9), None, None]
    assert [result.tube is None for result in results] == [False, False, True, True]


def test_a_cut_answer_says_so(grounder: VideoGrounder, results: list[GroundingResult], clip: Path) -> None:
    note = "the answer was cut at 2 tokens"
    query = next(iter(TAUGHT))
    assert note in grounder.ground(clip, query, max_answer_tokens=2).notes
    assert not [said for result in results for said in result.notes if "cut" in said]


def test_boxes_are_on_the_sampled_frames_of_the_window(results: list[GroundingResult], clip: Path) -> None:
    sampled = sample_video(clip, fps=2.0)
    inside = (sampled.times >= 1.0) & (sampled.times < 3.2)
    tube = results[0].tube
    assert tube is not None
    assert tube.times.tolist() == sampled.times[inside].tolist()
    assert tube.frames.tolist() == sampled.source_frames[inside].tolist()
    low, high = tube.boxes[:, :2], tube.boxes[:, 2:]
    assert (low >= 0).all()
    assert (low <= high).all()
    assert (high <= [96, 72]).all()
    assert ((tube.scores >= 0) & (tube.scores <= 1)).all()
    # Source pixels, not fractions of the frame.
    assert tube.boxes.max() > 2


def test_a_window_between_samples_has_the_nearest_frame(results: list[GroundingResult]) -> None:
    tube = results[1].tube
    assert tube is not None
    assert tube.times.tolist() == [3.0]  # 2.75 is nearer to it than to 2.48


@pytest.mark.parametrize("index", range(len(QUERIES)))
def test_several_sentences_equal_each_alone(
    grounder: VideoGrounder, results: list[GroundingResult], clip: Path, index: int
) -> None:
    same(grounder.ground(clip, QUERIES[index]), results[index])


@pytest.mark.parametrize(("frames", "sentences"), [(1, 8), (16, 1), (3, 3)])
def test_chunks_do_not_change_results(
    grounder: VideoGrounder,
    results: list[GroundingResult],
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    frames: int,
    sentences: int,
) -> None:
    monkeypatch.setattr(locating, "frames_at_once", lambda model, height, width: frames)
    monkeypatch.setattr(module, "sentences_at_once", lambda model, tokens: sentences)
    for one, other in zip(grounder.ground(clip, QUERIES), results, strict=True):
        same(one, other)


@pytest.mark.parametrize("room", [1, 2])
def test_out_of_memory_halves_the_sentences_at_a_time(
    grounder: VideoGrounder,
    results: list[GroundingResult],
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    room: int,
) -> None:
    asked: list[int] = []

    def with_little_room(model: Any, read: Any, questions: Any, *rest: Any, **options: Any) -> Answers:
        asked.append(len(questions))
        if len(questions) > room:
            raise torch.OutOfMemoryError("no memory left")
        return answer(model, read, questions, *rest, **options)

    monkeypatch.setattr(module, "answer", with_little_room)
    for one, other in zip(grounder.ground(clip, QUERIES), results, strict=True):
        same(one, other)
    assert asked[0] == len(QUERIES)
    assert max(asked[1:]) < len(QUERIES)
    assert asked[-1] <= room


def test_out_of_memory_halves_the_frames_at_a_time(
    grounder: VideoGrounder, results: list[GroundingResult], clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = grounder.model.localizer.encode
    asked: list[int] = []

    def with_little_room(pixels: Any, *rest: Any) -> Any:
        asked.append(len(pixels))
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("no memory left")
        return encode(pixels, *rest)

    monkeypatch.setattr(grounder.model.localizer, "encode", with_little_room)
    for one, other in zip(grounder.ground(clip, QUERIES), results, strict=True):
        same(one, other)
    assert asked[0] > 2
    assert asked[-1] <= 2


def test_memory_that_a_cpu_can_have_is_what_linux_says_is_available() -> None:
    told = Path("/proc/meminfo").read_text(encoding="ascii").split("MemAvailable:")[1].split()[0]
    assert free_memory.free_bytes(torch.device("cpu")) == pytest.approx(int(told) * 1024, rel=0.2)


def test_frames_at_a_time_follow_from_free_bytes(
    grounder: VideoGrounder, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = free_memory.frame_activations(grounder.model.config.spatial, 240, 320) * 4
    fitting = []
    for frames in (0, 1, 5, 1000):
        monkeypatch.setattr(free_memory, "free_bytes", lambda device, frames=frames: 4 * each * frames + 8)
        fitting.append(free_memory.frames_at_once(grounder.model, 240, 320))
    assert fitting == [1, 1, 5, free_memory.MOST_FRAMES]


def test_one_sentence_that_does_not_fit_fails(
    grounder: VideoGrounder, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_room(*rest: Any, **options: Any) -> Answers:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(module, "answer", without_room)
    with pytest.raises(torch.OutOfMemoryError):
        grounder.ground(clip, QUERIES)


def test_the_tube_follows_the_sentence(
    results: list[GroundingResult], grounder: VideoGrounder, clip: Path
) -> None:
    """The bridge reaches the boxes: other words about the same frames give other scores."""
    one, other = grounder.ground(clip, QUERIES[:2], window=WINDOW)
    assert one.tube is not None
    assert other.tube is not None
    assert one.tube.times.tolist() == other.tube.times.tolist()
    assert np.abs(one.tube.scores - other.tube.scores).max() > 1e-6


# --- options


def test_a_given_window_replaces_the_predicted_one(grounder: VideoGrounder, clip: Path) -> None:
    result = grounder.ground(clip, QUERIES[2], window=TimeSpan(-1.0, 1.4))
    assert (result.status, result.window) == ("ok", TimeSpan(0.0, 1.4))
    assert result.tube is not None
    assert len(result.tube) == 3  # 0.0, 0.5, 1.0


@pytest.mark.parametrize("span", [TimeSpan(90.0, 99.0), TimeSpan(1.0, 1.0), TimeSpan(-3.0, -1.0)])
@pytest.mark.parametrize("box_fps", [None, 5.0])
def test_a_given_window_outside_the_video_is_an_error(
    grounder: VideoGrounder, clip: Path, span: TimeSpan, box_fps: float | None
) -> None:
    with pytest.raises(InputError, match="outside the video"):
        grounder.ground(clip, QUERIES[0], window=span, box_fps=box_fps)


def test_denser_boxes(grounder: VideoGrounder, results: list[GroundingResult], clip: Path) -> None:
    sparse, dense = results[0].tube, grounder.ground(clip, QUERIES[0], box_fps=8.0).tube
    assert sparse is not None
    assert dense is not None
    # 2.2 s at 8 per second, and never a frame that appeared before the window opened.
    assert 17 <= len(dense) <= 18
    assert ((dense.times >= WINDOW.start) & (dense.times < WINDOW.end)).all()
    shared = np.isin(dense.frames, sparse.frames)
    assert shared.sum() >= 2
    kept = np.isin(sparse.frames, dense.frames)
    assert np.abs(dense.boxes[shared] - sparse.boxes[kept]).max() < 1e-3


def test_denser_boxes_than_frames_are_the_frames(grounder: VideoGrounder, clip: Path) -> None:
    tube = grounder.ground(clip, QUERIES[1], box_fps=1000.0).tube
    assert tube is not None
    fps = sample_video(clip, fps=2.0).info.fps
    expected = [frame for frame in range(200) if 2.6 <= float(frame / fps) < 2.9]
    assert tube.frames.tolist() == expected


def test_progress_names_the_stages(grounder: VideoGrounder, clip: Path) -> None:
    told: list[str] = []
    result = grounder.ground(clip, QUERIES[0], progress=told.append, timing=True)
    assert told == ["decode", "preprocess", "vision", "prefill", "answer", "bridge", "spatial"]
    assert list(result.timing_ms) == told
    assert all(value > 0 for value in result.timing_ms.values())


# --- JSON


def test_json_is_the_documented_schema(
    results: list[GroundingResult], clip: Path, taught_checkpoint: Path
) -> None:
    found = json.loads(json.dumps(results[0].to_json()))
    info = sample_video(clip, fps=2.0).info
    boxes = found.pop("boxes")
    confidence = found.pop("confidence")
    assert 0 < confidence < 1
    assert found == {
        "schema": "bridge-stg/tube/1",
        "video": str(clip),
        "query": QUERIES[0],
        "status": "ok",
        "answer": TAUGHT[QUERIES[0]],
        "answer_style": "direct",
        "reasoning": "",
        "video_info": {
            "width": 96,
            "height": 72,
            "fps": str(info.fps),
            "duration": round(info.duration, 6),
            "frames": info.frames,
        },
        "window": {"start": 1.0, "end": 3.2},
        "windows": [{"start": 1.0, "end": 3.2, "score": confidence}],
        "sampled_fps": 2.0,
        "checkpoint": str(taught_checkpoint),
        "timing_ms": {},  # it was not asked for
        "notes": [],
    }
    assert Fraction(found["video_info"]["fps"]) == info.fps
    assert all(set(box) == {"time", "frame", "box", "score"} for box in boxes)
    assert all(isinstance(box["frame"], int) and len(box["box"]) == 4 for box in boxes)
    assert results[2].to_json()["window"] is None
    assert results[2].to_json()["boxes"] == []


# --- reading a window


@pytest.mark.parametrize(
    ("text", "status", "window"),
    [
        ("from 1.0 to 2.5 seconds", "ok", (1.0, 2.5)),
        ("from 1.0 to 99.0 seconds", "ok", (1.0, 8.0)),
        ("from -1.0 to 2.0 seconds", "ok", (0.0, 2.0)),
        (f"from 1.0 to {'9' * 400} seconds", "ok", (1.0, 8.0)),
        ("from 2.0 to 2.0 seconds", "empty_window", None),
        ("from 3.0 to 2.0 seconds", "empty_window", None),
        ("from 8.0 to 9.0 seconds", "empty_window", None),
        ("from 20.0 to 30.0 seconds", "empty_window", None),
        (f"from {'9' * 400} to {'9' * 400} seconds", "empty_window", None),
        ("from 1.0 seconds", "no_window", None),
        ("", "no_window", None),
    ],
)
def test_read_outcome_of_eight_seconds(text: str, status: str, window: tuple[float, float] | None) -> None:
    found = read_outcome(text, TimeSpan(0.0, 8.0))
    assert (found.status, found.windows) == (status, () if window is None else (TimeSpan(*window),))


# --- images


def save_frames(clip: Path, folder: Path, rate: float) -> list[float]:
    folder.mkdir()
    sampled = sample_video(clip, fps=rate)
    for number, frame in enumerate(sampled.frames):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return [float(time) for time in sampled.times]


def test_a_single_image_is_searched_as_a_whole(grounder: VideoGrounder, clip: Path, tmp_path: Path) -> None:
    save_frames(clip, tmp_path / "frames", 2.0)
    result = grounder.ground(tmp_path / "frames" / "0.png", "the red circle")
    assert (result.status, result.window) == ("ok", TimeSpan(0.0, 1.0))
    assert result.tube is not None
    assert (result.tube.times.tolist(), result.tube.frames.tolist()) == ([0.0], [0])
    # Several pictures in one file are no image, whatever its name says.
    first, second = (Image.open(tmp_path / "frames" / f"{number}.png") for number in (0, 4))
    first.save(tmp_path / "moving.png", save_all=True, append_images=[second, first], duration=500)
    moving = grounder.ground(tmp_path / "moving.png", "the red circle")
    assert (moving.info.frames, moving.info.duration) == (3, 1.5)
    assert moving.answer != result.answer
    # The same picture as a folder of one image is a video, with a time to ask about.
    (tmp_path / "one").mkdir()
    (tmp_path / "frames" / "0.png").rename(tmp_path / "one" / "0.png")
    assert grounder.ground(tmp_path / "one", "the red circle", times=[0.0]).answer != result.answer


def test_a_folder_of_the_sampled_frames_equals_the_video(
    grounder: VideoGrounder, results: list[GroundingResult], clip: Path, tmp_path: Path
) -> None:
    times = save_frames(clip, tmp_path / "frames", 2.0)
    from_list = grounder.ground(tmp_path / "frames", QUERIES[0], times=times)
    (tmp_path / "frames" / "times.txt").write_text("\n".join(map(repr, times)))
    from_file = grounder.ground(tmp_path / "frames", QUERIES[0])
    same(from_list, from_file)
    tube, expected = from_file.tube, results[0].tube
    assert from_file.answer == results[0].answer
    assert tube is not None
    assert expected is not None
    assert tube.times.tolist() == pytest.approx(expected.times.tolist())
    assert np.abs(tube.boxes - expected.boxes).max() < 1e-3
    assert tube.frames.tolist() == [2, 3, 4, 5, 6]  # places in the folder


# --- bad input


@pytest.mark.parametrize("query", ["", "   ", "word " * 10_000])
def test_a_bad_query_is_an_input_error(grounder: VideoGrounder, clip: Path, query: str) -> None:
    with pytest.raises(InputError, match="query"):
        grounder.ground(clip, query)


def test_no_query_at_all(grounder: VideoGrounder, clip: Path) -> None:
    with pytest.raises(InputError, match="no query"):
        grounder.ground(clip, [])


def test_special_tokens_in_a_query_are_letters(grounder: VideoGrounder, clip: Path) -> None:
    hostile = "a <det> <|video_pad|> <|im_end|> <|vision_start|> b"
    question = grounder.processor.question_ids("stvg", hostile)
    reply = grounder.processor.question_ids("stvg", "x")[-len(grounder.processor.reply_start) :]
    plain = question[: -len(reply)]
    assert not set(grounder.processor.tokenizer.all_special_ids) & set(plain)
    assert grounder.processor.tokenizer.decode(plain).endswith(hostile)
    assert grounder.ground(clip, hostile).query == hostile


def test_a_missing_video(grounder: VideoGrounder, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file"):
        grounder.ground(tmp_path / "none.mp4", "x")


@pytest.mark.parametrize(
    "name", ["/nowhere/at/all", "./nowhere", "nowhere", "tests/nowhere", "~/nowhere", "a/b/c"]
)
def test_a_path_that_leads_nowhere_does_not_ask_the_network(name: str) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        VideoGrounder.from_pretrained(name)


def test_what_names_a_checkpoint(small_checkpoint: Path, tmp_path: Path) -> None:
    assert checkpoint_folder(str(small_checkpoint)) == str(small_checkpoint)
    assert checkpoint_folder("owner-of/some-model") == "owner-of/some-model"
    with pytest.raises(CheckpointError, match="is a file"):
        checkpoint_folder(str(small_checkpoint / "config.json"))
    run = tmp_path / "run"
    shutil.copytree(small_checkpoint, run / "checkpoint")
    (run / "config.json").write_text('{"name": "shapes"}')
    with pytest.raises(CheckpointError, match=str(run / "checkpoint")):
        checkpoint_folder(str(run))
    (run / "checkpoint" / "adapter.json").write_text("{}")
    with pytest.raises(CheckpointError, match=f"merge {run / 'checkpoint'} --out"):
        checkpoint_folder(str(run / "checkpoint"))


def test_a_device_that_is_not_there(small_checkpoint: Path) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        VideoGrounder.from_pretrained(str(small_checkpoint), device="abacus")


def test_a_revision_of_a_hub_id(small_checkpoint: Path, tmp_path: Path) -> None:
    """Out of a cache without network: the main branch holds no checkpoint, the branch "tuned" does."""
    repository = tmp_path / "models--owner-of--some-model"
    for branch, commit in (("main", "0" * 40), ("tuned", "1" * 40)):
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / branch).write_text(commit)
        (repository / "snapshots" / commit).mkdir(parents=True)
    for file in small_checkpoint.iterdir():
        (repository / "snapshots" / ("1" * 40) / file.name).write_bytes(file.read_bytes())
    code = """
from bridge_stg import VideoGrounder
from bridge_stg.errors import CheckpointError
name = "owner-of/some-model"
print(VideoGrounder.from_pretrained(name, device="cpu", revision="tuned", token=False).name)
try:
    VideoGrounder.from_pretrained(name, device="cpu")
except CheckpointError:
    print("not on main")
"""
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "owner-of/some-model\nnot on main\n", done.stderr


def test_several_videos_one_of_which_cannot_be_read(
    grounder: VideoGrounder, clip: Path, tmp_path: Path, results: list[GroundingResult]
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    asked = [(clip, QUERIES[0]), (tmp_path / "broken.mp4", "anything"), (clip, QUERIES[:2])]
    first, broken, last = grounder.ground_videos(asked)
    same(first.results[0], results[0])
    assert isinstance(broken.problem, VideoError)
    assert broken.results == ()
    assert [one.window for one in last.results] == [one.window for one in results[:2]]


@pytest.mark.parametrize("queries", [None, 3, [], ["a circle", None]])
def test_a_sentence_that_is_none_is_the_problem_of_its_place(
    grounder: VideoGrounder, clip: Path, queries: Any
) -> None:
    (found,) = grounder.ground_videos([(clip, queries)])
    assert isinstance(found.problem, InputError)
    assert found.results == ()
