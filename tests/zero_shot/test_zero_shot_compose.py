"""Method compose: a window in words, boxes from a detector, linked over time."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.command import refused, run
from support.tiny_folders import save_open_vocabulary_detector
from typer.testing import CliRunner

from bridge_stg.cli.main import app
from bridge_stg.errors import CheckpointError, InputError
from bridge_stg.serve.model_process import ModelProcess
from bridge_stg.serve.settings import ModelChoice
from bridge_stg.types import TimeSpan
from bridge_stg.zero_shot.compose import ComposeGrounder, detector_size, link_boxes, subject_of

WINDOW = TimeSpan(1.0, 3.2)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_open_vocabulary_detector(tmp_path_factory.mktemp("detector") / "tiny")


@pytest.fixture(scope="module")
def grounder(tiny_qwen3_vl: Path, detector: Path) -> ComposeGrounder:
    return ComposeGrounder.from_pretrained(tiny_qwen3_vl, detector, device="cpu", threads=1)


@pytest.mark.parametrize(
    ("sentence", "subject"),
    [
        ("the red circle that moves left", "red circle"),
        ("which man in blue is running?", "man in blue"),
        ("What is behind the car?", "is behind the car"),
        ("A dog, barking", "dog"),
        ("the wing of a bird is flapping", "wing of a bird"),
        ("something blinking near the door", "something"),
        ("who?", "who"),
        ("  the\n child  who waves ", "child"),
    ],
)
def test_the_subject_is_in_the_first_words(sentence: str, subject: str) -> None:
    assert subject_of(sentence) == subject


def brute_force(frames: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> float:
    def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
        both = np.prod(np.clip(high - low, 0, None))
        return float(both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both))

    def worth(path: tuple[int, ...]) -> float:
        total = sum(scores[index] for (_, scores), index in zip(frames, path, strict=True))
        boxes = [boxes[index] for (boxes, _), index in zip(frames, path, strict=True)]
        return float(total + sum(overlap(a, b) for a, b in itertools.pairwise(boxes)))

    return max(worth(path) for path in itertools.product(*[range(len(scores)) for _, scores in frames]))


def test_linking_finds_the_best_of_all_paths() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        frames = []
        for count in (3, 1, 4, 2):
            corners = np.sort(random.random((count, 2, 2)), axis=1).reshape(count, 4)
            frames.append((corners, random.random(count)))
        boxes, scores = link_boxes(frames)
        alone = [(box[None], score[None]) for box, score in zip(boxes, scores, strict=True)]
        assert brute_force(alone) == pytest.approx(brute_force(frames))


def test_boxes_are_those_of_the_detector_in_source_pixels(grounder: ComposeGrounder, clip: Path) -> None:
    result = grounder.ground(clip, "the red circle that moves left", window=WINDOW, box_fps=4.0)
    assert (result.status, result.window) == ("ok", WINDOW)
    assert result.tube is not None
    assert len(result.tube) == 9
    assert ((result.tube.times >= WINDOW.start) & (result.tube.times < WINDOW.end)).all()

    # Every box is one that the detector gives for its frame, with its score.
    from bridge_stg.video.decode import open_source

    frames = dict(open_source(clip).read(result.tube.frames.tolist()))
    scale = np.array([result.info.width, result.info.height] * 2)
    for frame, box, score in zip(result.tube.frames, result.tube.boxes, result.tube.scores, strict=True):
        boxes, scores = grounder.detect(frames[int(frame)], "red circle")
        place = np.abs(boxes * scale - box).max(1).argmin()
        np.testing.assert_allclose(boxes[place] * scale, box, atol=1e-3)
        assert scores[place] == pytest.approx(score, abs=1e-6)
    assert any("'red circle'" in note and "no score" in note for note in result.notes)


def test_the_words_matter_and_never_become_special_tokens(grounder: ComposeGrounder) -> None:
    frame = np.random.default_rng(1).integers(0, 255, (72, 96, 3), dtype=np.uint8)
    one, other = (grounder.detect(frame, text)[1] for text in ("red circle", "blue star"))
    assert np.abs(one - other).max() > 1e-6
    marks = grounder.tokenizer("[SEP] x.", split_special_tokens=True)["input_ids"]
    assert marks.count(102) == 1
    assert np.isfinite(grounder.detect(frame, "[SEP] [CLS] x")[1]).all()


def test_a_frame_is_never_enlarged() -> None:
    assert detector_size(320, 240) == (320, 240)
    assert detector_size(3840, 2160) == (1333, 750)
    assert detector_size(1000, 1000) == (800, 800)


def test_a_pickle_is_both_names(grounder: ComposeGrounder) -> None:
    stored = pickle.dumps(grounder)
    assert len(stored) < 1000
    opened = pickle.loads(stored)
    assert (opened.name, opened.detector_name) == (grounder.name, grounder.detector_name)
    assert opened.model.dtype == grounder.model.dtype


def test_a_box_is_not_tracked(grounder: ComposeGrounder, clip: Path) -> None:
    with pytest.raises(InputError, match="not vot"):
        grounder.ground(clip, "track it at [100, 250, 500, 900]")


def test_a_detector_that_is_none_is_refused(tiny_qwen3_vl: Path) -> None:
    with pytest.raises(CheckpointError):
        ComposeGrounder.from_pretrained(tiny_qwen3_vl, tiny_qwen3_vl, device="cpu", threads=1)


def test_the_command_writes_the_same_schema(tiny_qwen3_vl: Path, detector: Path, clip: Path) -> None:
    words = ("ground", clip, "the red circle", "--json", "--detector", detector)
    options = ("--method", "compose", "--checkpoint", tiny_qwen3_vl, "--device", "cpu", "--threads", 1)
    done = run(*words, *options)
    assert done.exit_code == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["schema"] == "bridge-stg/tube/1"
    assert result["checkpoint"] == f"{tiny_qwen3_vl} + {detector}"
    refused(run(*words), "compose")


def test_a_benchmark_is_asked_and_the_detector_remembered(
    tiny_qwen3_vl: Path, detector: Path, shapes_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "answers.jsonl"
    words = ["predict", "--data", str(shapes_data), "--out", str(out), "--limit", "1", "--task", "stvg"]
    words += ["--method", "compose", "--checkpoint", str(tiny_qwen3_vl), "--device", "cpu", "--threads", "1"]
    done = CliRunner().invoke(app, [*words, "--detector", str(detector)])
    assert done.exit_code == 0, done.output
    assert out.read_text(encoding="utf-8").count("\n") > 0
    kept = json.loads(out.with_name("answers.jsonl.run.json").read_text(encoding="utf-8"))
    assert kept["detector"] not in (None, kept["checkpoint"])

    # Answers with the boxes of another detector do not come into the same file.
    other = CliRunner().invoke(app, words)
    assert other.exit_code == 2
    assert "detector" in other.stderr


@pytest.mark.process
def test_the_service_loads_the_detector(tiny_qwen3_vl: Path, detector: Path) -> None:
    choice = ModelChoice(str(tiny_qwen3_vl), "compose", "cpu", 1, str(detector))
    process = ModelProcess(choice)
    try:
        assert process.start().checkpoint == f"{tiny_qwen3_vl} + {detector}"
    finally:
        process.stop()


@pytest.mark.parametrize("command", ["ground", "predict", "serve", "batch"])
def test_a_detector_that_would_not_be_asked_is_refused(
    command: str, clip: Path, shapes_data: Path, tmp_path: Path
) -> None:
    out = ["--out", str(tmp_path / "out")]
    words = {
        "ground": [str(clip), "a", *out],
        "predict": ["--data", str(shapes_data), *out],
        "serve": ["--folder", str(tmp_path / "out"), "--port", "0"],
        "batch": [str(clip), "--query", "a", *out],
    }[command]
    done = CliRunner().invoke(app, [command, *words, "--detector", "some/where"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "--detector" in done.stderr
    assert list(tmp_path.iterdir()) == []
