"""Shapes on disk: mp4 files and ``truth.jsonl``, the same whatever the number of processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import InputError
from bridge_stg.files.output_files import new_folder
from bridge_stg.files.worker_pool import one_thread_each
from bridge_stg.records.record import TruthRecord, write_truth
from bridge_stg.shapes.world.absent import absent_questions
from bridge_stg.shapes.world.motion import boxes, frame_times
from bridge_stg.shapes.world.objects import Scene, SceneSettings
from bridge_stg.shapes.world.questions import WorldQuestion, questions, repeated_questions
from bridge_stg.shapes.world.render import CHUNK, render
from bridge_stg.shapes.world.scene import make_scene
from bridge_stg.types import Box
from bridge_stg.video.write import VideoWriter

DEFAULT_SETTINGS = SceneSettings()
MAX_VIDEOS = 1_000_000  # also the distance between the scene seeds of two dataset seeds


def write_shapes(
    out: Path,
    videos: int,
    seed: int,
    settings: SceneSettings = DEFAULT_SETTINGS,
    *,
    per_video_questions: int = 4,
    absent: int = 0,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write ``out/videos/*.mp4`` and ``out/truth.jsonl``; ``out`` appears only when everything is in it.

    Args:
        out: a folder that does not exist yet or is empty.
        videos: how many; video i shows scene ``seed * 1000000 + i`` of the split.
        settings: what scenes are drawn; width and height are even. In the split "compositional" the questions
            are about a held-out colour and shape. All windows of what an object does twice are the answer.
        per_video_questions: at most this many per video, half of them (rounded up) stvg.
        absent: questions per video about what does not happen in it, besides the others.
        workers: processes that draw and encode; None is one per core.
        progress: called with the number of videos done.

    Returns:
        The path of ``truth.jsonl``.

    Raises:
        InputError: an argument out of range, or ``out`` holds files or cannot be written.
    """
    # Arguments that mean nothing.
    if not 1 <= videos <= MAX_VIDEOS:
        raise InputError(f"videos must be within 1..{MAX_VIDEOS}, got {videos}")

    if seed < 0:
        raise InputError(f"seed must not be negative, got {seed}")
    if settings.width % 2 or settings.height % 2:
        raise InputError(f"H.264 needs an even width and height, got {settings.width}x{settings.height}")
    if per_video_questions < 1:
        raise InputError(f"per_video_questions must be at least 1, got {per_video_questions}")
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    if absent < 0:
        raise InputError(f"absent must not be negative, got {absent}")

    out = Path(out)
    with new_folder(out) as folder:
        (folder / "videos").mkdir()
        make = partial(_write_clip, _WrittenWorld(folder, seed, settings, per_video_questions, absent))
        with _mapped(make, videos, workers or os.cpu_count() or 1) as results:
            write_truth(folder / "truth.jsonl", _flatten(results, progress))
    return out / "truth.jsonl"


@dataclass(frozen=True)
class _WrittenWorld:
    """What all videos of a folder have in common."""

    folder: Path
    seed: int
    settings: SceneSettings
    per_video_questions: int
    absent: int


@contextmanager
def _mapped(
    make: Callable[[int], list[TruthRecord]], videos: int, workers: int
) -> Iterator[Iterable[list[TruthRecord]]]:
    """The records of each video in order, made here or in ``workers`` fresh processes."""
    if workers == 1 or videos == 1:
        yield map(make, range(videos))
        return
    context = multiprocessing.get_context("spawn")
    # Matrix products must not start threads of their own.
    with one_thread_each(), ProcessPoolExecutor(min(workers, videos), mp_context=context) as pool:
        try:
            yield pool.map(make, range(videos))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _flatten(
    results: Iterable[list[TruthRecord]], progress: Callable[[int], None] | None
) -> Iterator[TruthRecord]:
    for done, records in enumerate(results, start=1):
        yield from records
        if progress is not None:
            progress(done)


def _write_clip(world: _WrittenWorld, number: int) -> list[TruthRecord]:
    """Draw and encode one video; its questions as records."""
    scene = make_scene(world.seed * MAX_VIDEOS + number, world.settings)
    name = f"videos/{number:06d}.mp4"
    write_video(world.folder / name, scene)
    rng = np.random.default_rng([scene.seed, 5])
    chosen = _choose(scene, world.per_video_questions, rng)
    # After the others, from a draw of their own: the others stay what they are without them.
    chosen += absent_questions(scene, np.random.default_rng([scene.seed, 6]), world.absent)
    prefix = f"{scene.split}-{world.seed}-{number:06d}"
    return [
        truth_record(scene, question, f"{prefix}-{position}", name) for position, question in enumerate(chosen)
    ]


def write_video(path: Path, scene: Scene) -> None:
    """The scene as an mp4, the same bytes for the same scene."""
    times = frame_times(scene)
    with VideoWriter(path, scene.width, scene.height, scene.fps, reproducible=True) as writer:
        for first in range(0, scene.frame_count, CHUNK):
            for image in render(scene, times[first : first + CHUNK], scene.width, scene.height):
                writer.write(image)


def _choose(scene: Scene, count: int, rng: np.random.Generator) -> list[WorldQuestion]:
    """Half stvg (rounded up), the first of them about object 0, then the other tasks in turn; no query twice.

    In the compositional split every question is about object 0, whose looks were held out, and every sentence
    to be located names both its colour and its shape.
    """
    asked = questions(scene, rng)
    if any(len({action.kind for action in item.actions}) < len(item.actions) for item in scene.objects):
        asked = [*repeated_questions(scene, rng), *asked]
    if scene.split == "compositional":
        name = scene.objects[0].name
        asked = [
            question
            for question in asked
            if question.object_index == 0 and (question.task in ("vot", "vqa") or name in question.query)
        ]
    wanted = ["stvg"] * (-(-count // 2))
    others = [("vtg", "vot", "rec", "vqa")[position] for position in rng.permutation(4)]
    wanted += [others[turn % 4] for turn in range(count - len(wanted))]
    chosen: list[WorldQuestion] = []
    for task in wanted:
        pool = [q for q in asked if q.task == task and all(q.query != other.query for other in chosen)]
        if not chosen:
            pool = [question for question in pool if question.object_index == 0]
        windows = [question.window for question in chosen]
        # A second sentence about the same event would teach and test less than one about another event.
        fresh = [question for question in pool if question.window not in windows]
        chosen += (fresh or pool)[:1]
    return chosen


def truth_record(scene: Scene, question: WorldQuestion, name: str, video: str) -> TruthRecord:
    """A question as a line of ``truth.jsonl``: seconds become frames, fractions become pixels.

    The frames of a window are those that appear inside it. ``clip`` is the whole video, or the single frame
    that a rec question is about.
    """
    rate = float(scene.fps)
    clip, wanted = (0, scene.frame_count), np.zeros(0, dtype=np.int64)

    windows: list[tuple[int, int]] = []
    times = np.arange(scene.frame_count) / rate
    if question.task == "rec":
        frame = round((question.time or 0.0) * rate)
        clip, wanted = (frame, frame + 1), np.array([frame])

    for span in question.windows or ((question.window,) if question.window is not None else ()):
        inside = np.flatnonzero((times >= span.start) & (times < span.end))
        windows.append((int(inside[0]), int(inside[-1]) + 1))
        wanted = np.concatenate([wanted, inside]) if question.task in ("stvg", "vot") else wanted

    return TruthRecord(
        id=name,
        task=question.task,
        video=video,
        fps=rate,
        frame_count=scene.frame_count,
        clip=clip,
        width=scene.width,
        height=scene.height,
        query=question.query,
        qtype=question.qtype,
        windows=tuple(windows),
        absent=question.absent,
        boxes=_pixel_boxes(scene, question.object_index, times, wanted),
        choices=question.choices,
        choice=question.choice_letter,
        split=scene.split,
        provenance=f"shapes, version {scene.world} of the world",
    )


def _pixel_boxes(
    scene: Scene, index: int | None, times: NDArray[np.float64], frames: NDArray[np.int64]
) -> dict[int, Box]:
    """The boxes of one object in those of ``frames`` where it is visible."""
    if index is None or not len(frames):
        return {}
    position, visible = boxes(scene, times[frames])
    pixels = position[index] * np.array([scene.width, scene.height] * 2)
    return {
        int(frame): (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
        for frame, box, seen in zip(frames, pixels, visible[index], strict=True)
        if seen
    }
