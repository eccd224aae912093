"""Generated training clips: scenes drawn on the fly, their questions as branches of one token tree."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge_stg.geometry.spans import frame_pairs
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.model.token_tree import Branch, build_tree
from bridge_stg.shapes.branches import (
    NAMED,
    contrast_branches,
    name_branches,
    retold_branches,
    scan_branches,
    spread,
    style_asked,
    window_answer,
    window_branches,
)
from bridge_stg.shapes.captions import (
    caption_branches,
    caption_text,
    lookup_branches,
    moment_branches,
)
from bridge_stg.shapes.configuration import ClipMix, ImageMix, ShapesData
from bridge_stg.shapes.direct_branches import (
    AskedClip,
    absent_branches,
    choice_branches,
    direct_branches,
    found_branch,
    led_spot,
    led_window,
    named_branches,
    spot_branches,
)
from bridge_stg.shapes.drawn_frames import draw, sample_times
from bridge_stg.shapes.evidence import ClipMap, evidence_rows, shown_rows
from bridge_stg.shapes.world.motion import boxes
from bridge_stg.shapes.world.objects import SceneSettings
from bridge_stg.shapes.world.questions import captions, questions
from bridge_stg.shapes.world.scene import make_scene
from bridge_stg.training.data.batch import ClipBatch, Inputs
from bridge_stg.training.data.sentences import Sentence, Track, add_rows, frames_to_learn, located_branch
from bridge_stg.training.data.training_clip import ClipRows, TrainingClip, collate_clips, locate
from bridge_stg.types import AnswerStyle


@dataclass(frozen=True)
class DrawnClip:
    """A training clip, and what the generator knows of it beside the answers.

    evidence: (E, 3) query token, key token and lead, and shown: (T, 6) visual tokens and what is on them, as
        ``bridge_stg.shapes.evidence`` makes them; empty for an image.
    """

    clip: TrainingClip
    evidence: Tensor
    shown: Tensor


@dataclass(frozen=True, kw_only=True)
class LedClipBatch(ClipBatch):
    """Clips with the evidence of their answers: as in DrawnClip, with the row of the batch in front."""

    evidence: Tensor
    shown: Tensor

    def inputs(self, processor: BridgeSTGProcessor) -> Inputs:
        return super().inputs(processor) | {"evidence": self.evidence, "shown": self.shown}


def step_settings(data: ShapesData, step: int, steps: int) -> tuple[bool, SceneSettings]:
    """Whether a step trains on single images, and the scenes it draws; a pure function of (seed, step).

    All clips of a step have about the same length, so that little is padded.
    """
    rng = np.random.default_rng([data.seed, step, 1])
    lesson = next(item for item in data.curriculum if step < item.until * steps or item.until == 1.0)
    image = bool(rng.random() < data.image_share)
    longest = rng.uniform(data.min_duration, lesson.max_duration)
    shortest = max(longest - 1.0, data.min_duration)
    return image, SceneSettings(
        min_objects=lesson.min_objects,
        max_objects=lesson.max_objects,
        min_duration=shortest,
        max_duration=max(longest, shortest),
    )


def clip_seeds(data: ShapesData, step: int, steps: int) -> NDArray[np.int64]:
    """The clips of a step: everything about one follows from its seed."""
    image, _ = step_settings(data, step, steps)
    count = data.images_per_step if image else data.clips_per_step
    return np.random.default_rng([data.seed, step, 2]).integers(2**40, size=count)


def build_batch(
    data: ShapesData,
    step: int,
    steps: int,
    processor: BridgeSTGProcessor,
    share: slice = slice(None),
    style: AnswerStyle = "scan",
    led: bool = False,
) -> ClipBatch:
    """The model's inputs for one step, or for those of its clips that ``share`` says.

    Args:
        style: of the answers of ``windows`` and ``located``.
        led: with the evidence of the answers (``LedClipBatch``).
    """
    image, settings = step_settings(data, step, steps)
    seeds = clip_seeds(data, step, steps)[share]
    clips = [
        image_clip(int(seed), settings, data.image_mix, processor)
        if image
        else video_clip(int(seed), settings, data.mix, data, processor, style)
        for seed in seeds
    ]
    batch = collate_clips([clip.clip for clip in clips], processor.pad_id)
    return with_evidence(batch, [(clip.evidence, clip.shown) for clip in clips]) if led else batch


def video_clip(
    seed: int,
    settings: SceneSettings,
    mix: ClipMix,
    data: ShapesData,
    processor: BridgeSTGProcessor,
    style: AnswerStyle = "scan",
) -> DrawnClip:
    """A scene sampled like a video file, with captions and questions."""
    # The clip as the model reads it, and what can be asked about it.
    rng = np.random.default_rng([seed, 3])
    scene = make_scene(seed, settings)
    times = sample_times(scene, processor.config.sample_fps)
    frames = draw(scene, times, processor, rng)
    layout = processor.clip(processor.patch_grid(frames), times)
    asked = questions(scene, rng)

    # What is known of it, for answers that are led to their evidence.
    pair_spans = times[frame_pairs(len(times))]
    known = ClipMap.of(scene, times, layout, processor.patch_grid(frames), processor)
    clip = AskedClip(scene, asked, times, pair_spans, known, processor, rng)

    # What asks for words.
    named = spread(asked, "vtg", mix.scans + mix.names)
    scans = scan_branches(asked, scene, pair_spans, mix.scans, processor, rng)
    names = name_branches(asked, scene, mix.scans, mix.names, processor)
    branches = [
        *caption_branches(scene, times, layout, mix.captions, processor, rng),
        *moment_branches(scene, times, mix.moments, processor, rng),
        *lookup_branches(scene, times, layout, mix.lookups, processor, rng),
        *[found_branch(clip, *pair) for pair in zip(named[: mix.scans], scans, strict=True)],
        *contrast_branches(scene, pair_spans, mix.contrasts, processor, rng),
        *[found_branch(clip, *pair) for pair in zip(named[mix.scans :], names, strict=True)],
        *window_branches(asked, scene, mix.windows, processor, rng, pair_spans, style),
        *retold_branches(mix.retold, processor, rng),
        *choice_branches(clip, mix.choices),
        *named_branches(clip, mix.named),
        *direct_branches(clip, mix.direct),
        *absent_branches(clip, mix.absent),
        *spot_branches(clip, mix.spots, skip=mix.tracked),
    ]

    # What asks for boxes.
    rows, objective = ClipRows(), processor.config.objective
    sentences = spread(asked, "stvg", mix.located + mix.located_direct)
    direct_count = len(sentences) if style == "direct" else mix.located_direct
    located = sentences + spread(asked, "vot", mix.tracked)
    box, visible = boxes(scene, times)
    for number, question in enumerate(located):
        assert question.window is not None
        assert question.object_index is not None

        # The answer in words.
        answered: AnswerStyle = "direct" if number < direct_count else style
        if question.task == "stvg":
            answer = window_answer(scene, question, rng, pair_spans, answered)
        else:
            answer = NAMED.format(name=scene.objects[question.object_index].name)

        # The frames that its boxes are learned from.
        track = Track(times, box[question.object_index], visible[question.object_index])
        drawn = int(rng.integers(2**31))
        positive, negative = frames_to_learn(track, question.window, data, drawn, objective)

        # The branch, led where the evidence is known. An entangled model writes boxes, whose evidence is not.
        asked_style = style_asked(processor, answered) if question.task == "stvg" else None
        sentence = Sentence(question.task, question.query, answer, asked_style)
        branch = located_branch(sentence, track, positive, processor)
        if objective != "entangled" and question.task == "vot":
            branch = led_spot(clip, question, branch)
        elif objective != "entangled":
            branch = (led_window if answered == "direct" else found_branch)(clip, question, branch)
        branches.append(branch)
        add_rows(rows, track, positive, negative, objective)

    tree = build_tree(layout.input_ids, layout.positions, layout.next_position, branches)
    return DrawnClip(
        TrainingClip(tree, torch.from_numpy(frames), rows, locate(rows, frames, processor)),
        evidence_rows(branches, len(layout.input_ids)),
        shown_rows(scene, pair_spans, known, rng),
    )


def image_clip(seed: int, settings: SceneSettings, mix: ImageMix, processor: BridgeSTGProcessor) -> DrawnClip:
    """One frame of a scene as a clip without timestamps: captions and referring expressions."""
    # The image, at a moment that referring expressions are about if there are any.
    rng = np.random.default_rng([seed, 4])
    scene = make_scene(seed, settings)
    asked = questions(scene, rng) if mix.referred else []
    referred = [question for question in asked if question.task == "rec"]
    moment = float(referred[0].time or 0.0) if referred else float(rng.uniform(0, scene.duration))
    times = np.array([moment])
    frames = draw(scene, times, processor, rng)
    layout = processor.clip(processor.patch_grid(frames), None)

    # What asks for words.
    branches: list[Branch] = []
    if mix.captions:
        branches.append(processor.caption_branch(caption_text(captions(scene, moment, moment)), layout, 0))
    branches += retold_branches(mix.retold, processor, rng)

    # What asks for boxes.
    rows, objective = ClipRows(), processor.config.objective
    box, _ = boxes(scene, times)
    for question in [item for item in referred if item.time == moment][: mix.referred]:
        assert question.object_index is not None
        answer = NAMED.format(name=scene.objects[question.object_index].name)
        track, shown = Track(times, box[question.object_index], np.array([True])), np.array([0])
        branches.append(located_branch(Sentence("rec", question.query, answer), track, shown, processor))
        add_rows(rows, track, shown, np.zeros(0, dtype=np.int64), objective)

    tree = build_tree(layout.input_ids, layout.positions, layout.next_position, branches)
    clip = TrainingClip(tree, torch.from_numpy(frames), rows, locate(rows, frames, processor))
    return DrawnClip(clip, torch.zeros(0, 3, dtype=torch.long), torch.zeros(0, 6, dtype=torch.long))


def with_evidence(batch: ClipBatch, known: list[tuple[Tensor, Tensor]]) -> LedClipBatch:
    """A batch with what is known of each of its clips."""

    def joined(parts: list[Tensor]) -> Tensor:
        return torch.cat([torch.cat([torch.full_like(p[:, :1], row), p], 1) for row, p in enumerate(parts)])

    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return LedClipBatch(
        **fields,
        evidence=joined([evidence for evidence, _ in known]),
        shown=joined([shown for _, shown in known]),
    )
