"""What rebuilds the weights: Qwen3-VL's configuration, the spatial decoder's, and the bridge's own fields.

Settings of training alone (learning rates, loss weights, sampling) are in
``bridge_stg.training.configuration``.
"""

from __future__ import annotations

import inspect
import math
import types
from dataclasses import fields
from typing import Any, ClassVar, Union, get_args, get_origin

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig, Qwen3VLConfig

from bridge_stg.errors import did_you_mean, one_line
from bridge_stg.types import AnswerStyle, Task

ETA_MODES = ("virtual", "append", "none", "native")
SELECT_LAYERS = ("all", "last")
OBJECTIVES = ("bridge", "entangled", "parallel")
BRIDGES = ("queries", "det", "none")
CALIBRATED = (*get_args(AnswerStyle), *get_args(Task))

# Keys that transformers itself writes into every configuration file or passes through constructors.
_TRANSFORMERS_KEYS = {*PreTrainedConfig().to_dict(), "name_or_path", "torch_dtype", "attn_implementation"}


def _fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` has the annotated type; a bool is no number, and numbers are finite."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if origin is dict:
        of_key, of_item = get_args(hint)
        return isinstance(value, dict) and all(
            _fits(key, of_key) and _fits(item, of_item) for key, item in value.items()
        )
    if origin in (list, tuple):
        return isinstance(value, origin) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint in (int, float):
        kinds = (int, float) if hint is float else int
        return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, hint)


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else str(hint)


class _Checked:
    """Mixin: a misspelt field or a value of the wrong type is an error that names it.

    Transformers alone would keep both.
    """

    def __post_init__(self, **kwargs: Any) -> None:
        known = {item.name for item in fields(self)}  # type: ignore[arg-type]
        unknown = [key for key in kwargs if key not in known | _TRANSFORMERS_KEYS and not key.startswith("_")]
        if unknown:
            hints = [f"{key!r}{did_you_mean(key, known)}" for key in unknown]
            raise ValueError(f"{type(self).__name__} has no field {', '.join(hints)}")

        # huggingface_hub's own type check would refuse an int where a float is wanted; it skips these
        # annotations, which are strings at run time.
        wrong = [
            f"{name} must be {_type_name(hint)}, got {getattr(self, name)!r}"
            for name, hint in inspect.get_annotations(type(self), eval_str=True).items()
            if name in known and not _fits(getattr(self, name), hint)
        ]
        self._refuse(wrong)

        # The other checks compare values, which only makes sense once the types are right.
        super().__post_init__(**kwargs)  # type: ignore[misc]
        self._refuse(self.problems())

    def _refuse(self, problems: list[str]) -> None:
        """Raise ValueError listing every bad value at once."""
        if problems:
            raise ValueError(f"{type(self).__name__}: " + "; ".join(problems))

    def problems(self) -> list[str]:
        return []


@strict
class SpatialConfig(_Checked, PreTrainedConfig):
    """The spatial decoder QGSL (section 3.3, App. B.3). The defaults are the paper's scale: Swin-L, 6 + 6
    layers.

    Fields, with the paper's symbol where it has one:
        backbone_*: the Swin Transformer; ``backbone_out_stages`` are counted from 1, stage s has stride
            2^(s+1).
        num_levels: feature levels; one per stage, further ones by stride-2 convolutions.
        d_model: width C of the decoder.
        num_encoder_layers: n, the image encoder layers, each of which offers candidate queries (Table 11).
        num_decoder_layers: 6 in the paper.
        topk: K of Eq. 4, clamped when a frame has fewer tokens.
        select_layers: "all" n layers (Eq. 4), or only the "last" one (Table 12).
        query_budget: of the n * K selected queries, how many the decoder refines when it only answers: those
            with the highest objectness. None refines all, as in training.
        anchor_base: width and height of the anchors of the first level, as a fraction of the frame.
        num_denoising: noised ground-truth groups per frame in training; each has a positive and a negative box.
        box_noise: scale of the noise on denoising boxes.
        pixel_mean, pixel_std: of the frames in [0, 1]; ImageNet's, which Swin checkpoints expect.
    """

    model_type = "bridge_stg_spatial"

    backbone_embed_dim: int = 192
    backbone_depths: list[int] | tuple[int, ...] = (2, 2, 18, 2)
    backbone_num_heads: list[int] | tuple[int, ...] = (6, 12, 24, 48)
    backbone_window_size: int = 12
    backbone_patch_size: int = 4
    backbone_image_size: int = 384
    backbone_drop_path: float = 0.2
    backbone_out_stages: list[int] | tuple[int, ...] = (2, 3, 4)
    num_levels: int = 4
    d_model: int = 256
    num_heads: int = 8
    num_points: int = 4
    ffn_dim: int = 2048
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    topk: int = 900
    select_layers: str = "all"
    query_budget: int | None = None
    anchor_base: float = 0.05
    position_temperature: int = 10000
    num_denoising: int = 100
    box_noise: float = 1.0
    pixel_mean: list[float] | tuple[float, ...] = (0.485, 0.456, 0.406)
    pixel_std: list[float] | tuple[float, ...] = (0.229, 0.224, 0.225)

    @property
    def num_selecting_layers(self) -> int:
        """How many of the encoder layers offer candidate queries."""
        return self.num_encoder_layers if self.select_layers == "all" else 1

    def problems(self) -> list[str]:
        sizes = (
            "backbone_embed_dim",
            "backbone_window_size",
            "backbone_patch_size",
            "backbone_image_size",
            "num_levels",
        )
        widths = ("d_model", "num_heads", "num_points", "ffn_dim")
        counts = ("num_encoder_layers", "num_decoder_layers", "topk", "num_denoising")

        found = [
            f"{name} must be at least 1, got {getattr(self, name)}"
            for name in (*sizes, *widths, *counts)
            if getattr(self, name) < 1
        ]

        # The decoder.
        if self.query_budget is not None and self.query_budget < 1:
            found.append(f"query_budget must be at least 1, or null for all queries, got {self.query_budget}")
        if self.num_heads > 0 and self.d_model % self.num_heads:
            found.append(f"d_model {self.d_model} must be a multiple of num_heads {self.num_heads}")
        if self.d_model % 4:
            found.append(f"d_model {self.d_model} must be a multiple of 4 for the sine positions")
        if self.select_layers not in SELECT_LAYERS:
            found.append(f"select_layers must be one of {SELECT_LAYERS}, got {self.select_layers!r}")
        if self.num_levels < len(self.backbone_out_stages):
            found.append(
                f"num_levels {self.num_levels} is fewer than the stages {list(self.backbone_out_stages)}"
            )

        # The backbone and its levels.
        stages, depth = list(self.backbone_out_stages), len(self.backbone_depths)
        if not stages or stages != sorted(set(stages)) or stages[0] < 1 or stages[-1] > depth:
            found.append(f"backbone_out_stages must be increasing and within 1..{depth}, got {stages}")
        if len(self.backbone_num_heads) != depth:
            found.append(f"backbone_num_heads needs {depth} entries, one per stage of backbone_depths")

        # Numbers with a range, and what pixels are normalised with.
        if not 0 < self.anchor_base < 1:
            found.append(f"anchor_base must be between 0 and 1, got {self.anchor_base}")
        if not 0 <= self.backbone_drop_path < 1:
            found.append(f"backbone_drop_path must be in [0, 1), got {self.backbone_drop_path}")
        if len(self.pixel_mean) != 3 or len(self.pixel_std) != 3 or min(self.pixel_std, default=0) <= 0:
            found.append("pixel_mean and pixel_std need three entries each, pixel_std positive ones")
        return found


@strict
class BridgeSTGConfig(_Checked, PreTrainedConfig):
    """The whole model: ``mllm`` (a Qwen3-VL configuration), ``spatial``, and the bridge.

    Fields:
        eta_mode: where a pair's timestamp goes and which position it gets (Eq. 1-2, Table 10).
        num_bridge_queries: M of Eq. 3, in {0, 8, 16} in the paper; 0 lets the hidden state of <det> drive QGSL.
        objective: "bridge" is the paper's model; the baselines have no QGSL: "entangled" writes boxes as text,
            in "parallel" one query per frame of the clip follows <det>, and a head on it gives the frame's box.
        bridge: what drives QGSL: the "queries" of Eq. 3, the hidden state of <det> ("det"), or "none", nothing
            of the language model but M learned constants in its place.
        det_token_id: the row of the embedding that ``<det>`` uses.
        sample_fps: frames per second that the model reads (section 4.1: 2).
        max_tokens_per_frame: budget of visual tokens for one frame.
        answer_styles: how the checkpoint can answer when something happens, the one it is asked for by default
            first: "direct" is the paper's, "scan" tells second by second first.
        domain: a sentence about what it was trained on; None says nothing about it.
        domain_words: the words that it can know; None for those of a whole language.
        longest_clip: seconds of its longest training clip.
        calibration: what turns the log odds of an answer into a confidence in [0, 1]: (slope, offset) by answer
            style ("scan"), by task where there are no styles ("vqa"), and for refusals of a style
            ("scan absent"); or one pair for all but refusals. None, or no entry, where nobody measured how
            often such answers are right; ``bridge-stg calibrate`` does.
        refusal_threshold: by answer style how probable the first word of a refusal must be for the answer to
            be one; None, or no entry, where no other word may be likelier.
        refusal_check: an answer that refuses at its first word is checked by answers in both styles that may
            not; from this mean objectness of their boxes on the refusal is taken back. None checks nothing.
        det_threshold: how probable <det> must be at the end of an answer that nobody told to ask where; None
            where the end of the turn may not be likelier.
        spatial_short_side: frames are given to QGSL as they are sampled (None) or resized to this short side.

    Unknown fields are refused here and in ``spatial``; in ``mllm`` transformers keeps them, since published
    Qwen3-VL configurations carry some.
    """

    model_type = "bridge_stg"
    sub_configs: ClassVar[dict[str, Any]] = {"mllm": Qwen3VLConfig, "spatial": SpatialConfig}

    mllm: dict | PreTrainedConfig | None = None
    spatial: dict | PreTrainedConfig | None = None
    eta_mode: str = "virtual"
    num_bridge_queries: int = 8
    objective: str = "bridge"
    bridge: str = "queries"
    det_token_id: int = 151669
    sample_fps: float = 2.0
    max_tokens_per_frame: int = 192
    spatial_short_side: int | None = None
    initializer_range: float = 0.02
    answer_styles: list[str] | tuple[str, ...] = ("direct",)
    domain: str | None = None
    domain_words: list[str] | tuple[str, ...] | None = None
    longest_clip: float | None = None
    calibration: dict[str, list[float] | tuple[float, ...]] | list[float] | tuple[float, ...] | None = None
    refusal_threshold: dict[str, float] | None = None
    refusal_check: float | None = None
    det_threshold: float | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        for name, kind in self.sub_configs.items():
            value = getattr(self, name)
            if value is None or isinstance(value, dict):
                try:
                    setattr(self, name, kind(**(value or {})))
                except StrictDataclassError as problem:
                    # transformers' own type errors: neither ValueError nor one line.
                    raise ValueError(f"{type(self).__name__}.{name}: {one_line(problem)}") from problem
            elif not isinstance(value, kind):
                raise ValueError(
                    f"{type(self).__name__}.{name} must be a {kind.__name__}, got {type(value).__name__}"
                )
        super().__post_init__(**kwargs)

    def problems(self) -> list[str]:
        # The bridge and its timestamps.
        found = []
        if self.eta_mode not in ETA_MODES:
            found.append(f"eta_mode must be one of {ETA_MODES}, got {self.eta_mode!r}")
        if self.num_bridge_queries < 0:
            found.append(f"num_bridge_queries must not be negative, got {self.num_bridge_queries}")
        if self.objective not in OBJECTIVES:
            found.append(f"objective must be one of {OBJECTIVES}, got {self.objective!r}")
        if self.bridge not in BRIDGES:
            found.append(f"bridge must be one of {BRIDGES}, got {self.bridge!r}")
        elif self.bridge == "none" and self.num_bridge_queries < 1:
            found.append("bridge 'none' needs at least one of num_bridge_queries, its constants")

        # What the language model and QGSL read.
        vocabulary = self.mllm.text_config.vocab_size
        if not 0 <= self.det_token_id < vocabulary:
            found.append(f"det_token_id {self.det_token_id} is outside the vocabulary of {vocabulary} rows")
        if self.sample_fps <= 0:
            found.append(f"sample_fps must be positive, got {self.sample_fps}")
        if self.spatial_short_side is not None and self.spatial_short_side < 1:
            found.append(f"spatial_short_side must be positive or None, got {self.spatial_short_side}")
        if self.initializer_range <= 0:
            found.append(f"initializer_range must be positive, got {self.initializer_range}")
        if self.max_tokens_per_frame < 1:
            found.append(f"max_tokens_per_frame must be at least 1, got {self.max_tokens_per_frame}")

        # What it was taught to answer, and about which clips.
        styles = list(self.answer_styles)
        if not styles or len(set(styles)) < len(styles) or not set(styles) <= set(get_args(AnswerStyle)):
            found.append(f"answer_styles must be some of {get_args(AnswerStyle)}, each once, got {styles}")
        if self.longest_clip is not None and self.longest_clip <= 0:
            found.append(f"longest_clip must be positive, got {self.longest_clip}")
        found += self._confidence_problems()
        return found

    def _confidence_problems(self) -> list[str]:
        """What is wrong with how answers are weighed."""
        found = []
        pairs = self.calibration
        of_kinds = pairs if isinstance(pairs, dict) else {} if pairs is None else {"": pairs}
        known = {"", *CALIBRATED, *(f"{style} absent" for style in get_args(AnswerStyle))}
        for kind, pair in of_kinds.items():
            if kind not in known:
                found.append(f"calibration is by {', '.join(sorted(known - {''}))}, got {kind!r}")
            if len(pair) != 2:
                found.append(f"calibration needs a slope and an offset, got {list(pair)}")
        if self.det_threshold is not None and not 0 < self.det_threshold <= 1:
            found.append(f"det_threshold must be in (0, 1], got {self.det_threshold}")
        styles = get_args(AnswerStyle)
        if self.refusal_check is not None:
            if not 0 < self.refusal_check <= 1:
                found.append(f"refusal_check must be in (0, 1], got {self.refusal_check}")
            if self.objective != "bridge":
                found.append(
                    f"refusal_check needs a spatial decoder; the objective {self.objective!r} has none"
                )
            if set(self.answer_styles) != set(styles):
                found.append(f"refusal_check is made in {' and '.join(styles)}, and answer_styles lacks one")
        for style, threshold in (self.refusal_threshold or {}).items():
            if style not in styles:
                found.append(f"refusal_threshold is by {', '.join(styles)}, got {style!r}")
            if not 0 < threshold <= 1:
                found.append(f"refusal_threshold must be in (0, 1], got {threshold}")
        return found

    def calibration_of(self, kind: str, absent: bool = False) -> list[float] | tuple[float, ...] | None:
        """Slope and offset for answers of a style or task, or for its refusals; None where nobody measured."""
        if isinstance(self.calibration, dict):
            return self.calibration.get(f"{kind} absent" if absent else kind)
        return None if absent else self.calibration

    @property
    def query_slots(self) -> int:
        """How many learned queries follow <det> in the language model, whatever the clip."""
        return self.num_bridge_queries if self.bridge == "queries" and self.objective == "bridge" else 0

    def slots_for(self, frames: int) -> int:
        """How many learned queries follow <det> for a clip of ``frames`` sampled frames."""
        return frames if self.objective == "parallel" else self.query_slots

    @property
    def pixels_per_token_side(self) -> int:
        """Side in pixels of the square that one visual token covers: patch size times merge size."""
        vision = self.mllm.vision_config
        return int(vision.patch_size) * int(vision.spatial_merge_size)


AutoConfig.register("bridge_stg_spatial", SpatialConfig)
AutoConfig.register("bridge_stg", BridgeSTGConfig)
