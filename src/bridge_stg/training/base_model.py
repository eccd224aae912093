"""What tuning starts from: a Bridge-STG, or a Qwen3-VL that is given a bridge and a spatial decoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from transformers import AutoConfig, Qwen3VLForConditionalGeneration

from bridge_stg.errors import CheckpointError, InputError, one_line
from bridge_stg.files.shipped import SHIPPED
from bridge_stg.model.configuration import BridgeSTGConfig, SpatialConfig
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.presets import SMALL_SHORT_SIDE, small_spatial_config
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.training.configuration import TrainConfig
from bridge_stg.weights.assemble import assemble
from bridge_stg.weights.detector import read_detector, spatial_config
from bridge_stg.weights.fingerprint import fingerprint_of
from bridge_stg.weights.locate import check_whole_model, checkpoint_folder
from bridge_stg.weights.reshape import reshape

SomeConfig = TypeVar("SomeConfig", BridgeSTGConfig, SpatialConfig)
_SPATIAL = {"paper": SpatialConfig, "small": small_spatial_config}


@dataclass(frozen=True)
class BaseModel:
    """A model to tune, nothing frozen yet; ``loaded`` names the parameters that were read and not made up, and
    ``report`` says for people what came from where.
    """

    model: BridgeSTGForVideoGrounding
    processor: BridgeSTGProcessor
    loaded: tuple[str, ...]
    report: str


def read_base(config: TrainConfig) -> BaseModel:
    """The model of ``base`` and ``detector``. What is new is drawn from torch's generator: with one seed, every
    process gets the same.

    Raises:
        InputError: no base, neither a Bridge-STG nor a Qwen3-VL, or not told what its spatial decoder is to be.
        CheckpointError: weights that cannot be read or do not fit.
    """
    base, kind = _base_and_kind(config)
    if kind == BridgeSTGConfig.model_type:
        # Trained in full precision, whatever it was saved in; the language model is held as the run says.
        kind_held = torch.bfloat16 if config.half_base else torch.float32
        model = BridgeSTGForVideoGrounding.from_pretrained(base, dtype=kind_held)
        # The baselines have neither of the two.
        for part in (model.bridge, model.localizer):
            if part is not None:
                part.float()

        # How sure it may be was fitted to weights that are now going to change.
        for name in ("calibration", "refusal_threshold", "refusal_check", "det_threshold"):
            setattr(model.config, name, None)
        processor = BridgeSTGProcessor(BridgeSTGProcessor.from_pretrained(base).tokenizer, model.config)
        _refuse_what_it_has(config, model.config)
        wanted = _changed(model.config, config)
        if wanted is not None:
            model, keys = reshape(model, wanted)
            return BaseModel(model, BridgeSTGProcessor(processor.tokenizer, wanted), keys.loaded, keys.text())
        names = tuple(name for name, _ in model.named_parameters())
        return BaseModel(model, processor, names, f"loaded: all {len(names)} keys of {base}")

    if config.detector is None and config.spatial is None and config.objective == "bridge":
        raise InputError(
            f"{base}: is a Qwen3-VL, which has no spatial decoder; say what that starts from: "
            "--set detector=FOLDER_OR_HUB_ID, or random weights with --set spatial=paper or spatial=small"
        )

    spatial = _SPATIAL[config.spatial]() if config.spatial is not None else None
    detector = config.detector if config.objective == "bridge" else None
    if config.model.of_spatial and (spatial is not None or detector is not None):
        if spatial is None:
            spatial = spatial_config(read_detector(cast(str, detector)))
        spatial = _replaced(spatial, config.model.of_spatial)

    changes: dict[str, Any] = {"spatial_short_side": SMALL_SHORT_SIDE} if config.spatial == "small" else {}
    if config.max_tokens_per_frame is not None:
        changes["max_tokens_per_frame"] = config.max_tokens_per_frame
    changes |= config.model.of_model | {"objective": config.objective}

    # Qwen3-VL is read in the precision it will be held in: in float32 an 8B needs 35 GB in every process.
    half = torch.bfloat16 if config.half_base else None
    model, processor, keys = assemble(base, detector, spatial, mllm_dtype=half, **changes)
    return BaseModel(model, processor, keys.loaded, keys.text())


def read_vision_tower(model: BridgeSTGForVideoGrounding, base: str | None) -> str:
    """Copy the vision tower of a Qwen3-VL folder into ``model``; a hash of its weights, "" without a ``base``.

    Raises:
        InputError: no such folder.
        CheckpointError: it holds no vision tower of this shape.
    """
    if base is None:
        return ""
    folder, visual = base_folder(base), model.mllm.model.visual

    try:
        seen = Qwen3VLForConditionalGeneration.from_pretrained(folder, use_safetensors=True)
        visual.load_state_dict(seen.model.visual.state_dict())
    except Exception as problem:
        raise CheckpointError(
            f"base {folder!r} has no vision tower of this model: {one_line(problem)}"
        ) from problem

    return fingerprint_of(visual, [name for name, _ in visual.named_parameters()])


def base_folder(base: str | None) -> str:
    """``base`` if it is a folder with a checkpoint.

    Raises:
        InputError: it is not, and what to give instead.
    """
    known = (
        "what the recipe of the stage before writes (runs/<recipe>/checkpoint); for tuning also "
        f"a shipped one ({', '.join(SHIPPED)}), or a hub id such as Qwen/Qwen3-VL-2B-Instruct"
    )
    if base is None:
        raise InputError(f"no base to start from is given; --set base=NAME, with {known}")
    folder = Path(base)
    if not folder.is_dir():
        raise InputError(f"base {base!r} is not a folder; --set base=NAME takes {known}")

    check_whole_model(folder, f"base {base!r}")
    if not (folder / "config.json").is_file():
        raise InputError(f"base {base!r} holds no config.json; give the folder of a Qwen3-VL or a Bridge-STG")

    return base


def lasting_name(base: str) -> str:
    """How a base is found again from anywhere: a folder by its whole path, a hub id as it is."""
    folder = Path(checkpoint_folder(base) if base in SHIPPED else base)
    return str(folder.absolute()) if folder.is_dir() else base


def _base_and_kind(config: TrainConfig) -> tuple[str, str]:
    """The base and the kind of its model; a shipped checkpoint has its own name here too."""
    base = checkpoint_folder(config.base) if config.base in SHIPPED else config.base
    is_hub_id = base in config.from_hub
    name = cast(str, base) if is_hub_id else base_folder(base)

    try:
        kind = str(AutoConfig.from_pretrained(name).model_type)
    except Exception as problem:
        reason = one_line(problem)
        what = "neither a folder nor a hub id that can be read" if is_hub_id else "no checkpoint of a model"
        raise CheckpointError(f"base {name!r} is {what}: {reason}") from problem

    if kind not in (BridgeSTGConfig.model_type, "qwen3_vl"):
        raise InputError(
            f"base {name!r} holds a {kind} model; it must be a Qwen3-VL or a Bridge-STG, as a folder or hub id"
        )

    return name, kind


def _changed(found: BridgeSTGConfig, run: TrainConfig) -> BridgeSTGConfig | None:
    """The configuration of a base with what a run wants changed; None where nothing is."""
    config: BridgeSTGConfig = _replaced(found, run.model.of_model | {"objective": run.objective})
    config.spatial = _replaced(cast(SpatialConfig, found.spatial), run.model.of_spatial)
    return None if config.to_dict() == found.to_dict() else config


def _replaced(config: SomeConfig, changes: dict[str, Any]) -> SomeConfig:
    """A copy with other values, checked as a new configuration is.

    Raises:
        InputError: values that contradict each other.
    """
    try:
        made: SomeConfig = type(config).from_dict(config.to_dict() | changes)
    except ValueError as problem:
        raise InputError(f"model: {one_line(problem)}") from problem

    return made


def _refuse_what_it_has(config: TrainConfig, found: BridgeSTGConfig) -> None:
    """Choices that a Bridge-STG has made already, unless they are the same."""
    wrong = []
    if config.detector is not None:
        wrong.append("detector=null (its spatial decoder is trained further)")

    if config.spatial is not None and _fields(_SPATIAL[config.spatial]()) != _fields(
        cast(SpatialConfig, found.spatial)
    ):
        wrong.append(f"spatial=null (its spatial decoder has another shape than {config.spatial!r})")
    elif config.spatial == "small" and found.spatial_short_side != SMALL_SHORT_SIDE:
        wrong.append(f"spatial=null (its spatial decoder reads other frames than {SMALL_SHORT_SIDE} pixels)")

    if config.max_tokens_per_frame not in (None, found.max_tokens_per_frame):
        wrong.append(f"max_tokens_per_frame=null (it is {found.max_tokens_per_frame})")
    if wrong:
        raise InputError(f"base {config.base!r} is a Bridge-STG already; --set " + ", --set ".join(wrong))


def _fields(spatial: SpatialConfig) -> dict[str, object]:
    """The fields that are its own, lists and tuples alike."""
    values = {name: getattr(spatial, name) for name in SpatialConfig.__annotations__ if name != "model_type"}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
