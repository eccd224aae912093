"""A step's batch: always the same one, and what it says about the model's inputs."""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from bridge_stg.data.records import read_truth
from bridge_stg.data.shapes.motion import boxes
from bridge_stg.data.shapes.objects import Action, Scene, SceneSettings
from bridge_stg.data.shapes.questions import Question, questions
from bridge_stg.data.shapes.world import make_scene
from bridge_stg.data.shapes.writer import write_shapes
from bridge_stg.geometry.spans import frame_pairs
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_layout import IGNORE
from bridge_stg.prompting.parsing import parse_window
from bridge_stg.training.configuration import DataConfig, override
from bridge_stg.training.recipes import recipe
from bridge_stg.training.shapes_clips import (
    _doing,
    _retold,
    _scans,
    _window_answer,
    build_batch,
    sample_times,
    step_settings,
)
from bridge_stg.training.small_model import small_config, small_tokenizer
from bridge_stg.types import SampledVideo, TimeSpan, VideoInfo
from bridge_stg.video.sampling import sample_video

STEPS = 10


@pytest.fixture(scope="module")
def processor() -> BridgeSTGProcessor:
    tokenizer = small_tokenizer()
    return BridgeSTGProcessor(tokenizer, small_config(tokenizer))


@pytest.fixture(scope="module")
def config() -> DataConfig:
    settings = ["data.clips_per_step=2", "data.images_per_step=3", "data.image_share=0.5"]
    return override(recipe("shapes"), settings).data


def kinds(config: DataConfig) -> list[bool]:
    return [step_settings(config, step, STEPS)[0] for step in range(STEPS)]


def test_a_batch_is_a_pure_function_of_seed_and_step(config: DataConfig, processor: BridgeSTGProcessor) -> None:
    image = kinds(config).index(True)
    video = kinds(config).index(False)
    for step in (image, video):
        first = build_batch(config, step, STEPS, processor)
        # Whatever global generators do in between.
        torch.manual_seed(99)
        np.random.seed(99)
        second = build_batch(config, step, STEPS, processor)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    other_step = build_batch(config, video + 1 if not kinds(config)[video + 1] else video + 2, STEPS, processor)
    other_seed = build_batch(config.model_copy(update={"seed": 77}), video, STEPS, processor)
    for other in (other_step, other_seed):
        assert first["input_ids"].shape != other["input_ids"].shape or not torch.equal(
            first["input_ids"], other["input_ids"]
        )


@pytest.mark.parametrize("image", [False, True])
def test_rows_sentences_and_frames_fit_together(
    config: DataConfig, processor: BridgeSTGProcessor, image: bool
) -> None:
    # In a scan, and there only, the model reads other words than it has to say.
    config = config.model_copy(update={"mix": config.mix.model_copy(update={"scans": 0})})
    batch = build_batch(config, kinds(config).index(image), STEPS, processor)
    count = 3 if image else 2
    assert len(batch["input_ids"]) == count
    assert batch["position_ids"].shape == (4, *batch["input_ids"].shape)
    grid = batch["video_grid_thw"]
    assert int((grid.prod(-1)).sum()) == len(batch["pixel_values_videos"])
    merged = int((batch["input_ids"] == processor.config.mllm.video_token_id).sum())
    assert merged * processor.config.mllm.vision_config.spatial_merge_size**2 == int(grid.prod(-1).sum())
    rows = len(batch["row_frame"])
    assert batch["targets"].shape == (rows, 4)
    assert len(batch["row_sentence"]) == len(batch["has_target"]) == rows
    # Every frame that QGSL encodes is used, and every sentence has the M queries it reads.
    assert sorted(set(batch["row_frame"].tolist())) == list(range(len(batch["spatial_pixel_values"])))
    sentences = int(batch["bridge_mask"].sum()) / processor.config.num_bridge_queries
    assert int(batch["row_sentence"].max()) < sentences
    assert torch.equal(batch["slot_mask"], batch["bridge_mask"])
    boxes = batch["targets"][batch["has_target"]]
    assert bool(((boxes >= -0.5) & (boxes <= 1.5)).all())
    assert bool((boxes[:, 2:] > 0).all())
    # A label is the id of the token after it.
    labelled = batch["labels"] != IGNORE
    following = batch["input_ids"].roll(-1, dims=1)
    assert torch.equal(batch["labels"][labelled], following[labelled])


def test_an_image_step_lays_out_what_the_processor_does(
    config: DataConfig, processor: BridgeSTGProcessor
) -> None:
    batch = build_batch(config, kinds(config).index(True), STEPS, processor)
    info = VideoInfo("image.png", 72, 72, Fraction(1), 1.0, 1)
    pixels = np.zeros((1, 72, 72, 3), dtype=np.uint8)
    image = SampledVideo(info, pixels, np.zeros(1), np.zeros(1, dtype=np.int64), 1.0)
    inputs = processor(image, ["the red circle"], task="rec")

    def frame(ids: list[int]) -> list[int]:
        """The opening and the clip, whatever its size."""
        tokens = processor.clip_tokens
        return [token for token in ids[: ids.index(tokens.vision_end) + 1] if token != tokens.video_pad]

    assert frame(batch["input_ids"][0].tolist()) == frame(inputs["input_ids"][0].tolist())


def test_the_curriculum_grows_with_the_step(config: DataConfig) -> None:
    lesson = config.curriculum
    assert step_settings(config, 0, 100)[1].max_objects == lesson[0].max_objects
    assert step_settings(config, 99, 100)[1].max_objects == lesson[-1].max_objects
    boundary = round(lesson[0].until * 100)
    assert step_settings(config, boundary - 1, 100)[1].max_objects == lesson[0].max_objects
    assert step_settings(config, boundary, 100)[1].max_objects == lesson[1].max_objects


def test_training_samples_the_frames_that_the_file_would_give(tmp_path: Path) -> None:
    """25 fps has a frame exactly between two sampled times; the file decides which one counts."""
    truth = write_shapes(tmp_path / "clips", videos=6, seed=3, workers=1)
    seen = set()
    for record in read_truth(truth):
        if record.video in seen:
            continue
        seen.add(record.video)
        sampled = sample_video(truth.parent / record.video, fps=2.0)
        fps = sampled.info.fps
        scene = dataclasses.replace(make_scene(0), fps=fps, frame_count=record.frame_count)
        np.testing.assert_allclose(sample_times(scene, 2.0), sampled.times, atol=2e-3)
    assert len(seen) == 6


def asked(scene: Scene, task: str) -> list[Question]:
    return [question for question in questions(scene, np.random.default_rng(0)) if question.task == task]


def test_an_answer_says_who_and_what_it_does_in_every_pair_and_then_when() -> None:
    still = make_scene(5, SceneSettings(min_objects=1, max_objects=1)).objects[0]
    mover = dataclasses.replace(
        still, colour="red", shape="circle", actions=(Action("moves left", 1.2, 3.1, 0.01),)
    )
    scene = dataclasses.replace(make_scene(5), objects=(mover,))
    slots = np.array([[0.0, 0.5], [1.0, 1.48], [2.0, 2.5], [3.0, 3.5], [4.0, 4.0]])
    question = Question("vtg", "what moves left?", "interrogative", 0, TimeSpan(1.2, 3.1), kind="moves left")
    answer = _window_answer(scene, question, np.random.default_rng(0), slots)
    scan, seen, window = answer.split(". ", 2)
    assert scan == "The red circle moves left: 0 rests 1 left 2 left 3 rests 4 rests"
    assert seen == "It happens from 1 to 2"
    assert parse_window(answer) == parse_window(window) == (1.2, 3.1)


def test_a_scan_is_read_with_random_words_and_learned_with_the_true_ones(processor: BridgeSTGProcessor) -> None:
    """No word of the object's doings can be copied from the one before it, and nothing else is changed."""
    scene = make_scene(11, SceneSettings(min_objects=2, max_objects=2))
    times = sample_times(scene, 2.0)
    slots = times[frame_pairs(len(times))]
    found = asked(scene, "vtg")
    branches = _scans(found, scene, slots, 3, processor, np.random.default_rng(4))
    assert len(branches) == 3
    read, true = [], []
    for branch in branches:
        text = processor.tokenizer.decode(branch.ids)
        said = processor.tokenizer.decode([label for label in branch.labels if label != IGNORE])
        (opening,) = re.findall(r"The ([a-z ]+): 0", text)
        (index,) = [number for number, item in enumerate(scene.objects) if opening.startswith(item.name)]
        assert opening in {
            f"{scene.objects[index].name} {action.kind}" for action in scene.objects[index].actions
        }
        words = [word for _, word in _doing(scene, index, slots)]
        assert said.startswith(f"The {opening}: 0")
        assert said.split(": 0")[1].split() == words
        read += re.findall(r"\d+ ([a-z]+)", text.split(": ")[1])
        true += words
    assert len(read) == len(true)
    # One of ten words drawn at random agrees with the true one now and then only.
    assert np.mean([a == b for a, b in zip(read, true, strict=True)]) < 0.35


def test_what_is_out_of_sight_does_nothing() -> None:
    scene = next(
        scene
        for scene in (make_scene(seed) for seed in range(200))
        if not boxes(scene, np.array([0.2]))[1].all()
    )
    _, visible = boxes(scene, np.array([0.2]))
    for index, shown in enumerate(visible[:, 0]):
        ((second, word),) = _doing(scene, index, np.array([[0.0, 0.4]]))
        assert second == 0
        assert (word == "nothing") == (not shown)


def test_a_retold_scan_is_read_and_only_its_window_learned(processor: BridgeSTGProcessor) -> None:
    branches = _retold(4, processor, np.random.default_rng(2))
    assert len(branches) == 4
    for branch in branches:
        assert branch.attach == 0
        text = processor.tokenizer.decode(branch.ids)
        learned = processor.tokenizer.decode([label for label in branch.labels if label != IGNORE])
        assert re.search(r"The [a-z ]+: 0 ", text)
        assert learned == text[text.index(" It happens from ") :]
        assert parse_window(learned) == parse_window(text) is not None
