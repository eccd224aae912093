"""Annotated videos as training data: what a record becomes, bad files, and real steps on real mp4s."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bridge_stg.cli.runs import recipe
from bridge_stg.errors import DataError, InputError, VideoError
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.model.lora import DEFAULT_ALPHA, DEFAULT_RANK
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.presets import qwen3_vl_config
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import CLIP, IGNORE
from bridge_stg.prompting.parsing import parse_window
from bridge_stg.records.question_text import question_text
from bridge_stg.records.record import TruthRecord, read_truth, write_truth
from bridge_stg.records.store import write_store
from bridge_stg.shapes import branches as shapes_branches
from bridge_stg.shapes.configuration import ClipMix
from bridge_stg.shapes.drawn_clips import video_clip
from bridge_stg.shapes.drawn_frames import draw, sample_times
from bridge_stg.shapes.model import small_config, small_tokenizer
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import SceneSettings
from bridge_stg.shapes.world.questions import questions
from bridge_stg.shapes.world.scene import make_scene
from bridge_stg.shapes.world.writer import truth_record, write_shapes, write_video
from bridge_stg.training.configuration import DataConfig, RecordsConfig, SourceConfig
from bridge_stg.training.data.bad_clips import BadClips
from bridge_stg.training.data.mixture import group_by_clip
from bridge_stg.training.data.record_clips import (
    record_clip,
    tube_at,
    window_in_clip,
)
from bridge_stg.training.data.record_source import (
    AnnotatedClips,
    build_record_batch,
    open_records,
    token_budget,
)
from bridge_stg.training.data.training_clip import TrainingClip
from bridge_stg.training.recipes import TABLE_1
from bridge_stg.types import TimeSpan
from bridge_stg.video.write import VideoWriter

VIDEOS = 5


@pytest.fixture(scope="module")
def processor() -> BridgeSTGProcessor:
    tokenizer = small_tokenizer()
    return BridgeSTGProcessor(tokenizer, small_config(tokenizer))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five videos with eight questions each: all five tasks about every one."""
    out = tmp_path_factory.mktemp("records") / "data"
    write_shapes(out, VIDEOS, 11, SceneSettings(width=96, height=72), per_video_questions=8, workers=1)
    return out


@pytest.fixture(scope="module")
def truth(folder: Path) -> list[TruthRecord]:
    return read_truth(folder / "truth.jsonl")


def data(folder: Path, **changes: Any) -> DataConfig:
    records: dict[str, Any] = {
        "root": str(folder),
        "sources": (SourceConfig(name="shapes", path="truth.jsonl"),),
        "clips_per_step": 4,
        "clips_alike": 2,
        "sentences_per_clip": 8,
    }
    return DataConfig(records=RecordsConfig(**(records | changes)), num_positive=2, num_negative=1)


def one(truth: list[TruthRecord], task: str, **changes: Any) -> TruthRecord:
    if "window" in changes or "frame_count" in changes:
        # A record holds one window in two fields.
        changes = {"window": None, "windows": ()} | changes
    return replace(next(record for record in truth if record.task == task), **changes)


def clip_of(folder: Path, processor: BridgeSTGProcessor, *records: TruthRecord, **changes: Any) -> TrainingClip:
    config = data(folder).model_copy(update=changes)
    return record_clip(records, folder / records[0].video, np.random.default_rng(0), config, processor)


def texts(clip: TrainingClip, processor: BridgeSTGProcessor) -> list[tuple[str, str]]:
    """(what is read, what is learned) of each branch."""
    tree, found = clip.tree, []
    for branch in range(int(tree.branch.max()) + 1):
        mine = tree.branch == branch
        labels = tree.labels[mine]
        found.append(
            (
                processor.tokenizer.decode(tree.input_ids[mine]),
                processor.tokenizer.decode(labels[labels != IGNORE]),
            )
        )
    return found


# --- what a record becomes


def test_the_same_scene_gives_the_same_clip_windows_and_boxes_as_when_it_is_drawn(
    tmp_path: Path, processor: BridgeSTGProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes_branches, "BLUR", 0.0)
    settings = SceneSettings(width=96, height=72, min_objects=2, max_objects=4)
    config = data(tmp_path).model_copy(update={"num_positive": 100, "num_negative": 100})
    compared = 0
    for seed in (5, 9):
        drawn = video_clip(seed, settings, ClipMix(located=3, tracked=2), config, processor).clip
        # The very questions that were asked there, as records about a file.
        scene, rng = make_scene(seed, settings), np.random.default_rng([seed, 3])
        draw(scene, sample_times(scene, 2.0), processor, rng)
        asked = {item.query: item for item in questions(scene, rng) if item.task in ("stvg", "vot")}
        write_video(tmp_path / f"{seed}.mp4", scene)
        records = []
        for number, (read, _) in enumerate(texts(drawn, processor)):
            query = max((text for text in asked if f" {text}<" in read), key=len)
            task = "vot" if "Track" in read else "stvg"
            item = replace(asked[query], task=task)
            records.append(truth_record(scene, item, f"{seed}-{number}", f"{seed}.mp4"))
        written = record_clip(records, tmp_path / f"{seed}.mp4", np.random.default_rng(0), config, processor)

        # The clip: the same tokens in the same places.
        assert written.frames.shape == drawn.frames.shape
        for name in ("input_ids", "position_ids"):
            ours, theirs = getattr(written.tree, name), getattr(drawn.tree, name)
            size = int((drawn.tree.branch == CLIP).sum())
            assert torch.equal(ours[..., :size], theirs[..., :size])
        # Pixels went through a video codec, and noise was drawn on the others.
        assert float((written.frames.float() - drawn.frames.float()).abs().mean()) < 10

        # The windows, to a frame and the rounding of the text.
        for (_, ours), (_, theirs) in zip(texts(written, processor), texts(drawn, processor), strict=True):
            found, true = parse_window(ours), parse_window(theirs)
            assert (found is None) == (true is None)
            if found is not None and true is not None:
                assert found == pytest.approx(true, abs=float(1 / scene.fps) + 0.1)
                compared += 1
        # The boxes: the same rows on the same frames.
        assert written.rows.sentence == drawn.rows.sentence
        assert written.rows.has_target == drawn.rows.has_target
        assert written.rows.frame == drawn.rows.frame
        ours, theirs = np.stack(written.rows.targets), np.stack(drawn.rows.targets)
        positive = np.array(drawn.rows.has_target)
        low, high = theirs[:, :2] - theirs[:, 2:] / 2, theirs[:, :2] + theirs[:, 2:] / 2
        low, high = low.clip(0, 1), high.clip(0, 1)
        expected = np.concatenate([(low + high) / 2, high - low], axis=1)
        assert np.abs(ours - expected)[positive].max() < 0.01 / 72
    assert compared >= 4


def test_what_each_task_asks_and_learns(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor
) -> None:
    video = truth[0].video
    records = [record for record in truth if record.video == video and record.task != "rec"]
    records.sort(key=lambda record: ("stvg", "vtg", "vot", "vqa").index(record.task))
    clip = clip_of(folder, processor, *records)
    assert len(records) == 7
    queries = processor.config.num_bridge_queries
    for index, (record, (read, learned)) in enumerate(zip(records, texts(clip, processor), strict=True)):
        mine = clip.tree.branch == index
        located = record.task in ("stvg", "vot")
        assert record.query in read
        assert int(clip.tree.bridge_mask[mine].sum()) == (queries if located else 0)
        assert learned.endswith("<det>" if located else "<|im_end|>")
        if record.task in ("stvg", "vtg"):
            assert record.window is not None
            start, end = (frame / record.fps for frame in record.window)
            assert parse_window(learned) == pytest.approx((start, end), abs=0.051)
        elif record.task == "vot":
            assert learned == "Here it is.<det>"
        else:
            assert learned == f"{record.choice}<|im_end|>"
            assert f"(B) {record.choices[1]}" in read
    # One encoding for all of them, and rows of the located sentences only.
    assert clip.rows.sentences == 5
    assert sorted(set(clip.rows.sentence)) == [0, 1, 2, 3, 4]
    assert clip.spatial_frames is not None
    assert len(clip.spatial_frames) == len(set(clip.rows.frame))


def test_frame_indices_of_an_answer_are_sampled_frames_inside_the_window(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor
) -> None:
    record = one(truth, "stvg", window=(30, 75), fps=30.0, boxes={40: (1.0, 1.0, 9.0, 9.0)})
    config = data(folder)
    seen = set()
    for seed in range(24):
        clip = record_clip([record], folder / record.video, np.random.default_rng(seed), config, processor)
        (_, learned) = texts(clip, processor)[0]
        assert parse_window(learned) == (1.0, 2.5)
        if "frames" in learned:
            # Seconds 1.0, 1.5 and 2.0 are frames 2, 3 and 4; 2.5 is outside.
            assert learned.endswith("The start and end frames are: [2, 4].<det>")
        seen.add(learned)
    assert len(seen) == 5


def test_an_image_has_no_timestamps_and_one_row_per_sentence(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor, tmp_path: Path
) -> None:
    record = one(truth, "rec")
    clip = clip_of(folder, processor, record, replace(record, id="again"))
    assert -(-len(clip.frames) // 2) == 1
    pads = int((clip.tree.input_ids == processor.clip_tokens.video_pad).sum())
    opening = int((clip.tree.branch == CLIP).sum()) - pads
    assert opening == len(processor.plain_ids("user\n")) + 1 + 2
    assert clip.rows.has_target == [True, True]
    ((frame, box),) = record.boxes.items()
    scale = np.array([96, 72, 96, 72])
    x1, y1, x2, y2 = np.array(box) / scale
    assert clip.rows.targets[0] == pytest.approx([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
    # The same picture as a file.
    pixels = np.zeros((72, 96, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    photo = replace(
        record, media="image", video="photo.png", fps=1.0, frame_count=1, clip=(0, 1), boxes={0: box}
    )
    still = clip_of(tmp_path, processor, photo)
    assert torch.equal(still.tree.input_ids[: pads + opening], clip.tree.input_ids[: pads + opening])
    assert still.rows.targets[0] == pytest.approx(clip.rows.targets[0])
    assert frame >= 0


def test_a_part_of_a_video_has_its_own_clock(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor
) -> None:
    whole = one(truth, "stvg", fps=30.0)
    record = replace(
        whole,
        clip=(45, 105),
        window=(60, 90),
        windows=(),
        boxes=dict.fromkeys(range(60, 90), (8.0, 8.0, 40.0, 40.0)),
    )
    clip = clip_of(folder, processor, record, num_positive=9, num_negative=9)
    assert parse_window(texts(clip, processor)[0][1]) == (0.5, 1.5)
    # Two seconds from 1.5 to 3.5 are frames at 1.5, 2.0, 2.5, 3.0: two pairs, told from 0.
    assert -(-len(clip.frames) // 2) == 2
    said = processor.tokenizer.decode(clip.tree.input_ids[clip.tree.branch == CLIP])
    assert "<0.2 seconds>" in said
    assert "<1.2 seconds>" in said
    assert sorted(zip(clip.rows.frame, clip.rows.has_target, strict=True)) == [
        (0, False),
        (1, True),
        (2, True),
        (3, False),
    ]
    with pytest.raises(DataError, match="outside"):
        clip_of(folder, processor, replace(record, clip=(95, 150)))
    # Annotated in seconds, and longer than the clip.
    late = replace(record, task="vtg", seconds=(2.25, 99.0))
    assert parse_window(texts(clip_of(folder, processor, late), processor)[0][1]) == pytest.approx(
        (0.8, 2.0), abs=0.051
    )


@pytest.mark.parametrize("window", [(31, 36), (37, 44), (33, 34)])
def test_an_event_between_two_sampled_frames_still_has_a_positive_frame(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor, window: tuple[int, int]
) -> None:
    box = dict.fromkeys(range(*window), (10.0, 10.0, 30.0, 30.0))
    record = one(truth, "stvg", fps=30.0, window=window, boxes=box)
    clip = clip_of(folder, processor, record, num_positive=8, num_negative=2)
    assert clip.rows.has_target.count(True) == 1
    assert clip.rows.has_target.count(False) == 2
    # The middle of the window is nearest to 1.0 s or to 1.5 s, frames 2 and 3.
    assert clip.rows.targets[clip.rows.has_target.index(True)] == pytest.approx(
        [20 / 96, 20 / 72, 20 / 96, 20 / 72]
    )
    assert len(set(clip.rows.frame)) == 3


def test_boxes_are_interpolated_in_small_gaps_and_missing_in_large_ones(truth: list[TruthRecord]) -> None:
    def at(frame: int) -> tuple[float, float, float, float]:
        return (float(frame), 0.0, float(frame) + 20, 36.0)

    annotated = [0, 5, 10, 15, 20, 60, 65, 70]
    record = one(truth, "stvg", fps=10.0, boxes={frame: at(frame) for frame in annotated})
    frames = np.array([0, 2, 7, 20, 22, 23, 40, 57, 58, 62, 72, 73])
    box, seen = tube_at(record, frames / 10.0)
    assert seen.tolist() == [True, True, True, True, True, False, False, False, True, True, True, False]
    assert box[1] * 96 == pytest.approx([2.0, 0.0, 22.0, 48.0])
    # Beyond the frame nothing is left of a box.
    gone, seen = tube_at(
        replace(record, boxes={0: (-30.0, 0.0, -1.0, 9.0), 1: (-5.0, 0.0, 9.0, 9.0)}), np.array([0.0, 0.1])
    )
    assert seen.tolist() == [False, True]
    assert gone[1].tolist() == pytest.approx([0.0, 0.0, 9 / 96, 9 / 72])
    with pytest.raises(DataError, match="needs boxes"):
        tube_at(replace(record, boxes={}), np.zeros(1))


def test_a_tracked_object_is_told_by_its_first_box(truth: list[TruthRecord]) -> None:
    record = one(truth, "vot", fps=10.0)
    assert question_text(record) == record.query
    assert "[" in record.query
    plain = replace(
        record, query="a lion", clip=(10, 40), boxes={25: (9.6, 7.2, 48.0, 80.0), 20: (0.0, 36.0, 96.0, 72.0)}
    )
    assert question_text(plain) == "a lion at [0, 500, 1000, 1000] from 1.0 seconds"
    assert (
        question_text(replace(plain, boxes={10: (9.6, 7.2, 48.0, 80.0)})) == "a lion at [100, 100, 500, 1000]"
    )
    # A twentieth of a pixel of 96 is half a thousandth.
    for right in (9.6, 9.64):
        with pytest.raises(DataError, match=rf"{record.id}.*\[100, 100, 100, 1000\]"):
            question_text(replace(plain, boxes={10: (9.6, 7.2, right, 80.0)}))


def test_questions_with_several_right_choices_or_none_or_free_answers(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor
) -> None:
    record = one(truth, "vqa", choices=("red", "blue", "green"), choice=None)

    def learned(**changes: Any) -> str:
        return texts(clip_of(folder, processor, replace(record, **changes)), processor)[0][1]

    assert learned(labels=(True, False, True)) == "A, C<|im_end|>"
    assert learned(labels=(False, False, False)) == "None<|im_end|>"
    assert learned(choices=(), answer="two circles") == "two circles<|im_end|>"
    with pytest.raises(DataError, match="needs a choice"):
        learned()


def test_words_of_a_record_are_never_special_tokens(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor
) -> None:
    nasty = "<det> <|video_pad|><|im_end|><|im_start|>assistant"
    plain = clip_of(folder, processor, one(truth, "vqa", choices=(), choice=None, query="x", answer="y"))
    clip = clip_of(folder, processor, one(truth, "vqa", choices=(), choice=None, query=nasty, answer=nasty))
    for token in ("<det>", "<|video_pad|>", "<|im_end|>", "<|im_start|>"):
        number = processor.tokenizer.convert_tokens_to_ids(token)
        assert int((clip.tree.input_ids == number).sum()) == int((plain.tree.input_ids == number).sum())


def test_the_frames_of_a_folder_are_read_at_their_rate(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor, tmp_path: Path
) -> None:
    (tmp_path / "frames").mkdir()
    for number in range(40):
        Image.fromarray(np.full((72, 96, 3), 6 * number, np.uint8)).save(
            tmp_path / "frames" / f"{number:04d}.png"
        )
    box = dict.fromkeys(range(40), (10.0, 10.0, 50.0, 50.0))
    record = one(
        truth,
        "vot",
        media="frames",
        video="frames",
        fps=10.0,
        frame_count=40,
        clip=(0, 40),
        window=None,
        boxes=box,
    )
    clip = clip_of(tmp_path, processor, record, num_positive=99)
    # Four seconds at 2 fps; every frame shows the object.
    assert -(-len(clip.frames) // 2) == 4
    assert clip.rows.frame == list(range(8))
    assert all(clip.rows.has_target)


# --- lengths


def test_estimated_lengths_are_near_the_real_ones(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor
) -> None:
    groups = group_by_clip(truth, token_budget(processor), 8, 0)
    off = []
    for group in range(len(groups)):
        records = [truth[number] for number in groups.records(group)]
        real = len(clip_of(folder, processor, *records).tree)
        off.append(int(groups.tokens[group]) / real)
    assert max(abs(np.array(off) - 1)) < 0.2


def test_the_8b_reads_records_by_the_same_code(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor
) -> None:
    mllm = qwen3_vl_config("8b")
    small = processor.config
    for name in ("video_token_id", "image_token_id", "vision_start_token_id", "vision_end_token_id"):
        setattr(mllm, name, getattr(small.mllm, name))
    big = BridgeSTGProcessor(processor.tokenizer, BridgeSTGConfig(mllm=mllm, det_token_id=small.det_token_id))
    records = [record for record in truth if record.video == truth[0].video and record.task != "rec"]
    clip = clip_of(folder, big, *records, num_positive=8, num_negative=2)
    pairs, rows, columns = big.patch_grid(clip.frames)
    # 96x72 at 32 pixels per token: 3 x 2 of them, 6 x 4 patches.
    assert (rows, columns) == (4, 6)
    assert int((clip.tree.input_ids == big.clip_tokens.video_pad).sum()) == pairs * 6
    assert big.patches(clip.frames)[0].shape == (pairs * 24, 3 * 2 * 16 * 16)
    assert clip.spatial_frames is not None
    assert clip.spatial_frames.shape[1:] == (3, 64, 96)
    for sentence in range(clip.rows.sentences):
        flags = [
            flag for flag, s in zip(clip.rows.has_target, clip.rows.sentence, strict=True) if s == sentence
        ]
        assert 1 <= flags.count(True) <= 8


# --- steps


@pytest.mark.learning
def test_two_training_steps_on_real_videos_with_all_five_tasks(
    folder: Path, processor: BridgeSTGProcessor
) -> None:
    torch.manual_seed(0)
    config = small_config(processor.tokenizer)
    config.mllm.text_config.num_hidden_layers = 2
    model = BridgeSTGForVideoGrounding(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    before = {name: value.clone() for name, value in model.named_parameters()}
    source = data(folder, clips_per_step=6, clips_alike=2)
    records = open_records(source, token_budget(processor))
    asked = {r.task for step in (0, 1) for s in records.mixture.step(step) for r in records.asked(s)}
    assert asked == {"stvg", "vtg", "vot", "rec", "vqa"}
    for step in range(2):
        batch = build_record_batch(source, step, 2, processor)
        # Images and videos of different lengths in one batch: some of it is padding.
        trees = batch.trees
        assert bool((trees.labels[trees.input_ids == processor.pad_id] == IGNORE).all())
        output = model(**batch.inputs(processor), weights=LossWeights())
        assert output.loss is not None
        assert bool(torch.isfinite(output.loss))
        assert output.spatial_losses is not None
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    moved = [name for name, value in model.named_parameters() if not torch.equal(value, before[name])]
    for part in ("mllm.model.visual", "mllm.model.language_model", "bridge.", "localizer.decoder"):
        assert any(name.startswith(part) for name in moved)


def test_what_stands_in_the_padding_changes_nothing(folder: Path, processor: BridgeSTGProcessor) -> None:
    torch.manual_seed(0)
    config = small_config(processor.tokenizer)
    config.mllm.text_config.num_hidden_layers = 2
    model = BridgeSTGForVideoGrounding(config).eval()
    records = data(folder, clips_per_step=6, clips_alike=6)
    batch = build_record_batch(records, 0, 2, processor).inputs(processor)
    padding = batch["input_ids"] == processor.pad_id
    assert int(padding.sum()) > 0
    with torch.no_grad():
        first = model(**batch)
        other = batch | {"input_ids": torch.where(padding, 5, batch["input_ids"])}
        second = model(**other)
    assert first.token_loss is not None
    assert second.token_loss is not None
    assert float(first.token_loss) == pytest.approx(float(second.token_loss), abs=1e-6)
    assert first.bridge is not None
    assert torch.allclose(first.bridge, second.bridge, atol=1e-5)


def test_frames_of_different_sizes_are_padded_with_a_mask(
    tmp_path: Path, processor: BridgeSTGProcessor
) -> None:
    for name, width in (("wide", 120), ("narrow", 72)):
        settings = SceneSettings(width=width, height=72)
        write_shapes(tmp_path / name, 1, 3, settings, per_video_questions=2, workers=1)
    sources = tuple(SourceConfig(name=name, path=name) for name in ("wide", "narrow"))
    config = data(tmp_path, sources=sources, clips_per_step=2, clips_alike=2)
    batch = build_record_batch(config, 0, 1, processor).inputs(processor)
    mask, frames = batch["spatial_pixel_mask"], batch["spatial_pixel_values"]
    assert mask.shape == (len(frames), *frames.shape[2:])
    assert frames.shape[2:] == (96, 160)
    assert set(mask.any(1).sum(-1).tolist()) == {96, 160}
    torch.manual_seed(0)
    model = BridgeSTGForVideoGrounding(processor.config).eval()
    with torch.no_grad():
        loss = model(**batch).loss
    assert loss is not None
    assert bool(torch.isfinite(loss))


def test_a_batch_is_the_same_whenever_and_by_whomever_it_is_made(
    folder: Path, processor: BridgeSTGProcessor
) -> None:
    config = data(folder)
    first = build_record_batch(config, 3, 9, processor).inputs(processor)
    open_records.cache_clear()
    torch.manual_seed(99)
    second = build_record_batch(config, 3, 9, processor).inputs(processor)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build_record_batch(config, 4, 9, processor).inputs(processor)
    assert other["input_ids"].shape != first["input_ids"].shape or not torch.equal(
        other["input_ids"], first["input_ids"]
    )


def test_shares_of_the_loop_are_the_step_between_them(folder: Path, processor: BridgeSTGProcessor) -> None:
    config = recipe("paper-8xh100").model_copy(update={"data": data(folder)})
    config = config.model_copy(update={"optim": config.optim.model_copy(update={"accumulate": 2})})
    source = AnnotatedClips(config, processor, parts=4)
    whole = source.names(1, slice(None))
    # Process r of two, pass p of two, as the loop deals them out.
    dealt = {(r, p): source.names(1, slice(r * 2 + p, None, 4)) for r in range(2) for p in range(2)}
    assert [name for p in range(2) for r in range(2) for name in dealt[r, p]] == whole
    assert len(whole) == 4
    assert all(name.startswith("shapes: train-11-") for name in whole)
    batch = source.batch(1, slice(3, None, 4))
    assert batch.samples == 1
    assert torch.equal(batch.frames[0], source.batch(1, slice(None)).frames[3])
    with pytest.raises(InputError, match="multiple"):
        AnnotatedClips(config, processor, parts=3)


def test_a_store_trains_like_its_truth(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "store").mkdir()
    write_store(tmp_path / "store", truth)
    stored = SourceConfig(name="shapes", path=str(tmp_path / "store"), videos=str(folder))
    left = build_record_batch(data(folder), 2, 9, processor).inputs(processor)
    right = build_record_batch(data(folder, sources=(stored,)), 2, 9, processor).inputs(processor)
    assert all(torch.equal(left[name], right[name]) for name in left)


# --- bad files


def steps(config: DataConfig, count: int, processor: BridgeSTGProcessor, run: Path | None = None) -> None:
    for step in range(count):
        build_record_batch(config, step, count, processor, run_folder=run)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:900])


def spoil(path: Path) -> None:
    path.write_text("not a video")


def shorten(path: Path) -> None:
    """Another, much shorter video under the same name."""
    path.unlink()
    with VideoWriter(path, 96, 72, Fraction(30)) as writer:
        for _ in range(4):
            writer.write(np.zeros((72, 96, 3), np.uint8))


@pytest.mark.parametrize("damage", [cut, spoil, Path.unlink, shorten])
def test_a_bad_video_is_written_down_and_replaced(
    folder: Path,
    processor: BridgeSTGProcessor,
    tmp_path: Path,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    copy = shutil.copytree(folder, tmp_path / "data")
    good, config = data(folder), data(copy, max_bad_share=1.0)
    records = open_records(config, token_budget(processor))
    videos = {sample: records.asked(sample)[0].video for sample in records.mixture.step(0)}
    hurt = next(iter(videos.values()))
    damage(copy / hurt)
    run = tmp_path / "run"
    run.mkdir()
    first = build_record_batch(config, 0, 9, processor, run_folder=run).inputs(processor)
    lines = [json.loads(line) for line in (run / "bad_clips.rank0.jsonl").read_text().splitlines()]
    assert lines
    assert {Path(line["video"]) for line in lines} == {copy / hurt}
    assert all(line["source"] == "shapes" and line["step"] == 0 and line["ids"] for line in lines)
    assert all(line["reason"] for line in lines)
    assert "cannot be used" in caplog.text
    # Replaced by a whole clip; and again the same way.
    assert len(first["video_grid_thw"]) == 4
    again = build_record_batch(config, 0, 9, processor, run_folder=run).inputs(processor)
    assert all(torch.equal(first[name], again[name]) for name in first)
    # Clips that are whole are what they would have been.
    untouched = build_record_batch(good, 0, 9, processor).inputs(processor)
    for place, video in enumerate(videos.values()):
        if video != hurt:
            assert torch.equal(first["video_grid_thw"][place], untouched["video_grid_thw"][place])


def test_a_run_fails_when_more_than_its_share_is_bad(
    folder: Path, processor: BridgeSTGProcessor, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "data")
    for name in ("000000", "000001"):
        spoil(copy / "videos" / f"{name}.mp4")
    run = tmp_path / "run"
    run.mkdir()
    strict = data(copy, max_bad_share=0.1)
    with pytest.raises(DataError, match=r"max_bad_share 0\.1 .*train-11-") as caught:
        steps(strict, 6, processor, run)
    assert "\n" not in str(caught.value)
    assert "not a video" in str(caught.value) or "cannot" in str(caught.value)
    # With a third of the data bad, a run that allows two thirds goes on.
    steps(data(copy, max_bad_share=0.67), 4, processor)


def test_none_bad_allowed_means_none(folder: Path, processor: BridgeSTGProcessor, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "data")
    spoil(copy / "videos" / "000003.mp4")
    with pytest.raises(DataError, match="1 of the"):
        steps(data(copy, max_bad_share=0.0), 6, processor)


def test_processes_and_restarts_count_together(tmp_path: Path) -> None:
    problem = ValueError("broken")

    def process(rank: int) -> BadClips:
        return BadClips(0.05, 100, tmp_path / "run", rank)

    process(0).add(3, 32, "a", ["q1"], tmp_path, problem)
    process(1).add(3, 32, "a", ["q2", "q3"], tmp_path, problem)
    # The run went on from step 3 and met the same clip again.
    process(0).add(3, 32, "a", ["q1"], tmp_path, problem)
    with (tmp_path / "run" / "bad_clips.rank1.jsonl").open("a") as handle:
        handle.write('{"step": 4, "sour')
    assert process(0).count() == 2
    # Five of a hundred clips are allowed, even when only 40 were asked for so far.
    for number in range(3):
        process(0).add(4, 40, "a", [f"r{number}"], tmp_path, problem)
    with pytest.raises(DataError, match="6 of the 40 clips"):
        process(1).add(4, 40, "b", ["r0"], tmp_path, problem)
    # After more clips, more may be bad.
    process(1).add(9, 200, "b", ["r1"], tmp_path, problem)


def test_without_any_video_the_first_step_says_so(
    folder: Path, processor: BridgeSTGProcessor, tmp_path: Path
) -> None:
    write_truth(tmp_path / "truth.jsonl", read_truth(folder / "truth.jsonl"))
    with pytest.raises(DataError, match=r"in a row.*no such file"):
        build_record_batch(data(tmp_path, max_bad_share=1.0), 0, 9, processor)


def test_contradictions_between_a_record_and_its_file_are_found(
    folder: Path, truth: list[TruthRecord], processor: BridgeSTGProcessor
) -> None:
    record = one(truth, "stvg")
    with pytest.raises(DataError, match="rotated"):
        clip_of(folder, processor, replace(record, width=72, height=96))
    with pytest.raises(DataError, match="cut off"):
        clip_of(folder, processor, replace(record, frame_count=5000, clip=(0, 5000)))
    with pytest.raises(VideoError, match="no such file"):
        clip_of(folder, processor, replace(record, video="videos/none.mp4"))
    with pytest.raises(DataError, match="needs boxes"):
        clip_of(folder, processor, replace(record, boxes={}))
    assert window_in_clip(
        replace(record, window=(0, 10), windows=(), fps=10.0), TimeSpan(0.5, 9.0)
    ) == TimeSpan(0.5, 1.0)


def test_a_missing_source_is_one_line(tmp_path: Path, processor: BridgeSTGProcessor, folder: Path) -> None:
    with pytest.raises(DataError, match=r"truth\.jsonl"):
        build_record_batch(data(tmp_path), 0, 9, processor)
    split = (SourceConfig(name="other", path="truth.jsonl", split="val"),)
    with pytest.raises(DataError, match=r"source 'other'.*split 'val'"):
        build_record_batch(data(folder, sources=split), 0, 9, processor)
    with pytest.raises(InputError, match=r"data\.records"):
        build_record_batch(DataConfig(), 0, 9, processor)


# --- recipes


def test_the_paper_recipe_is_section_4_1() -> None:
    config = recipe("paper-8xh100")
    model = BridgeSTGConfig()
    records = config.data.records
    assert records is not None
    stated = {
        "stage": "bridge",
        "tune": "lora",
        "r": 8,
        "alpha": 32,
        "lr": 1e-4,
        "QGSL lr": 1e-4,
        "weight decay": 0.0,
        "warm-up ratio": 0.1,
        "final ratio": 0.0,
        "batch": 32,
        "sentences per sample": 1,
        "samples": 359_000,
        "M": 8,
        "fps": 2.0,
        "N_p": 8,
        "N_n": 2,
        "K": 900,
        "n": 6,
        "lambda_1": 1.0,
        "lambda_2": 0.02,
        "alpha loss": 1.0,
        "beta": 0.5,
        "gamma": 2.0,
        "delta": 1.0,
        "eta": 1.0,
        "cls_dn": 1.0,
        "box_dn": 5.0,
        "giou_dn": 2.0,
    }
    weights, optim = config.weights, config.optim
    assert stated == {
        "stage": config.stage,
        "tune": config.tune,
        "r": DEFAULT_RANK,
        "alpha": DEFAULT_ALPHA,
        "lr": optim.lr,
        "QGSL lr": optim.spatial_lr,
        "weight decay": optim.weight_decay,
        "warm-up ratio": optim.warmup_ratio,
        "final ratio": optim.final_ratio,
        "batch": records.clips_per_step,
        "sentences per sample": records.sentences_per_clip,
        # To the nearest whole step.
        "samples": round(optim.steps * records.clips_per_step, -3),
        "M": model.num_bridge_queries,
        "fps": model.sample_fps,
        "N_p": config.data.num_positive,
        "N_n": config.data.num_negative,
        "K": model.spatial.topk,
        "n": model.spatial.num_encoder_layers,
        "lambda_1": weights.token,
        "lambda_2": weights.spatial,
        "alpha loss": weights.objectness,
        "beta": weights.box,
        "gamma": weights.giou,
        "delta": weights.denoising,
        "eta": weights.alignment,
        "cls_dn": weights.denoising_objectness,
        "box_dn": weights.denoising_box,
        "giou_dn": weights.denoising_giou,
    }
    # Eight processes, each with its accumulated passes.
    assert records.clips_per_step % (8 * optim.accumulate) == 0


def test_the_mixture_is_table_1() -> None:
    tasks = {
        "stvg": ("vidstg", "hcstvg-v1", "hcstvg-v2", "self-collected"),
        "vtg": ("charades-sta",),
        "vot": ("got10k",),
        "vqa": ("nextqa", "clevrer"),
        "rec": ("refcoco", "refcoco+", "refcocog"),
    }
    weight = {source.name: source.weight for source in TABLE_1}
    assert {task: sum(weight.pop(name) for name in names) for task, names in tasks.items()} == {
        "stvg": 127,
        "vtg": 12,
        "vot": 10,
        "vqa": 90,
        "rec": 120,
    }
    assert weight == {}


@pytest.mark.parametrize("name", ["lora-8b-1x80gb", "lora-2b-1x24gb"])
def test_recipes_for_one_card_are_the_papers_with_less_at_a_time(name: str) -> None:
    config, paper = recipe(name), recipe("paper-8xh100")
    assert config.name == name
    assert (config.tune, config.stage, config.precision) == ("lora", "bridge", "bf16")
    assert config.weights == paper.weights
    ours, theirs = config.data.records, paper.data.records
    assert ours is not None
    assert theirs is not None
    assert ours.sources == theirs.sources
    # One clip in a pass of one process: nothing to pad, and the least memory.
    assert ours.clips_per_step == config.optim.accumulate
    assert (config.optim.lr, config.optim.warmup_ratio, config.optim.weight_decay) == (1e-4, 0.1, 0.0)


def test_scene_boxes_are_where_the_test_takes_them_from(truth: list[TruthRecord]) -> None:
    # The truth file and the drawing agree, so that the tests above compare with something that is right.
    record = one(truth, "stvg")
    scene = make_scene(11_000_000, SceneSettings(width=96, height=72))
    position, _ = boxes(scene, np.array([frame / record.fps for frame in record.boxes]))
    pixels = position * np.array([96, 72, 96, 72])
    found = np.array(list(record.boxes.values()))
    assert min(np.abs(each - found).max() for each in pixels) < 0.01
