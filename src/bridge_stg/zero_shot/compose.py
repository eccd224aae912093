"""``ComposeGrounder``: *when* from a stock Qwen3-VL, *where* from an open-vocabulary detector.

For people without trained weights: neither model has seen this task. The language model is asked for the window
in words, as :class:`ZeroShotGrounder` does; the detector looks for the sentence's subject in each frame of the
window; of its boxes the track is kept that is sure of itself and moves little (a Viterbi path).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForZeroShotObjectDetection, AutoTokenizer

from bridge_stg.errors import CheckpointError, one_line
from bridge_stg.geometry.boxes import cxcywh_to_xyxy, paired_giou
from bridge_stg.geometry.clock import clock_of
from bridge_stg.geometry.spans import sampled_in_span
from bridge_stg.inference.clip_cost import StageClock
from bridge_stg.inference.door import DEFAULT_OPTIONS, Grounder, OnCost, Progress
from bridge_stg.inference.options import GroundOptions
from bridge_stg.inference.tubes import join_tubes
from bridge_stg.model.frames import normalise_frames
from bridge_stg.types import GroundingResult, TimeSpan, Tube
from bridge_stg.video.resize import resize_frame
from bridge_stg.video.sampling import frames_to_sample
from bridge_stg.video.source import VideoInput, VideoSource, open_video
from bridge_stg.zero_shot.grounder import SAMPLE_FPS, ZeroShotGrounder

DEFAULT_DETECTOR = "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det"
# The frame that both kinds of Grounding DINO were trained on, and the statistics of ImageNet.
SHORT_SIDE, LONG_SIDE = 800, 1333
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# What a link is worth beside a score, and how many boxes of a frame can be on the track.
IOU_WEIGHT, CANDIDATES = 1.0, 10
# A subject has a few words; what is longer is cut.
MAX_WORD_TOKENS = 64
NOTE = (
    "composed of two models that were not made for this: {when} says when, {where} where it sees {subject!r}; "
    "no score of this method has been measured"
)

_QUESTION = re.compile(r"^(?:what|which|who|where|when|is there|there is|find|show)\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)
# Words after which a sentence says something about its subject. Those in -ing can be part of it ("the wing").
_TURN = re.compile(
    r"\s+(?:that|who|which|whose|is|are|was|were|has|have|does|do|then|while|when|before|after)\b"
    r"|\s+\w{2,}(?:ing)\b|[,;:.?!]",
    re.IGNORECASE,
)


class ComposeGrounder(Grounder):
    """Two stock models as one grounder.

    Args:
        when: says the window.
        detector: a Grounding DINO or MM-Grounding-DINO of transformers.
        tokenizer: the detector's own.
        detector_name: for notes.
    """

    def __init__(self, when: ZeroShotGrounder, detector: Any, tokenizer: Any, detector_name: str) -> None:
        self.when, self.detector, self.tokenizer = when, detector.eval(), tokenizer
        self.detector_name = detector_name
        # The larger part by far; both lie on one device.
        self.model = when.model
        self.name = f"{when.name} + {detector_name}"

    @property
    def sample_fps(self) -> float:
        return self.when.sample_fps

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        detector: str | Path = DEFAULT_DETECTOR,
        device: str | None = None,
        threads: int | None = None,
        dtype: Any = None,
    ) -> ComposeGrounder:
        """Load a Qwen3-VL and a detector, each from a folder or a hub id.

        Args:
            dtype: of the Qwen3-VL; the detector is held in float32.

        Raises:
            CheckpointError: one of them is missing or something else.
            InputError: torch cannot use that device.
        """
        when = ZeroShotGrounder.from_pretrained(name, device=device, dtype=dtype, threads=threads)
        try:
            model = AutoModelForZeroShotObjectDetection.from_pretrained(
                detector, use_safetensors=True, dtype=torch.float32
            )
            tokenizer = AutoTokenizer.from_pretrained(detector)
        except Exception as problem:  # whatever a folder holds, it is not a detector
            raise CheckpointError(
                f"{detector}: not a detector that can be loaded ({one_line(problem, 200)}); give an "
                f"MM-Grounding-DINO, such as {DEFAULT_DETECTOR}"
            ) from problem
        return cls(when, model.to(when.model.device), tokenizer, str(detector))

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds both names and not the weights: they are loaded again where it is opened."""
        place: dict[str, Any] = {"device": str(self.model.device), "dtype": str(self.model.dtype)}
        names = (self.when.name, self.detector_name)
        return partial(type(self).from_pretrained, *names, **place), ()

    @torch.inference_mode()
    def ground_with(
        self,
        video: VideoInput,
        queries: Sequence[str],
        options: GroundOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
        on_cost: OnCost | None = None,
    ) -> list[GroundingResult]:
        """As ``ZeroShotGrounder.ground_with``, with the detector's boxes and scores in place of the answer's.

        A box is on each sampled frame of the window, or at ``box_fps``; where the detector gives none, the
        result has no tube and a note.
        """
        found = self.when.ground_with(video, queries, options, progress=progress, on_cost=on_cost)
        source = open_video(video, options.times)
        clock = StageClock(progress)
        results = []
        for result in found:
            subject = subject_of(result.query)
            windows = [one.span for one in result.windows]
            with clock.stage("spatial"):
                tube = self._locate(source, windows, subject, options.box_fps or SAMPLE_FPS)
            note = NOTE.format(when=self.when.name, where=self.detector_name, subject=subject)
            timing = result.timing_ms | dict(clock.milliseconds) if options.timing else {}
            results.append(
                replace(
                    result,
                    tube=tube,
                    checkpoint=self.name,
                    timing_ms=timing,
                    notes=(*_of_the_window(result.notes), note),
                )
            )
        return results

    @torch.inference_mode()
    def detect(self, frame: NDArray[np.uint8], subject: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(boxes, scores) of the surest candidates in one frame, best first.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Returns:
            (N, 4) xyxy as fractions of the frame, and (N,) in [0, 1]: the probability of the likeliest word.
        """
        device = self.detector.device
        # Grounding DINO reads phrases in small letters, each ended by a full stop.
        words = self.tokenizer(
            f"{subject.lower()}.",
            return_tensors="pt",
            truncation=True,
            max_length=MAX_WORD_TOKENS,
            split_special_tokens=True,
        )
        pixels = normalise_frames(torch.from_numpy(frame).permute(2, 0, 1)[None], _MEAN, _STD)
        output = self.detector(
            pixel_values=pixels.to(device),
            input_ids=words["input_ids"].to(device),
            attention_mask=words["attention_mask"].to(device),
        )
        # logits (1, Q, T), one per token of the phrase; padding is -inf.
        scores, order = output.logits[0].float().sigmoid().amax(-1).sort(descending=True)
        corners = cxcywh_to_xyxy(output.pred_boxes[0].float()[order]).clamp(0, 1)
        return corners[:CANDIDATES].double().cpu().numpy(), scores[:CANDIDATES].double().cpu().numpy()

    def _locate(
        self, source: VideoSource, windows: Sequence[TimeSpan], subject: str, fps: float
    ) -> Tube | None:
        """The track of the subject in each window, one frame in memory at a time."""
        size = detector_size(source.info.width, source.info.height)
        scale = np.array([source.info.width, source.info.height] * 2, dtype=np.float64)
        tubes = []
        for window in windows:
            frames = frames_to_sample(source.video, fps, window.start, window.end)
            shown = clock_of(source.info).shown(frames)
            frames = frames[sampled_in_span(source.video.times[frames], window, shown)]

            seen, candidates = [], []
            for frame, pixels in source.video.read(frames.tolist()):
                seen.append(frame)
                candidates.append(self.detect(resize_frame(pixels, *size), subject))
            if seen:
                boxes, scores = link_boxes(candidates)
                tubes.append(Tube(source.video.times[seen], np.array(seen), boxes * scale, scores))
        return join_tubes(tubes)


def subject_of(sentence: str) -> str:
    """What a sentence is about, by its first words; all of it where they do not tell.

    >>> subject_of("the red circle that moves left"), subject_of("which man in blue is running?")
    ('red circle', 'man in blue')
    """
    plain = " ".join(sentence.split())
    start = _ARTICLE.sub("", _QUESTION.sub("", plain))
    subject = _TURN.split(start, maxsplit=1)[0].strip()
    return subject or plain


def detector_size(width: int, height: int) -> tuple[int, int]:
    """The (width, height) at which the detector reads a frame; never larger than the frame.

    >>> detector_size(1920, 1080)
    (1333, 750)
    """
    scale = min(SHORT_SIDE / min(width, height), LONG_SIDE / max(width, height), 1.0)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def link_boxes(
    frames: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One box per frame: the path whose scores and overlaps from frame to frame sum up highest.

    Args:
        frames: F times (boxes (N, 4), scores (N,)), N at least 1.

    Returns:
        (F, 4) boxes and (F,) scores.
    """
    best = frames[0][1]
    came_from: list[NDArray[np.int64]] = []
    for (before, _), (boxes, scores) in pairwise(frames):
        # (previous, next): what each path is worth if it goes on to each box.
        overlap, _ = paired_giou(torch.from_numpy(before)[:, None], torch.from_numpy(boxes)[None])
        worth = best[:, None] + IOU_WEIGHT * overlap.numpy()
        came_from.append(worth.argmax(0))
        best = worth.max(0) + scores

    path = [int(best.argmax())]
    for origins in reversed(came_from):
        path.append(int(origins[path[-1]]))
    path.reverse()
    chosen = [(boxes[index], scores[index]) for (boxes, scores), index in zip(frames, path, strict=True)]
    return np.stack([box for box, _ in chosen]), np.array([score for _, score in chosen])


def _of_the_window(notes: Sequence[str]) -> list[str]:
    """Notes of the language model without those about boxes, which are not its own here."""
    return [note for note in notes if "names no box" not in note]
