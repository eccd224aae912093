"""Configurations of runs on generated clips: which scenes are drawn, and what is asked about them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bridge_stg.shapes.world.objects import SHORTEST_SCENE
from bridge_stg.training.configuration import DataConfig, Strict, TrainConfig

Share = Annotated[int, Field(ge=0)]


class Lesson(Strict):
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


class ClipMix(Strict):
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
    direct: windows without a scan (VTG and STVG without <det>), in the paper's own form.
    named: the same of objects that are named in full.
    absent: what does not happen.
    spots: which object is at a given box; tracking without <det>.
    located_direct: as ``located``, the window without a scan.
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
    direct: Share = 0
    named: Share = 0
    absent: Share = 0
    spots: Share = 0
    located_direct: Share = 0

    @property
    def has_direct(self) -> bool:
        """Whether any window is answered directly, whatever the style of ``windows`` and ``located``."""
        return self.direct + self.named + self.located_direct > 0


class LeadWeights(Strict):
    """Attention that is taught beside the answers (``bridge_stg.shapes.led_model``).

    attention: weight of the cross-entropy of the led heads.
    probe: weight of what visual tokens are asked about the object on them.
    """

    attention: float = Field(default=0.5, ge=0)
    probe: float = Field(default=0.5, ge=0)


class ImageMix(Strict):
    """How many branches of each kind an image carries, at most.

    captions: what every object is, from left to right.
    retold: as in ClipMix; the image stands for nothing.
    referred: referring expressions (REC).
    """

    captions: Share = 0
    retold: Share = 0
    referred: Share = 0


class ShapesData(DataConfig):
    """What a step trains on, a pure function of (seed, step).

    With ``records`` these are annotated videos, and none of the fields here count.

    image_share: the part of the steps that train on single images.
    """

    clips_per_step: int = Field(default=16, ge=1)
    images_per_step: int = Field(default=48, ge=1)
    image_share: float = Field(default=0.25, ge=0, le=1)
    min_duration: float = Field(default=4.0, ge=SHORTEST_SCENE)
    curriculum: tuple[Lesson, ...] = (Lesson(until=1.0, min_objects=1, max_objects=6),)
    mix: ClipMix = ClipMix()
    image_mix: ImageMix = ImageMix()

    @model_validator(mode="after")
    def _curriculum_covers_the_run(self) -> ShapesData:
        ends = [lesson.until for lesson in self.curriculum]
        if not ends or ends != sorted(set(ends)) or ends[-1] != 1.0:
            raise ValueError(f"the lessons' until must increase and end at 1.0, got {ends}")
        shortest = min(lesson.max_duration for lesson in self.curriculum)
        if self.min_duration > shortest:
            raise ValueError(f"min_duration {self.min_duration} is above a lesson's max_duration {shortest}")
        return self


class ShapesTrainConfig(TrainConfig):
    """One run of the laptop-scale model; without ``data.records`` on generated clips.

    ``stage`` "vision" teaches a small vision tower to name what each visual token shows; "pretrain" trains all
    of a small Qwen3-VL on tokens, starting from the vision tower of ``base``; "detector" gives it a QGSL and
    teaches that to see; "bridge" is Bridge-STG tuning.

    layers: of the language tower in the bridge stage, when more are wanted than the base has.
    lead: teaches attention beside the answers; None teaches answers alone.
    """

    stage: Literal["vision", "pretrain", "detector", "bridge"]  # type: ignore[assignment]
    data: ShapesData
    layers: int | None = Field(default=None, ge=1)
    lead: LeadWeights | None = None

    def contradictions(self) -> list[str]:
        wrong = self.contradicting_choices()

        # What a stage has no use for.
        records = self.data.records is not None
        if self.validation.wanted and self.stage != "bridge":
            wrong.append(f"validation needs a model that grounds; the stage {self.stage!r} trains none")
        given = [name for name in ("detector", "spatial", "max_tokens_per_frame") if getattr(self, name)]

        if self.stage in ("vision", "detector") and records:
            wrong.append(f"the stage {self.stage!r} learns from generated clips alone; it has no data.records")
        if self.stage in ("vision", "pretrain") and given:
            wrong.append(f"the stage {self.stage!r} has no choice of {', '.join(given)}")

        chosen = self.model.model_dump(exclude_none=True)
        allowed = {"vision": set(), "pretrain": {"eta_mode"}}.get(self.stage, set(chosen))
        if self.stage != "bridge" and self.objective != "bridge":
            wrong.append(f"the stage {self.stage!r} has no choice of objective")
        for name in sorted(chosen.keys() - allowed):
            wrong.append(f"the stage {self.stage!r} has no choice of model.{name}")

        # What only some runs of the bridge stage have.
        for name in ("layers", "lead"):
            if getattr(self, name) is not None and (self.stage != "bridge" or self.tune != "full" or records):
                wrong.append(f"{name} is for the stage 'bridge' on generated clips, with tune=full")

        # Generated clips must be asked something.
        if self.stage in ("pretrain", "bridge") and not records:
            mixes = (("mix", self.data.image_share < 1), ("image_mix", self.data.image_share > 0))
            wrong += [
                f"data.{name} asks nothing; give one of its shares a number above 0"
                for name, used in mixes
                if used and not any(getattr(self.data, name).model_dump().values())
            ]
        return wrong
