"""``Grounder``: the interface of every grounder, each option an argument with a name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from bridge_stg.errors import InputError
from bridge_stg.inference.clip_cost import ClipCost
from bridge_stg.inference.options import GroundOptions, SpanLike, as_span, as_times, as_windows
from bridge_stg.types import AnswerStyle, GroundingResult, Task
from bridge_stg.video.source import VideoInput

Progress = Callable[[str], None]
OnCost = Callable[[ClipCost], None]
DEFAULT_OPTIONS = GroundOptions()


@dataclass(frozen=True)
class VideoAnswers:
    """One video of several: a result per sentence, or the ``problem`` that left it without any."""

    video: VideoInput
    results: tuple[GroundingResult, ...] = ()
    problem: InputError | None = None


class Grounder(ABC):
    """Finds when and where sentences happen in a video. ``name`` is that of its checkpoint."""

    name: str

    # A torch module; it says on which device the work is done, and its size.
    model: Any

    @property
    @abstractmethod
    def sample_fps(self) -> float:
        """Frames per second that are read of a video."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of every answer of this checkpoint; among the notes of each result."""
        return ()

    @overload
    def ground(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too; the first one wins
        self,
        video: VideoInput,
        query: str,
        *,
        task: Task | None = None,
        clip: SpanLike | None = None,
        window: SpanLike | Sequence[SpanLike] | None = None,
        times: Sequence[float] | None = None,
        box_fps: float | None = None,
        answer: AnswerStyle | None = None,
        careful: bool = False,
        min_confidence: float = 0.0,
        chunk: float | None = None,
        max_answer_tokens: int | None = None,
        max_query_tokens: int | None = None,
        timing: bool = False,
        progress: Progress | None = None,
        on_cost: OnCost | None = None,
    ) -> GroundingResult: ...
    @overload
    def ground(
        self,
        video: VideoInput,
        query: Sequence[str],
        *,
        task: Task | None = None,
        clip: SpanLike | None = None,
        window: SpanLike | Sequence[SpanLike] | None = None,
        times: Sequence[float] | None = None,
        box_fps: float | None = None,
        answer: AnswerStyle | None = None,
        careful: bool = False,
        min_confidence: float = 0.0,
        chunk: float | None = None,
        max_answer_tokens: int | None = None,
        max_query_tokens: int | None = None,
        timing: bool = False,
        progress: Progress | None = None,
        on_cost: OnCost | None = None,
    ) -> list[GroundingResult]: ...
    def ground(
        self,
        video: VideoInput,
        query: str | Sequence[str],
        *,
        task: Task | None = None,
        clip: SpanLike | None = None,
        window: SpanLike | Sequence[SpanLike] | None = None,
        times: Sequence[float] | None = None,
        box_fps: float | None = None,
        answer: AnswerStyle | None = None,
        careful: bool = False,
        min_confidence: float = 0.0,
        chunk: float | None = None,
        max_answer_tokens: int | None = None,
        max_query_tokens: int | None = None,
        timing: bool = False,
        progress: Progress | None = None,
        on_cost: OnCost | None = None,
    ) -> GroundingResult | list[GroundingResult]:
        """Find when and where one sentence, or each of several, happens.

        Several sentences share one decoding of the video and one pass of the vision tower. From ``task`` to
        ``timing`` the options are the fields of :class:`GroundOptions`; a window may also be two seconds.

        Args:
            video: a file, a folder of images, or frames in memory with their ``times``. A single image has no
                time: the sentence is looked for in it as a referring expression, and the window is all of it.
            query: one sentence, or several. One that gives a box, in thousandths of the frame, has that object
                tracked: "track it at [100, 250, 500, 900]", and "from 1.5 seconds" if it appears later. A stock
                Qwen3-VL does not track, and refuses it.
            progress: called with the name of each stage.
            on_cost: called with what the clip took.

        Raises:
            InputError: an option that means nothing, an empty or too long query, or a window outside the video.
            VideoError: a video that cannot be read.
        """
        results = self.ground_many(
            video,
            [query] if isinstance(query, str) else query,
            task=task,
            clip=clip,
            window=window,
            times=times,
            box_fps=box_fps,
            answer=answer,
            careful=careful,
            min_confidence=min_confidence,
            chunk=chunk,
            max_answer_tokens=max_answer_tokens,
            max_query_tokens=max_query_tokens,
            timing=timing,
            progress=progress,
            on_cost=on_cost,
        )
        return results[0] if isinstance(query, str) else results

    def ground_many(
        self,
        video: VideoInput,
        queries: Sequence[str],
        *,
        task: Task | None = None,
        clip: SpanLike | None = None,
        window: SpanLike | Sequence[SpanLike] | None = None,
        times: Sequence[float] | None = None,
        box_fps: float | None = None,
        answer: AnswerStyle | None = None,
        careful: bool = False,
        min_confidence: float = 0.0,
        chunk: float | None = None,
        max_answer_tokens: int | None = None,
        max_query_tokens: int | None = None,
        timing: bool = False,
        progress: Progress | None = None,
        on_cost: OnCost | None = None,
    ) -> list[GroundingResult]:
        """``ground`` for a list of sentences."""
        options = GroundOptions(
            task=task,
            clip=None if clip is None else as_span("clip", clip),
            window=None if window is None else as_windows(window),
            times=None if times is None else as_times(times),
            box_fps=box_fps,
            answer=answer,
            careful=careful,
            min_confidence=min_confidence,
            chunk=chunk,
            max_answer_tokens=max_answer_tokens,
            max_query_tokens=max_query_tokens,
            timing=timing,
        )
        return self.ground_with(video, queries, options, progress=progress, on_cost=on_cost)

    def ground_videos(
        self,
        videos: Iterable[tuple[VideoInput, str | Sequence[str]]],
        options: GroundOptions = DEFAULT_OPTIONS,
    ) -> Iterator[VideoAnswers]:
        """One video after the other, each with its own sentence or sentences.

        A video or a sentence that cannot be used gives its place a ``problem`` and leaves the others alone.
        """
        for video, queries in videos:
            asked = [queries] if isinstance(queries, str) else queries
            try:
                yield VideoAnswers(video, tuple(self.ground_with(video, asked, options)))
            except InputError as problem:
                yield VideoAnswers(video, problem=problem)

    @abstractmethod
    def ground_with(
        self,
        video: VideoInput,
        queries: Sequence[str],
        options: GroundOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
        on_cost: OnCost | None = None,
    ) -> list[GroundingResult]:
        """``ground_many`` with its options as one value, as commands and services hand them on."""


def load_by_name(
    kind: Any, name: str, device: str, dtype: str, options: dict[str, Any] | None = None
) -> Grounder:
    """What opening the pickle of a grounder does; ``kind`` is its class."""
    opened: Grounder = kind.from_pretrained(name, device=device, dtype=dtype, **(options or {}))
    return opened
