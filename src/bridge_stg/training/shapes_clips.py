"""Generated training clips: scenes drawn on the fly, their questions as branches of one token tree."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge_stg.data.frame_selection import select_frames
from bridge_stg.data.shapes.motion import boxes
from bridge_stg.data.shapes.objects import Scene, SceneSettings
from bridge_stg.data.shapes.questions import Question, captions, questions
from bridge_stg.data.shapes.render import render
from bridge_stg.data.shapes.world import make_scene
from bridge_stg.geometry.spans import frame_pairs, pair_times
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.temporal_alignment import ClipLayout
from bridge_stg.model.token_layout import IGNORE, Branch, TokenTree, build_tree, collate_trees
from bridge_stg.prompting.templates import WINDOW_WORDINGS, choices_text, scan_text, seen_text, window_text
from bridge_stg.prompting.timestamps import timestamp_text
from bridge_stg.training.configuration import ClipMix, DataConfig
from bridge_stg.video.sampling import choose_frames, wanted_times

MOMENT = "What happens at this time? {time}"
# Says who is meant before <det>, so that the bridging queries can read it.
NAMED = "Here is the {name}."
BEFORE, AFTER = "before", "after"
NOISE = 5.0  # grey levels; stands for what video compression does to a clean drawing


@dataclass
class Rows:
    """What QGSL learns from one clip: each row joins a frame and a sentence of the clip."""

    frame: list[int] = field(default_factory=list)
    sentence: list[int] = field(default_factory=list)
    targets: list[NDArray[np.float64]] = field(default_factory=list)
    has_target: list[bool] = field(default_factory=list)
    sentences: int = 0

    def add(self, frames: NDArray[np.int64], box: NDArray[np.float64], positive: bool) -> None:
        """Rows of the current sentence on ``frames``; ``box`` (F, 4) xyxy in [0, 1] over all frames."""
        for frame in frames:
            low, high = box[frame, :2], box[frame, 2:]
            self.frame.append(int(frame))
            self.sentence.append(self.sentences)
            self.targets.append(np.concatenate([(low + high) / 2, high - low]))
            self.has_target.append(positive)

    def used_frames(self) -> list[int]:
        """The frames some row needs; from here on rows count within these."""
        used = sorted(set(self.frame))
        place = {frame: index for index, frame in enumerate(used)}
        self.frame = [place[frame] for frame in self.frame]
        return used


@dataclass
class TrainingClip:
    """One clip as tensors; ``spatial_frames`` (U, 3, H, W) only if a sentence is located."""

    tree: TokenTree
    patches: Tensor
    grid: tuple[int, int, int]
    rows: Rows
    spatial_frames: Tensor | None = None


def step_settings(config: DataConfig, step: int, steps: int) -> tuple[bool, SceneSettings]:
    """Whether a step trains on single images, and the scenes it draws; a pure function of (seed, step).

    All clips of a step have about the same length, so that little is padded.
    """
    rng = np.random.default_rng([config.seed, step, 1])
    lesson = next(item for item in config.curriculum if step < item.until * steps or item.until == 1.0)
    image = bool(rng.random() < config.image_share)
    longest = rng.uniform(config.min_duration, lesson.max_duration)
    shortest = max(longest - 1.0, config.min_duration)
    return image, SceneSettings(
        min_objects=lesson.min_objects,
        max_objects=lesson.max_objects,
        min_duration=shortest,
        max_duration=max(longest, shortest),
    )


def clip_seeds(config: DataConfig, step: int, steps: int) -> NDArray[np.int64]:
    """The clips of a step: everything about one follows from its seed."""
    image, _ = step_settings(config, step, steps)
    count = config.images_per_step if image else config.clips_per_step
    return np.random.default_rng([config.seed, step, 2]).integers(2**40, size=count)


def build_batch(
    config: DataConfig, step: int, steps: int, processor: BridgeSTGProcessor, share: slice = slice(None)
) -> dict[str, Tensor]:
    """The model's inputs for one step, or for those of its clips that ``share`` says."""
    image, settings = step_settings(config, step, steps)
    seeds = clip_seeds(config, step, steps)[share]
    make = image_clip if image else video_clip
    mix = config.image_mix if image else config.mix
    return collate_clips(
        [make(int(seed), settings, mix, config, processor) for seed in seeds], processor.pad_id
    )


def video_clip(
    seed: int, settings: SceneSettings, mix: ClipMix, config: DataConfig, processor: BridgeSTGProcessor
) -> TrainingClip:
    """A scene sampled like a video file, with captions and questions."""
    rng = np.random.default_rng([seed, 3])
    scene = make_scene(seed, settings)
    times = sample_times(scene, processor.config.sample_fps)
    frames = draw(scene, times, processor, rng)
    patches, grid = processor.patches(frames)
    layout = processor.clip(grid, times)
    asked = questions(scene, rng)
    slots = times[frame_pairs(len(times))]
    branches = [
        *_captions(scene, times, layout, mix.captions, processor, rng),
        *_moments(scene, times, mix.moments, processor, rng),
        *_scans(asked, scene, slots, mix.scans, processor, rng),
        *_windows(asked, scene, mix.windows, processor, rng, slots),
        *_retold(mix.retold, processor, rng),
        *_choices(asked, mix.choices, processor),
    ]
    rows = Rows()
    located = _spread(asked, "stvg", mix.located) + _spread(asked, "vot", mix.tracked)
    box, visible = boxes(scene, times)
    for question in located:
        assert question.window is not None
        assert question.object_index is not None
        if question.task == "stvg":
            answer = _window_answer(scene, question, rng, slots)
        else:
            answer = NAMED.format(name=scene.objects[question.object_index].name)
        branches.append(processor.branch(question.task, question.query, answer, locates=True))
        chosen = select_frames(
            times,
            visible[question.object_index],
            question.window,
            config.num_positive,
            config.num_negative,
            int(rng.integers(2**31)),
        )
        rows.add(chosen.positive, box[question.object_index], True)
        rows.add(chosen.negative, box[question.object_index], False)
        rows.sentences += 1
    tree = build_tree(layout.input_ids, layout.positions, layout.next_position, branches)
    spatial = processor.spatial_frames(frames[rows.used_frames()]) if located else None
    return TrainingClip(tree, patches, grid, rows, spatial)


def image_clip(
    seed: int, settings: SceneSettings, mix: ClipMix, config: DataConfig, processor: BridgeSTGProcessor
) -> TrainingClip:
    """One frame of a scene as a clip without timestamps: captions and referring expressions."""
    rng = np.random.default_rng([seed, 4])
    scene = make_scene(seed, settings)
    asked = questions(scene, rng) if mix.referred else []
    referred = [question for question in asked if question.task == "rec"]
    moment = float(referred[0].time or 0.0) if referred else float(rng.uniform(0, scene.duration))
    times = np.array([moment])
    frames = draw(scene, times, processor, rng)
    patches, grid = processor.patches(frames)
    layout = processor.clip(grid, None)
    branches: list[Branch] = []
    if mix.captions:
        branches.append(processor.caption_branch(_sentence(captions(scene, moment, moment)), layout, 0))
    branches += _retold(mix.retold, processor, rng)
    rows = Rows()
    box, _ = boxes(scene, times)
    for question in [item for item in referred if item.time == moment][: mix.referred]:
        assert question.object_index is not None
        answer = NAMED.format(name=scene.objects[question.object_index].name)
        branches.append(processor.branch("rec", question.query, answer, locates=True))
        rows.add(np.array([0]), box[question.object_index], True)
        rows.sentences += 1
    tree = build_tree(layout.input_ids, layout.positions, layout.next_position, branches)
    spatial = processor.spatial_frames(frames[rows.used_frames()]) if rows.sentences else None
    return TrainingClip(tree, patches, grid, rows, spatial)


def sample_times(scene: Scene, fps: float) -> NDArray[np.float64]:
    """Times (F,) of the frames that sampling a video file of this scene would choose."""
    shown = np.arange(scene.frame_count) / float(scene.fps)
    chosen = choose_frames(shown, wanted_times(0.0, scene.duration, fps), 0.5 / float(scene.fps))
    return shown[chosen]


def draw(
    scene: Scene, times: NDArray[np.float64], processor: BridgeSTGProcessor, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Frames (F, H, W, 3) at the size the model reads, with a little noise."""
    width, height = processor.frame_size(scene.width, scene.height)
    frames = render(scene, times, width, height).astype(np.float32)
    frames += rng.normal(0.0, rng.uniform(0.0, NOISE), frames.shape).astype(np.float32)
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def collate_clips(clips: list[TrainingClip], pad_id: int) -> dict[str, Tensor]:
    """Join clips of one frame size into the arguments of the model's forward."""
    trees = collate_trees([clip.tree for clip in clips], pad_id)
    batch: dict[str, Tensor] = {
        "input_ids": trees.input_ids,
        "position_ids": trees.position_ids,
        "attention_mask": trees.attention_mask(),
        "labels": trees.labels,
        "pixel_values_videos": torch.cat([clip.patches for clip in clips]),
        "video_grid_thw": torch.tensor([clip.grid for clip in clips]),
    }
    spatial = [(clip.rows, clip.spatial_frames) for clip in clips if clip.spatial_frames is not None]
    if spatial:
        row_frame, row_sentence = [], []
        frames_before = sentences_before = 0
        for rows, frames in spatial:
            row_frame += [frames_before + index for index in rows.frame]
            row_sentence += [sentences_before + index for index in rows.sentence]
            frames_before += len(frames)
            sentences_before += rows.sentences
        batch |= {
            "slot_mask": trees.slot_mask,
            "bridge_mask": trees.bridge_mask,
            "spatial_pixel_values": torch.cat([frames for _, frames in spatial]),
            "row_frame": torch.tensor(row_frame),
            "row_sentence": torch.tensor(row_sentence),
            "targets": torch.from_numpy(np.stack([box for rows, _ in spatial for box in rows.targets])).float(),
            "has_target": torch.tensor([flag for rows, _ in spatial for flag in rows.has_target]),
        }
    return batch


def _captions(
    scene: Scene,
    times: NDArray[np.float64],
    layout: ClipLayout,
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    pairs = frame_pairs(len(times))
    whole = np.flatnonzero(pairs[:, 0] != pairs[:, 1])  # a repeated frame shows no motion
    texts = {
        int(pair): captions(scene, float(times[pairs[pair, 0]]), float(times[pairs[pair, 1]])) for pair in whole
    }
    # Objects rest most of the time; pairs in which something happens are drawn more often.
    busy = np.array(
        [1.0 + 3.0 * sum(not text.endswith("rests") for text in texts[int(pair)]) for pair in whole]
    )
    drawn = rng.choice(whole, size=min(count, len(whole)), replace=False, p=busy / busy.sum())
    return [processor.caption_branch(_sentence(texts[int(pair)]), layout, int(pair)) for pair in np.sort(drawn)]


def _moments(
    scene: Scene,
    times: NDArray[np.float64],
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    pairs, stamps = frame_pairs(len(times)), pair_times(times)
    whole = np.flatnonzero(pairs[:, 0] != pairs[:, 1])
    found = []
    for pair in rng.permutation(whole)[:count]:
        text = _sentence(captions(scene, float(times[pairs[pair, 0]]), float(times[pairs[pair, 1]])))
        question = MOMENT.format(time=timestamp_text(float(stamps[pair])))
        found.append(processor.branch("vqa", question, text, locates=False))
    return found


def _scans(
    asked: list[Question],
    scene: Scene,
    slots: NDArray[np.float64],
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
) -> list[Branch]:
    """Who is meant, and whether the action is to be seen in every second, each to be judged from the clip.

    The model reads random words where it has to say the true ones, because a scan is easily continued from the
    words before, and then nothing is learned from the clip (docs/log.md).
    """
    found = []
    for question in _spread(asked, "vtg", count):
        assert question.object_index is not None
        assert question.kind is not None
        name, seconds = scene.objects[question.object_index].name, [int(first + 0.25) for first in slots[:, 0]]
        seen = _seen(scene, question, slots)
        words = (BEFORE, question.kind.split()[-1], AFTER)
        read = [words[place] for place in rng.integers(3, size=len(seen))]
        true = _words(question.kind, seen, read)
        wrong = [words[words.index(word) - 1] for word in true]
        said, differs, shown = (
            processor.branch("vtg", question.query, _scan(name, question.kind, seconds, scan), locates=False)
            for scan in (true, wrong, read)
        )
        # The name and the words are learned; the seconds between them are known beforehand.
        differ = [ours != theirs for ours, theirs in zip(said.ids, differs.ids, strict=True)]
        labels = tuple(
            label if word or index < differ.index(True) else IGNORE
            for index, (label, word) in enumerate(zip(said.labels, differ, strict=True))
        )
        found.append(Branch(ids=shown.ids, labels=labels))
    return found


def _scan(name: str, kind: str, seconds: list[int], words: list[str]) -> str:
    return scan_text(name, kind, list(zip(seconds, words, strict=True)))


def _seen(scene: Scene, question: Question, slots: NDArray[np.float64]) -> list[bool]:
    """Whether the action asked about fills more than half of each slot (P, 2) of time and is in the frame."""
    assert question.object_index is not None
    item = scene.objects[question.object_index]
    _, visible = boxes(scene, slots.mean(axis=1))
    return [
        bool(shown) and item.doing(first, last) == question.kind
        for (first, last), shown in zip(slots.tolist(), visible[question.object_index], strict=True)
    ]


def _words(kind: str, seen: list[bool], read: list[str] | None = None) -> list[str]:
    """The word of each second; "after" once the action was named in ``read``, by default the words themselves.

    The action's own word instead of a yes: it is what the model sees and what it is asked for, and the sum of
    both evidences is all that it takes to say it.
    """
    words: list[str] = []
    named = False
    for number, shown in enumerate(seen):
        words.append(kind.split()[-1] if shown else AFTER if named else BEFORE)
        named |= (words if read is None else read)[number] == kind.split()[-1]
    return words


def _windows(
    asked: list[Question],
    scene: Scene,
    count: int,
    processor: BridgeSTGProcessor,
    rng: np.random.Generator,
    slots: NDArray[np.float64],
) -> list[Branch]:
    return [
        processor.branch("vtg", question.query, _window_answer(scene, question, rng, slots), locates=False)
        for question in _spread(asked, "vtg", count)
    ]


def _retold(count: int, processor: BridgeSTGProcessor, rng: np.random.Generator) -> list[Branch]:
    """Windows to be read off the scans of another scene, which is not shown: what a window means, in words."""
    if not count:
        return []
    scene = make_scene(int(rng.integers(2**40)))
    times = sample_times(scene, processor.config.sample_fps)
    slots = times[frame_pairs(len(times))]
    found = []
    for question in _spread(questions(scene, rng), "vtg", count):
        answer = _window_answer(scene, question, rng, slots)
        told = processor.branch("vtg", question.query, answer, locates=False)
        window = processor.plain_ids(answer[answer.index(".") + 1 :])
        # The scan cannot be known without the clip; what follows from it can.
        known = len(told.ids) - len(window) - 1
        labels = (*(IGNORE,) * known, *told.labels[known:])
        found.append(Branch(ids=told.ids, labels=labels, attach=0))
    return found


def _choices(asked: list[Question], count: int, processor: BridgeSTGProcessor) -> list[Branch]:
    return [
        processor.branch(
            "vqa", choices_text(question.query, question.choices), question.choice_letter or "", False
        )
        for question in _spread(asked, "vqa", count)
    ]


def _spread(asked: list[Question], task: str, count: int) -> list[Question]:
    """Up to ``count`` questions of a task about different events as far as there are any."""
    pool = [question for question in asked if question.task == task]
    first: dict[object, Question] = {}
    for question in pool:
        first.setdefault((question.object_index, question.window, question.answer), question)
    chosen = list(first.values())[:count]
    rest = [question for question in pool if question not in chosen]
    return chosen + rest[: count - len(chosen)]


def _window_answer(
    scene: Scene, question: Question, rng: np.random.Generator, slots: NDArray[np.float64]
) -> str:
    """A scan of the frame pairs, whose first and last second are ``slots`` (P, 2), and then the window."""
    assert question.window is not None
    assert question.object_index is not None
    assert question.kind is not None
    text = window_text(question.window, WINDOW_WORDINGS[int(rng.integers(len(WINDOW_WORDINGS)))])
    name, seconds = scene.objects[question.object_index].name, [int(first + 0.25) for first in slots[:, 0]]
    seen = _seen(scene, question, slots)
    scan = _scan(name, question.kind, seconds, _words(question.kind, seen))
    # An action that is over before it fills half of a pair is seen at the second it begins.
    shown = [second for second, here in zip(seconds, seen, strict=True) if here] or [int(question.window.start)]
    return f"{scan} {seen_text(shown[0], shown[-1])} {text}"


def _sentence(phrases: list[str]) -> str:
    return ", ".join(phrases) if phrases else "nothing"
