"""What requests and answers look like; ``/openapi.json`` is made from these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bridge_stg.inference.options import MIN_CHUNK, GroundOptions, as_span
from bridge_stg.serve.known_fields import ClosedModel
from bridge_stg.types import AnswerStyle

JobStatus = Literal["queued", "running", "done", "failed", "cancelled"]
FINISHED: tuple[JobStatus, ...] = ("done", "failed", "cancelled")
ExportFormat = Literal["tube", "cvat", "labelstudio", "mot", "coco-vid", "annotated"]

# An extreme number is refused here, before any arithmetic.
_Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class ErrorDetail(BaseModel):
    code: str
    message: str


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail


class Span(ClosedModel):
    """A half-open window in seconds."""

    start: _Seconds
    end: _Seconds


class AskOptions(ClosedModel):
    """How to answer; without any, as ``bridge-stg ground`` does."""

    box_fps: Annotated[
        float | None,
        Field(gt=0, le=60, allow_inf_nan=False, description="Boxes per second; default: the sampled frames."),
    ] = None
    window: Annotated[Span | None, Field(description="Locate in this window instead of the predicted one.")] = (
        None
    )
    answer: Annotated[AnswerStyle | None, Field(description="The window alone, or second by second first.")] = (
        None
    )
    careful: Annotated[bool, Field(description="Look several times; take what half of them agree on.")] = False
    min_confidence: Annotated[float, Field(ge=0, le=1, description="Windows below it are left out.")] = 0.0
    chunk: Annotated[
        float | None,
        Field(ge=MIN_CHUNK, le=1e6, allow_inf_nan=False, description="Seconds of the pieces to read in."),
    ] = None

    def to_options(self) -> GroundOptions:
        """For the grounder, with the milliseconds of each stage.

        Raises:
            InputError: a value that means nothing.
        """
        window = None if self.window is None else as_span("window", (self.window.start, self.window.end))
        return GroundOptions(
            window=window,
            box_fps=self.box_fps,
            answer=self.answer,
            careful=self.careful,
            min_confidence=self.min_confidence,
            chunk=self.chunk,
            timing=True,
        )


class GroundRequest(ClosedModel):
    """Sentences to find in a stored video."""

    queries: Annotated[list[str], Field(min_length=1)]
    options: AskOptions = AskOptions()


class ExportRequest(ClosedModel):
    """Results, perhaps corrected by a person, to be written as a file."""

    format: ExportFormat
    results: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=200)]


class VideoView(BaseModel):
    """A stored video."""

    id: str
    name: str
    width: int
    height: int
    fps: str
    duration: float
    frames: int
    frame_times: dict[str, Any] | None = None


class JobCreated(BaseModel):
    job: str


class TubeBox(BaseModel):
    time: float
    frame: int
    box: Annotated[list[float], Field(min_length=4, max_length=4)]
    score: float


class TubeResult(BaseModel):
    """One object of tube.json, schema ``bridge-stg/tube/1``; further fields may be added to it."""

    model_config = ConfigDict(extra="allow")

    schema_: Annotated[Literal["bridge-stg/tube/1"], Field(alias="schema")]
    video: str
    query: str
    status: str
    answer: str
    video_info: dict[str, Any]
    window: Span | None
    sampled_fps: float
    boxes: list[TubeBox]
    checkpoint: str
    timing_ms: dict[str, float] = {}
    notes: list[str] = []


class JobView(BaseModel):
    """Where a job is; ``results`` has one object per query, in their order, once it is done."""

    id: str
    video: str
    status: JobStatus
    stage: str | None = None
    queries: list[str]
    created: float
    started: float | None = None
    finished: float | None = None
    results: list[TubeResult] | None = None
    error: ErrorDetail | None = None


class Sample(BaseModel):
    """A clip that comes with the service."""

    name: str
    title: str


class SampleView(VideoView):
    """A stored sample clip, and questions that suit it."""

    queries: list[str]


class About(BaseModel):
    """What the page says of the service."""

    version: str
    checkpoint: str
    method: str
    device: str
    limits_of_checkpoint: list[str]
    upload_bytes: int
    video_seconds: float
    queries_per_job: int
    keep_seconds: float
    samples: list[Sample]


class Health(BaseModel):
    status: Literal["UP"]
    model: str
    queued: int
