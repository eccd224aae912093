"""A step's batch: always the same one, and what it says about the model's inputs."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from bridge_stg.cli.runs import recipe
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import IGNORE
from bridge_stg.records.record import read_truth
from bridge_stg.shapes.configuration import ClipMix, ShapesData
from bridge_stg.shapes.drawn_clips import build_batch, step_settings, video_clip
from bridge_stg.shapes.drawn_frames import sample_times
from bridge_stg.shapes.model import small_config, small_tokenizer
from bridge_stg.shapes.world.objects import SceneSettings
from bridge_stg.shapes.world.scene import make_scene
from bridge_stg.shapes.world.writer import write_shapes
from bridge_stg.training.settings import override
from bridge_stg.types import SampledVideo, VideoInfo
from bridge_stg.video.sampling import sample_video

STEPS = 10


@pytest.fixture(scope="module")
def processor() -> BridgeSTGProcessor:
    tokenizer = small_tokenizer()
    return BridgeSTGProcessor(tokenizer, small_config(tokenizer))


@pytest.fixture(scope="module")
def config() -> ShapesData:
    settings = ["data.clips_per_step=2", "data.images_per_step=3", "data.image_share=0.5"]
    return override(recipe("shapes"), settings).data


def kinds(config: ShapesData) -> list[bool]:
    return [step_settings(config, step, STEPS)[0] for step in range(STEPS)]


def test_a_batch_is_a_pure_function_of_seed_and_step(config: ShapesData, processor: BridgeSTGProcessor) -> None:
    image = kinds(config).index(True)
    video = kinds(config).index(False)
    for step in (image, video):
        first = build_batch(config, step, STEPS, processor).inputs(processor)
        # Whatever global generators do in between.
        torch.manual_seed(99)
        np.random.seed(99)
        second = build_batch(config, step, STEPS, processor).inputs(processor)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    other_step = build_batch(
        config, video + 1 if not kinds(config)[video + 1] else video + 2, STEPS, processor
    ).inputs(processor)
    other_seed = build_batch(config.model_copy(update={"seed": 77}), video, STEPS, processor).inputs(processor)
    for other in (other_step, other_seed):
        assert first["input_ids"].shape != other["input_ids"].shape or not torch.equal(
            first["input_ids"], other["input_ids"]
        )


@pytest.mark.parametrize("image", [False, True])
def test_rows_sentences_and_frames_fit_together(
    config: ShapesData, processor: BridgeSTGProcessor, image: bool
) -> None:
    # In a scan, and there only, the model reads other words than it has to say.
    mix = config.mix.model_copy(update={"scans": 0, "contrasts": 0})
    config = config.model_copy(update={"mix": mix})
    batch = build_batch(config, kinds(config).index(image), STEPS, processor).inputs(processor)
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
    config: ShapesData, processor: BridgeSTGProcessor
) -> None:
    batch = build_batch(config, kinds(config).index(True), STEPS, processor).inputs(processor)
    info = VideoInfo("image.png", 72, 72, Fraction(1), 1.0, 1)
    pixels = np.zeros((1, 72, 72, 3), dtype=np.uint8)
    image = SampledVideo(info, pixels, np.zeros(1), np.zeros(1, dtype=np.int64), 1.0)
    inputs = processor(image, ["the red circle"], task="rec")

    def frame(ids: list[int]) -> list[int]:
        """The opening and the clip, whatever its size."""
        tokens = processor.clip_tokens
        return [token for token in ids[: ids.index(tokens.vision_end) + 1] if token != tokens.video_pad]

    assert frame(batch["input_ids"][0].tolist()) == frame(inputs["input_ids"][0].tolist())


def test_the_curriculum_grows_with_the_step(config: ShapesData) -> None:
    lesson = config.curriculum
    assert step_settings(config, 0, 100)[1].max_objects == lesson[0].max_objects
    assert step_settings(config, 99, 100)[1].max_objects == lesson[-1].max_objects
    boundary = round(lesson[0].until * 100)
    assert step_settings(config, boundary - 1, 100)[1].max_objects == lesson[0].max_objects
    assert step_settings(config, boundary, 100)[1].max_objects == lesson[1].max_objects


def test_training_samples_the_frames_that_the_file_would_give(tmp_path: Path) -> None:
    """25 fps has a frame exactly between two sampled times; the file decides which one counts."""
    truth = write_shapes(tmp_path / "clips", 6, 3, SceneSettings(width=96, height=72), workers=1)
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


def test_a_clip_carries_what_the_mix_says(config: ShapesData, processor: BridgeSTGProcessor) -> None:
    mix = ClipMix(**dict.fromkeys(ClipMix.model_fields, 1))
    clip = video_clip(5, SceneSettings(min_objects=4, max_objects=4), mix, config, processor).clip
    assert int(clip.tree.branch.max()) + 1 == sum(mix.model_dump().values())
