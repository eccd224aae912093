"""``VideoGrounder``: a video and sentences in, windows and tubes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from torch import Tensor

from bridge_stg.errors import InputError
from bridge_stg.inference.answer_outcome import AnswerOutcome, Found, read_outcome
from bridge_stg.inference.answering import answer, answer_limit, read_clip
from bridge_stg.inference.careful import join_looks, readings_of, wants_boxes, with_boxes
from bridge_stg.inference.clip_cost import ClipCost, StageClock
from bridge_stg.inference.confidence import drop_unsure
from bridge_stg.inference.decoded_answers import (
    AskedQueries,
    DecodedAnswer,
    decode_answers,
    never_refusing,
    refusal_rule,
    where_rule,
)
from bridge_stg.inference.device import hub_options, prepare_device
from bridge_stg.inference.door import DEFAULT_OPTIONS, Grounder, OnCost, Progress, load_by_name
from bridge_stg.inference.drafting import drafter_of, scan_seconds
from bridge_stg.inference.extent import clip_extent, given_window, span_to_sample
from bridge_stg.inference.free_memory import is_out_of_memory, sentences_at_once
from bridge_stg.inference.hand_over import hand_over
from bridge_stg.inference.loaded_clip import LoadedClip
from bridge_stg.inference.locating import locate_windows
from bridge_stg.inference.long_videos import ground_in_pieces, merge_costs, pieces_of
from bridge_stg.inference.notes import domain_note
from bridge_stg.inference.options import GroundOptions
from bridge_stg.inference.read_ahead import reading_ahead
from bridge_stg.inference.refusal_check import check_refusals
from bridge_stg.inference.result_builder import ResultBuilder
from bridge_stg.inference.several_times import ScanReader
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import MAX_QUERY_TOKENS, BridgeSTGProcessor
from bridge_stg.model.row_tower import join_projections
from bridge_stg.prompting.given_box import read_given
from bridge_stg.prompting.templates import DIRECT_OPENING, check_queries
from bridge_stg.types import (
    LOCATED_TASKS,
    WHOLE_CLIP_TASKS,
    WINDOW_TASKS,
    AnswerStyle,
    GroundingResult,
    SampledVideo,
    TimeSpan,
    Tube,
    parse_answer_style,
)
from bridge_stg.video.sampling import sample_video
from bridge_stg.video.source import VideoInput, VideoSource, open_video
from bridge_stg.weights.locate import checkpoint_folder


class VideoGrounder(Grounder):
    """Grounds sentences in videos with one loaded checkpoint.

    Examples:
        >>> grounder = VideoGrounder.from_pretrained("shapes")              # doctest: +SKIP
        >>> grounder.ground("clip.mp4", "the red circle that moves left")   # doctest: +SKIP
    """

    def __init__(
        self,
        model: BridgeSTGForVideoGrounding,
        processor: BridgeSTGProcessor,
        name: str,
        compiled: bool = False,
    ) -> None:
        self.model = model.eval()
        join_projections(model.mllm.model.language_model)
        self.processor = processor
        self.name = name
        self.compiler = "inductor" if compiled else None

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = "shapes",
        device: str | None = None,
        dtype: Any = None,
        threads: int | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        compiled: bool = False,
    ) -> Self:
        """Load a shipped checkpoint by name, a folder, or a hub id.

        Args:
            device: "cpu", "cuda", ...; by default a GPU if there is one.
            dtype: a torch dtype or its name; by default float32 on a CPU and bfloat16 on a GPU.
            threads: of torch on a CPU; by default the free cores (``choose_threads``).
            revision: branch, tag or commit of a hub id.
            token: for a hub id that asks who you are; True for the one that is stored on this machine.
            compiled: ``torch.compile`` makes the steps of answers, on a GPU; the first ones wait for it.

        Raises:
            CheckpointError: missing, truncated, or not a Bridge-STG checkpoint.
            InputError: torch cannot use that device or dtype, or ``compiled`` on a CPU.
        """
        folder = checkpoint_folder(name)
        device, dtype = prepare_device(device, dtype, threads)
        if compiled and torch.device(device).type == "cpu":
            raise InputError("steps are compiled on a GPU only; on a CPU leave compiled out")
        hub = hub_options(revision, token)
        processor = BridgeSTGProcessor.from_pretrained(folder, **hub)
        model = BridgeSTGForVideoGrounding.from_pretrained(folder, dtype=dtype, **hub)
        return cls(model.to(device), processor, str(name), compiled)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds the name and not the weights: they are loaded again where it is opened."""
        options = {"compiled": True} if self.compiler else {}
        return load_by_name, (type(self), self.name, str(self.model.device), str(self.model.dtype), options)

    @property
    def sample_fps(self) -> float:
        return self.processor.config.sample_fps

    @property
    def notes(self) -> tuple[str, ...]:
        return domain_note(self.processor.config)

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
        # What cannot be asked is refused before anything is decoded.
        check_queries(queries)
        source = open_video(video, options.times)
        asked = self._ask(queries, options, source.still)
        if options.careful and asked.task not in WINDOW_TASKS:
            raise InputError(f"careful answers are for stvg and vtg, which name a window; this is {asked.task}")
        extent = clip_extent(source.info, options.clip)
        if asked.task == "vot":
            for query in queries:
                read_given(query, extent.length)

        # A video longer than those it was trained on is read in pieces of a length that it knows.
        pieces = [extent]
        if asked.task in WINDOW_TASKS and asked.windows is None:
            pieces = pieces_of(extent, options.chunk, self.processor.config.longest_clip)

        def read(piece: TimeSpan, known: SampledVideo | None) -> SampledVideo:
            return self.sample(source, span=span_to_sample(asked.task, piece), known=known)

        # The next piece is read while the model works on this one.
        with reading_ahead(read, pieces) as following:

            def in_piece(piece: TimeSpan, tell: Progress | None, count: OnCost | None) -> list[GroundingResult]:
                return self._ground_clip(source, asked, piece, following, options, StageClock(tell), count)

            if len(pieces) == 1:
                found = in_piece(extent, progress, on_cost)
            else:
                found = ground_in_pieces(pieces, in_piece, progress, on_cost)
        return [drop_unsure(result, options.min_confidence) for result in found]

    def _ground_clip(
        self,
        source: VideoSource,
        asked: AskedQueries,
        extent: TimeSpan,
        frames: Callable[[], SampledVideo],
        options: GroundOptions,
        clock: StageClock,
        on_cost: OnCost | None,
    ) -> list[GroundingResult]:
        """All sentences in one part of the video; ``frames`` waits for what the model reads of it."""
        if options.careful:
            return self._look_carefully(source, asked, extent, frames, options, clock, on_cost)

        # Read: one decoding, one pass of the vision tower, one prefill for all sentences.
        timed = not (source.still or asked.task == "rec")
        clip = self._read(frames, timed, extent, clock)
        results, cost = self._ground_once(source, clip, asked, options, clock)
        if on_cost is not None:
            on_cost(cost)
        return results

    def _look_carefully(
        self,
        source: VideoSource,
        asked: AskedQueries,
        extent: TimeSpan,
        frames: Callable[[], SampledVideo],
        options: GroundOptions,
        clock: StageClock,
        on_cost: OnCost | None,
    ) -> list[GroundingResult]:
        """What looks in all styles at two readings of the clip agree on, with boxes on twice as many frames."""

        def looks_at(clip: LoadedClip) -> tuple[list[list[GroundingResult]], ClipCost]:
            """The looks at one reading, and what they took; its frames count once."""
            looks, costs = [], []
            for name in self.processor.config.answer_styles:
                style = replace(options, careful=False, answer=parse_answer_style(name), box_fps=None)
                one = self._ask(asked.queries, style, source.still)
                results, cost = self._ground_once(source, clip, one, style, clock)
                looks.append(results)
                costs.append(cost)
            return looks, replace(
                merge_costs(costs), frames=costs[0].frames, visual_tokens=costs[0].visual_tokens
            )

        # The first reading last, since boxes are asked for in it: two clips at once would not always fit.
        first, *later = readings_of(extent, self.sample_fps)
        others = [
            looks_at(self._read(partial(self.sample, source, span=part), True, part, clock)) for part in later
        ]
        clip = self._read(frames, True, first, clock)
        own, cost = looks_at(clip)
        looks = [*own, *(row for rows, _ in others for row in rows)]
        costs = [cost, *(taken for _, taken in others)]

        # What they agree on, and where boxes are wanted, those in its windows.
        rows = list(zip(*looks, strict=True))
        joined = [join_looks(row, len(own), extent.start) for row in rows]
        boxed = [number for number, row in enumerate(rows) if wants_boxes(joined[number], row)]
        if boxed:
            again = self._ask([asked.queries[number] for number in boxed], options, source.still)
            windows = [tuple(one.span for one in joined[number].windows) for number in boxed]
            located = never_refusing(replace(again, windows=windows), self.processor)
            if options.box_fps is None and later and self.model.localizer is not None:
                options = replace(options, box_fps=2 * self.sample_fps)
            found = self._find(clip, located, clock=clock, dense=self._dense(source, again, options))
            for number, one in zip(boxed, found, strict=True):
                joined[number] = with_boxes(joined[number], one.tube)
            costs.append(clip.cost(located, found, clock).of_rows(boxed, len(joined)))

        if on_cost is not None:
            on_cost(replace(merge_costs(costs), milliseconds=dict(clock.milliseconds)))
        stages = dict(clock.milliseconds) if options.timing else {}
        return [replace(one, timing_ms=stages) for one in joined]

    def _dense(
        self, source: VideoSource, asked: AskedQueries, options: GroundOptions
    ) -> Callable[..., SampledVideo] | None:
        """What samples frames for boxes at another rate than that of the model, if that is wanted."""
        rate = None if asked.task == "rec" else options.box_fps
        return None if rate is None else partial(self.sample, source, rate)

    def _ground_once(
        self,
        source: VideoSource,
        clip: LoadedClip,
        asked: AskedQueries,
        options: GroundOptions,
        clock: StageClock,
    ) -> tuple[list[GroundingResult], ClipCost]:
        """All sentences in a clip that was read, and what that took."""
        given = asked.windows
        if given is not None:
            given = [tuple(given_window(window, clip.extent) for window in windows) for windows in given]

        # Answer and locate. Where the caller named neither a task nor a window, the model decides whether there
        # are boxes.
        dense = self._dense(source, asked, options)
        forced = options.task is not None or asked.task in WHOLE_CLIP_TASKS or given is not None
        find = partial(self._find, clip, clock=clock)
        found = find(replace(asked, windows=given), forced=forced, dense=dense)

        # A refusal is checked before it counts.
        least = self.processor.config.refusal_check
        if least is not None and asked.style is not None and given is None:

            def again(queries: Sequence[str], how: GroundOptions) -> AskedQueries:
                return never_refusing(self._ask(queries, how, source.still), self.processor)

            def look(queries: Sequence[str]) -> list[list[Found]]:
                each = [replace(options, task="stvg", answer=style) for style in get_args(AnswerStyle)]
                return [find(again(queries, how)) for how in each]

            def insist(queries: Sequence[str]) -> list[Found]:
                return find(again(queries, replace(options, task=asked.task)), forced=forced, dense=dense)

            found = check_refusals(asked.queries, found, least, look, insist)

        # Results, in the order of the sentences.
        build = ResultBuilder(self.processor, self.name, source.name, asked, clip.sampled, clip.extent)
        stages = dict(clock.milliseconds) if options.timing else {}
        results = [
            build(query, one.answer, one.outcome, one.tube, stages)
            for query, one in zip(asked.queries, found, strict=True)
        ]
        return results, clip.cost(asked, found, clock)

    def _find(
        self,
        clip: LoadedClip,
        asked: AskedQueries,
        *,
        clock: StageClock,
        forced: bool = True,
        dense: Callable[..., SampledVideo] | None = None,
    ) -> list[Found]:
        """What is said of each sentence, which windows count and the boxes in them.

        Args:
            forced: there are boxes even where the model does not ask where.
            dense: samples frames for boxes at another rate than the one that the model reads.
        """
        # Answer: in words, then with the bridging queries where boxes are wanted.
        decoded, bridge = self._answer(clip, asked, clock)

        # Which windows count: the whole clip where the task says so, the caller's, or those of the answer.
        if asked.task == "vqa":
            outcomes = [AnswerOutcome("ok") for _ in decoded]
        elif asked.task in WHOLE_CLIP_TASKS:
            outcomes = [AnswerOutcome("ok", (clip.extent,)) for _ in decoded]
        elif asked.windows is not None:
            outcomes = [AnswerOutcome("ok", windows) for windows in asked.windows]
        else:
            outcomes = [read_outcome(one.text, clip.extent) for one in decoded]

        # Locate: the spatial decoder on the frames of each window.
        tubes: list[Tube | None] = [None] * len(decoded)
        if bridge is not None:
            silent = [not (forced or one.asks_where or one.is_cut) for one in decoded]
            spans = [() if quiet else found.windows for quiet, found in zip(silent, outcomes, strict=True)]
            with clock.stage("spatial"):
                tubes = locate_windows(self.model, self.processor, clip.sampled, spans, bridge, dense)
        return [Found(*row) for row in zip(decoded, outcomes, tubes, strict=True)]

    def sample(
        self,
        video: VideoInput | VideoSource,
        fps: float | None = None,
        span: TimeSpan | None = None,
        times: Sequence[float] | None = None,
        known: SampledVideo | None = None,
    ) -> SampledVideo:
        """Frames of a video at the size and, by default, the rate that the model reads.

        The arguments are those of :func:`bridge_stg.video.sampling.sample_video`.
        """
        rate = self.processor.config.sample_fps if fps is None else fps
        return sample_video(
            video, fps=rate, frame_size=self.processor.frame_size, span=span, times=times, known=known
        )

    def _ask(self, queries: Sequence[str], options: GroundOptions, still: bool) -> AskedQueries:
        """The questions in tokens.

        A checkpoint that was not trained to answer directly is given the opening of such an answer.

        Raises:
            InputError: a style that the checkpoint does not know, or a query that cannot be asked.
        """
        task = options.task_for(queries, still)

        # In which style it is to answer; tasks without a window have none.
        known = self.processor.config.answer_styles
        style = (options.answer or parse_answer_style(known[0])) if task in WINDOW_TASKS else None
        opening = ""
        if style is not None and style not in known:
            if style != "direct":
                raise InputError(
                    f"{self.name}: was not trained to answer in the style {style}; it knows {', '.join(known)}"
                )
            opening = DIRECT_OPENING

        # The questions, with what the answer begins with.
        given = options.windows_for(len(queries))
        asked_style = style if style in known else None
        longest = options.max_query_tokens or MAX_QUERY_TOKENS
        ids = [self.processor.question_ids(task, query, asked_style, longest) for query in queries]
        if opening:
            begun = self.processor.plain_ids(opening)
            ids = [(*own, *begun) for own in ids]

        return AskedQueries(
            queries=queries,
            task=task,
            style=style,
            ids=ids,
            opening=opening,
            windows=None if given is None else [(window,) for window in given],
            limit=options.max_answer_tokens or answer_limit(self.model.config),
            refusal=None if style is None or opening else refusal_rule(self.processor, style),
        )

    def _read(
        self, frames: Callable[[], SampledVideo], timed: bool, extent: TimeSpan, clock: StageClock
    ) -> LoadedClip:
        """Decode, one pass of the vision tower and one prefill; an image is not ``timed``."""
        with clock.stage("decode"):
            sampled = frames()

        with clock.stage("preprocess"):
            # Frames travel to the device as bytes and become floats there.
            images = torch.from_numpy(sampled.frames).to(self.model.device)
            patches, grid = self.processor.patches(images)
            # The model's clock begins with the clip; an image has none.
            seconds = np.maximum(sampled.times - extent.start, 0.0)
            layout = self.processor.clip(grid, seconds if timed else None)

        device = self.model.device
        with clock.stage("vision"):
            vision = self.model.encode_video(patches, torch.tensor([grid], device=device))
        with clock.stage("prefill"):
            read = read_clip(self.model, layout, vision, self.compiler)
        return LoadedClip(extent, sampled, seconds, self.processor.merged_grid(grid), read)

    def _answer(
        self, clip: LoadedClip, asked: AskedQueries, clock: StageClock
    ) -> tuple[list[DecodedAnswer], Tensor | None]:
        """The answers of all sentences, as many at a time as memory has room for.

        Returns:
            The answers, and their bridging queries (S, M, D) if the task has boxes.
        """
        decoded: list[DecodedAnswer] = []
        bridges: list[Tensor] = []
        decode = self.processor.tokenizer.decode
        turn_end, seconds = self.processor.turn_end, clip.seconds
        longest = max(map(len, asked.ids)) + asked.limit + 1 + self.model.config.query_slots
        at_once = sentences_at_once(self.model, longest)

        while len(decoded) < len(asked.ids):
            chunk = asked.ids[len(decoded) : len(decoded) + at_once]
            try:
                with clock.stage("answer"):
                    drafter = drafter_of(self.processor, asked, seconds, first=len(decoded))
                    answers = answer(
                        self.model,
                        clip.read,
                        chunk,
                        turn_end,
                        asked.limit,
                        drafter,
                        asked.refusal,
                        where_rule(self.processor),
                    )
                if asked.task in LOCATED_TASKS:
                    with clock.stage("bridge"):
                        texts = [decode(ids) for ids in answers.ids]
                        bridges.append(hand_over(self.model, clip.read, answers, texts, seconds))
            except RuntimeError as problem:
                # Fewer sentences need less memory; where one alone needs too much, nothing helps.
                if not is_out_of_memory(problem) or len(chunk) == 1:
                    raise
                at_once = len(chunk) // 2
                continue

            decoded += decode_answers(self.processor, asked, answers)

        # A scan may see several times of an event where its answer names one. An answer that holds its boxes
        # has them for the windows that it names.
        if asked.style == "scan" and asked.windows is None and self.model.config.objective != "entangled":
            with clock.stage("answer"):
                reader = ScanReader(self.model, self.processor, clip.read, asked.limit, scan_seconds(seconds))
                decoded = reader.tell_apart(asked, decoded)
        return decoded, torch.cat(bridges) if bridges else None
