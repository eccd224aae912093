"""Which runs there are: recipes by name, the configuration of a file, and the stage that each trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bridge_stg.errors import InputError, did_you_mean
from bridge_stg.shapes import recipes as shapes_recipes
from bridge_stg.shapes.configuration import ShapesData, ShapesTrainConfig
from bridge_stg.training import recipes as paper_recipes
from bridge_stg.training.configuration import DataConfig, TrainConfig
from bridge_stg.training.settings import fields_of, override, resolve
from bridge_stg.training.stage import Stage

CONFIGURATION_SUFFIXES = (".json", ".yaml", ".yml")

RECIPES: dict[str, Callable[[], TrainConfig]] = {**shapes_recipes.RECIPES, **paper_recipes.RECIPES}
SERIES = shapes_recipes.SERIES


def open_stage(config: TrainConfig) -> Stage[Any]:
    """The table of stages: what a configuration trains."""
    if not isinstance(config, ShapesTrainConfig):
        from bridge_stg.training.bridge_stage import BridgeStage

        return BridgeStage(config)

    from bridge_stg.shapes.bridge_stage import ShapesBridgeStage
    from bridge_stg.shapes.detector_stage import DetectorStage
    from bridge_stg.shapes.pretrain_stage import PretrainStage
    from bridge_stg.shapes.vision_stage import VisionStage

    stages: dict[str, Callable[[ShapesTrainConfig], Stage[Any]]] = {
        "vision": VisionStage,
        "pretrain": PretrainStage,
        "detector": DetectorStage,
        "bridge": ShapesBridgeStage,
    }
    return stages[config.stage](config)


def recipe(name: str) -> TrainConfig:
    """The configuration of a named recipe.

    Raises:
        InputError: no recipe of that name.
    """
    if name not in RECIPES:
        known = [known for known, _ in describe_recipes()]
        raise InputError(f"no recipe {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")

    return RECIPES[name]()


def describe_recipes() -> list[tuple[str, str]]:
    """Every recipe with the first line of what is said of it."""
    made: dict[str, Callable[..., Any]] = {**RECIPES, **SERIES}
    return [(name, (make.__doc__ or "").strip().splitlines()[0]) for name, make in made.items()]


def read_configuration(path: Path, settings: list[str] | None = None) -> TrainConfig:
    """A run's configuration from a JSON or YAML file, with ``key=value`` settings on top.

    Raises:
        InputError: no such file, no such format, or all the fields and settings that are unknown, missing or of
            the wrong kind.
    """
    try:
        values = _parse(path)
    except OSError as problem:
        raise InputError(f"{path}: cannot be read ({problem.strerror})") from problem
    except ValueError as problem:
        raise InputError(f"{path}: not {path.suffix[1:].upper()}: {problem}") from problem

    kind = _kind_of(values)
    return resolve(values, settings or [], f"{path}: not a run configuration", kind)


def named_or_read(recipe_or_file: str, settings: list[str]) -> TrainConfig:
    """The configuration that a command line asks for: a recipe, or a file.

    Raises:
        InputError: there is none of that name, or it or the settings cannot be used.
    """
    path = Path(recipe_or_file)
    if path.suffix.lower() in CONFIGURATION_SUFFIXES:
        return read_configuration(path, settings)

    if recipe_or_file not in RECIPES and path.is_dir():
        raise InputError(
            f"{path}: is a folder; give a recipe or a configuration, such as {path / 'config.json'}"
        )

    return override(recipe(recipe_or_file), settings)


def as_yaml(config: TrainConfig) -> str:
    """The whole configuration as a file that can be edited and given back."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
    return text


def _kind_of(values: Any) -> type[TrainConfig]:
    """What kind of configuration a file holds: one of generated clips, or of annotated videos alone."""
    data = values.get("data") if isinstance(values, dict) else None
    if not isinstance(data, dict) or values.get("stage", "bridge") != "bridge":
        return ShapesTrainConfig
    own = fields_of(ShapesData).keys() - fields_of(DataConfig).keys()
    generated = own & data.keys()
    return ShapesTrainConfig if generated or not data.get("records") else TrainConfig


def _parse(path: Path) -> Any:
    """The content of the file; ValueError when it is not in the format that its name promises."""
    text = path.read_text(encoding="utf-8")
    if path.suffix.lower() == ".json":
        return json.loads(text)

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise ValueError(str(problem)) from problem
