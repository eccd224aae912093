"""Settings of training alone: data, optimizer, losses, run. Nothing here is needed to load the weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bridge_stg.losses.weights import LossWeights
from bridge_stg.types import AnswerStyle


class Strict(BaseModel):
    """A section of a configuration: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceConfig(Strict):
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


class RecordsConfig(Strict):
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


class DataConfig(Strict):
    """What a step trains on, a pure function of (seed, step).

    num_positive, num_negative: frames that the spatial decoder learns from for each sentence, inside the
        window and outside (P and N of section 4.1).
    workers: loader processes.
    """

    seed: int = Field(default=0, ge=0, lt=2**31)  # what generators take, with room for the number of a process
    records: RecordsConfig | None = None
    num_positive: int = Field(default=8, ge=0)
    num_negative: int = Field(default=2, ge=0)
    workers: int = Field(default=1, ge=0)


class OptimConfig(Strict):
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


class ValidationConfig(Strict):
    """Prediction and score on held-out videos during the run; without ``every_*`` there is none.

    data: a folder with truth.jsonl and its videos. Only a stage that trains on generated clips can do without.
    videos: at most this many of the folder, None takes all; of generated videos, how many are made, None is 24.
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


class ModelConfig(Strict):
    """What the model is to be; null is what its base is, else the paper's. Weights that do not fit are new.

    eta_mode: where a pair's timestamp goes and which position it gets (Table 10).
    num_bridge_queries: M of Eq. 3 (Table 8).
    bridge: what drives QGSL: the "queries", the hidden state of <det> ("det"), or "none" of the language model,
        a learned constant in its place.
    select_layers: whether all encoder layers offer candidates, or the last (Table 12).
    num_encoder_layers: n of Table 11. topk: K of Eq. 4.
    query_budget: how many of the n * K queries the decoder refines when it answers; training refines all.
    answer: how an event is answered: its window alone ("direct"), or second by second first ("scan").
    """

    eta_mode: Literal["virtual", "append", "none", "native"] | None = None
    num_bridge_queries: int | None = Field(default=None, ge=0)
    bridge: Literal["queries", "det", "none"] | None = None
    select_layers: Literal["all", "last"] | None = None
    num_encoder_layers: int | None = Field(default=None, ge=1)
    topk: int | None = Field(default=None, ge=1)
    query_budget: int | None = Field(default=None, ge=1)
    answer: AnswerStyle | None = None

    @property
    def of_model(self) -> dict[str, Any]:
        """The given fields of BridgeSTGConfig."""
        names = ("eta_mode", "num_bridge_queries", "bridge")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return given | ({"answer_styles": (self.answer,)} if self.answer is not None else {})

    @property
    def of_spatial(self) -> dict[str, Any]:
        """The given fields of SpatialConfig."""
        names = ("select_layers", "num_encoder_layers", "topk", "query_budget")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class TrainConfig(Strict):
    """One run: Bridge-STG tuning on annotated videos, and the base of the configurations of other stages.

    ``tune`` says what moves in the language tower: "lora" as in section 4.1, or "full"; the vision tower never
    moves.

    objective: "bridge" is the paper's. The baselines have no spatial decoder: "entangled" writes the window and
        a box per frame as one text (Fig. 3, left), "parallel" the window, and then one query per frame gives
        the frame's box.
    base: what the run starts from: a Bridge-STG, or a Qwen3-VL that is given a bridge and a spatial decoder;
        a folder or hub id.
    detector: what the spatial decoder of a Qwen3-VL starts from, and takes its shape from: MM-Grounding-DINO,
        Grounding-DINO or Swin, a folder or hub id.
    spatial: without a detector, the shape of a spatial decoder with random weights: "paper" is the one of the
        paper, "small" one for frames of 96 pixels. A Bridge-STG has its own.
    max_tokens_per_frame: how many visual tokens a frame may have at most; None: what a Bridge-STG has been
        given, else the paper's 192.
    precision: "bf16" computes in bfloat16 where autocast does, and below LoRA holds Qwen3-VL in bfloat16; what
        learns is float32 in any case.
    gradient_checkpointing: compute the layers that carry gradients a second time instead of keeping what they
        computed.
    keep_states: how many states to go on from are kept, the newest among them.
    """

    name: str
    stage: Literal["bridge"] = "bridge"
    base: str | None = None
    detector: str | None = None
    spatial: Literal["paper", "small"] | None = None
    max_tokens_per_frame: int | None = Field(default=None, ge=1)
    tune: Literal["lora", "full"] = "full"
    objective: Literal["bridge", "entangled", "parallel"] = "bridge"
    model: ModelConfig = ModelConfig()
    data: DataConfig
    optim: OptimConfig
    weights: LossWeights = LossWeights()
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
    def _choices_fit(self) -> TrainConfig:
        wrong = self.contradictions()
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def contradictions(self) -> list[str]:
        """What is wrong between fields, for people."""
        wrong = []
        if self.data.records is None:
            wrong.append("data.records is not set; give the sources of annotated videos")
        if self.validation.wanted and self.validation.data is None:
            wrong.append("validation.data is not set; give a folder with truth.jsonl and its videos")
        return wrong + self.contradicting_choices()

    def contradicting_choices(self) -> list[str]:
        """What is wrong whatever the run trains on."""
        wrong = []
        if self.detector is not None and self.spatial is not None:
            wrong.append("the spatial decoder gets its shape from the detector; give detector or spatial")
        if self.stage == "bridge" and not self.data.num_positive + self.data.num_negative:
            wrong.append("num_positive and num_negative are both 0; a located sentence needs a frame")
        return wrong
