"""What only trains: data mix, curriculum, optimiser, run. Nothing here is needed to load the weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Share = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lesson(_Strict):
    """A step of the curriculum, in force until ``until`` (a fraction of the run)."""

    until: float = Field(gt=0, le=1)
    min_objects: int = Field(ge=1)
    max_objects: int = Field(ge=1)
    max_duration: float = Field(default=16.0, gt=4, le=60)

    @model_validator(mode="after")
    def _objects_in_order(self) -> Lesson:
        if self.max_objects < self.min_objects:
            raise ValueError(f"max_objects {self.max_objects} is less than min_objects {self.min_objects}")
        return self


class ClipMix(_Strict):
    """How many branches of each kind a clip carries, at most.

    captions: what every object does in one frame pair, from left to right, attached right after the pair.
    moments: "what happens at 3.2 seconds", asked after the clip.
    lookups: captions and moments of the objects in any order; their names are given, the rest is learned.
    scans: who is meant and what it does in every second, each second judged by itself.
    contrasts: scans of an object, whose name is given, for what another one does.
    names: who is meant, the beginning of a scan.
    windows: temporal grounding (VTG).
    retold: a window to be read off the scan of another scene, without its clip.
    choices: multiple choice (VQA).
    located: spatio-temporal grounding (STVG) with <det>, bridging queries and QGSL.
    tracked: tracking from a first box (VOT).
    """

    captions: Share = 0
    moments: Share = 0
    lookups: Share = 0
    scans: Share = 0
    contrasts: Share = 0
    names: Share = 0
    windows: Share = 0
    retold: Share = 0
    choices: Share = 0
    located: Share = 0
    tracked: Share = 0


class ImageMix(_Strict):
    """How many branches of each kind an image carries, at most.

    captions: what every object is, from left to right.
    retold: as in ClipMix; the image stands for nothing.
    referred: referring expressions (REC).
    """

    captions: Share = 0
    retold: Share = 0
    referred: Share = 0


class SourceConfig(_Strict):
    """Records of one data set.

    path: a truth.jsonl, or the folder of a store; relative to ``root`` of RecordsConfig.
    videos: what the records' ``video`` is relative to; None: the folder of truth.jsonl, or what the store says.
    split: only records of this split; None takes all of them.
    weight: how often its questions are asked compared with those of the other sources. With the numbers of
        Table 1 the mixture has its shares, however many records are really there.
    """

    name: str = Field(min_length=1)
    path: str
    videos: str | None = None
    split: str | None = None
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class RecordsConfig(_Strict):
    """Annotated videos: which clips and questions make a step is a pure function of (seed, step).

    root: folder that the paths of the sources start from.
    only: train on these sources alone, by name, in a file as a list and in a setting with commas between them;
        their weights keep their proportions.
    clips_per_step: clips that the weights move on together, over all processes and accumulated passes.
    clips_alike: how many clips of about the same length stand together in a step; what is padded to one length
        (and what processes wait for each other over) should be a part of these.
    sentences_per_clip: at most this many questions of a clip are asked together, on one encoding of it.
    max_bad_share: the run fails when more than this share of the clips cannot be used.
    """

    root: str = "."
    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    only: tuple[str, ...] | None = Field(default=None, min_length=1)
    clips_per_step: int = Field(default=32, ge=1)
    clips_alike: int = Field(default=8, ge=1)
    sentences_per_clip: int = Field(default=4, ge=1)
    max_bad_share: float = Field(default=0.01, ge=0, le=1)

    @field_validator("only", mode="before")
    @classmethod
    def _names_with_commas(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value

    @property
    def chosen(self) -> tuple[SourceConfig, ...]:
        """The sources to train on."""
        return tuple(source for source in self.sources if self.only is None or source.name in self.only)

    @model_validator(mode="after")
    def _steps_and_names_fit(self) -> RecordsConfig:
        if self.clips_per_step % self.clips_alike:
            raise ValueError(f"clips_alike {self.clips_alike} must divide clips_per_step {self.clips_per_step}")
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"the names of the sources must differ, got {names}")
        unknown = [name for name in self.only or () if name not in names]
        if unknown:
            raise ValueError(f"only names {unknown}, there are {', '.join(names)}")
        return self


class DataConfig(_Strict):
    """What a step trains on, a pure function of (seed, step).

    With ``records`` these are annotated videos, and of the rest only seed, num_positive, num_negative and
    workers count; without, they are generated clips.
    """

    seed: int = Field(default=0, ge=0, lt=2**31)  # what generators take, with room for the number of a process
    records: RecordsConfig | None = None
    clips_per_step: int = Field(default=16, ge=1)
    images_per_step: int = Field(default=48, ge=1)
    image_share: float = Field(default=0.25, ge=0, le=1)
    min_duration: float = Field(default=4.0, ge=3)
    curriculum: tuple[Lesson, ...] = (Lesson(until=1.0, min_objects=1, max_objects=6),)
    mix: ClipMix = ClipMix()
    image_mix: ImageMix = ImageMix()
    num_positive: int = Field(default=8, ge=0)
    num_negative: int = Field(default=2, ge=0)
    workers: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _curriculum_covers_the_run(self) -> DataConfig:
        ends = [lesson.until for lesson in self.curriculum]
        if not ends or ends != sorted(set(ends)) or ends[-1] != 1.0:
            raise ValueError(f"the lessons' until must increase and end at 1.0, got {ends}")
        shortest = min(lesson.max_duration for lesson in self.curriculum)
        if self.min_duration > shortest:
            raise ValueError(f"min_duration {self.min_duration} is above a lesson's max_duration {shortest}")
        return self


class OptimConfig(_Strict):
    """AdamW with warm-up and cosine decay; the paper: lr 1e-4, weight decay 0, warm-up ratio 0.1.

    accumulate: parts that each process computes its share of a step in, one after the other; memory falls, the
        gradient stays the same.
    max_skipped: steps in a row without a finite loss and gradient after which the run ends.
    """

    lr: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    spatial_lr: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    final_ratio: float = Field(default=0.0, ge=0, le=1)
    clip_norm: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    steps: int = Field(gt=0)
    accumulate: int = Field(default=1, ge=1)
    max_skipped: int = Field(default=10, ge=1)


class WeightsConfig(_Strict):
    """Eq. 7-9, the fields and defaults of LossWeights; 0 removes a term (the ablations of Table 13)."""

    token: Weight = 1.0
    spatial: Weight = 0.02
    objectness: Weight = 1.0
    box: Weight = 0.5
    giou: Weight = 2.0
    denoising: Weight = 1.0
    alignment: Weight = 1.0
    denoising_objectness: Weight = 1.0
    denoising_box: Weight = 5.0
    denoising_giou: Weight = 2.0


class ValidationConfig(_Strict):
    """Prediction and score on held-out videos during the run; without ``every_*`` there is none.

    data: a folder with truth.jsonl and its videos; None draws shapes into the run's folder.
    videos: at most this many of the folder, None takes all; of shapes so many are drawn, None draws 24.
    seed: of generated videos, of the split "test", which no training clip is drawn from.
    every_steps, every_minutes: how often; minutes are counted at steps that are logged.
    """

    data: str | None = None
    videos: int | None = Field(default=None, ge=1)
    seed: int = Field(default=7, ge=0, lt=2**31)
    every_steps: int | None = Field(default=None, ge=1)
    every_minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _data_is_used(self) -> ValidationConfig:
        if self.data is not None and not self.wanted:
            raise ValueError("data is given, but not when to validate; give every_steps or every_minutes")
        return self

    @property
    def wanted(self) -> bool:
        return self.every_steps is not None or self.every_minutes is not None


class TrainConfig(_Strict):
    """One run.

    ``stage`` "vision" teaches a small vision tower to name what each visual token shows; "pretrain" trains all
    of a small Qwen3-VL on tokens, starting from the vision tower of ``base``; "detector" gives it a QGSL and
    teaches that to see; "bridge" is Bridge-STG tuning. ``tune`` says what moves in the language tower in the
    bridge stage: "lora" as in section 4.1, or "full"; the vision tower never moves there.

    base: what a stage starts from. "vision" and "pretrain" take the vision tower of a Qwen3-VL folder;
        "detector" and "bridge" all of a Bridge-STG, or of a Qwen3-VL that is given a bridge and a spatial
        decoder, a folder or hub id.
    detector: what the spatial decoder of a Qwen3-VL starts from, and takes its shape from: MM-Grounding-DINO,
        Grounding-DINO or Swin, a folder or hub id.
    spatial: without a detector, the shape of a spatial decoder with random weights: "paper" is the one of the
        paper, "small" that of the shapes recipes, on frames of 96 pixels. A Bridge-STG has its own.
    max_tokens_per_frame: how many visual tokens a frame may have at most; None: what a Bridge-STG has been
        given, else the paper's 192.
    precision: "bf16" computes in bfloat16 where autocast does, and below LoRA holds Qwen3-VL in bfloat16; what
        learns is float32 in any case.
    gradient_checkpointing: compute the layers that carry gradients a second time instead of keeping what they
        computed.
    keep_states: how many states to go on from are kept, the newest among them.
    """

    name: str
    stage: Literal["vision", "pretrain", "detector", "bridge"]
    base: str | None = None
    detector: str | None = None
    spatial: Literal["paper", "small"] | None = None
    max_tokens_per_frame: int | None = Field(default=None, ge=1)
    tune: Literal["lora", "full"] = "full"
    data: DataConfig
    optim: OptimConfig
    weights: WeightsConfig = WeightsConfig()
    validation: ValidationConfig = ValidationConfig()
    precision: Literal["no", "bf16"] = "no"
    gradient_checkpointing: bool = False
    save_minutes: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    keep_states: int = Field(default=2, ge=1)
    log_every: int = Field(default=20, ge=1)

    @property
    def half_base(self) -> bool:
        """Whether the frozen Qwen3-VL is held in bfloat16: nothing of it is written again."""
        return self.precision == "bf16" and self.stage == "bridge" and self.tune == "lora"

    @property
    def from_hub(self) -> list[str]:
        """Which of base and detector are hub ids, owner/name, and not folders."""
        names = [name for name in (self.base, self.detector) if name is not None]
        return [
            name for name in names if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) and not Path(name).exists()
        ]

    @model_validator(mode="after")
    def _choices_fit_the_stage(self) -> TrainConfig:
        wrong = []
        if self.validation.wanted and self.stage != "bridge":
            wrong.append(f"validation needs a model that grounds; the stage {self.stage!r} trains none")
        given = [name for name in ("detector", "spatial", "max_tokens_per_frame") if getattr(self, name)]
        if self.stage in ("vision", "detector") and self.data.records is not None:
            wrong.append(f"the stage {self.stage!r} learns from generated clips alone; it has no data.records")
        if self.stage in ("vision", "pretrain") and given:
            wrong.append(f"the stage {self.stage!r} has no choice of {', '.join(given)}")
        if self.detector is not None and self.spatial is not None:
            wrong.append("the spatial decoder gets its shape from the detector; give detector or spatial")
        if self.stage == "bridge" and not self.data.num_positive + self.data.num_negative:
            wrong.append("num_positive and num_negative are both 0; a located sentence needs a frame")
        if self.stage in ("pretrain", "bridge") and self.data.records is None:
            mixes = (("mix", self.data.image_share < 1), ("image_mix", self.data.image_share > 0))
            wrong += [
                f"data.{name} asks nothing; give one of its shares a number above 0"
                for name, used in mixes
                if used and not any(getattr(self.data, name).model_dump().values())
            ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self
