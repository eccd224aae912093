"""``bridge-stg train``: a recipe by name or a configuration file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bridge_stg.training.configuration import TrainConfig

CONFIGURATION_SUFFIXES = (".json", ".yaml", ".yml")


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name, or a configuration in a .yaml or .json file.")
    ],
    out: Annotated[Path | None, typer.Option(help="The run's folder; default: runs/<name>.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change one value: --set optim.lr=5e-5; may be repeated.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the free cores.")] = None,
) -> None:
    """Train a model; run the same command again to go on after an interruption."""
    from bridge_stg.cli.prepare import check_writable, quiet_libraries, quiet_threads
    from bridge_stg.training.configuration import override
    from bridge_stg.training.recipes import recipe as named

    path = Path(recipe)
    config = read_configuration(path) if path.suffix.lower() in CONFIGURATION_SUFFIXES else named(recipe)
    config = override(config, settings or [])
    folder = out or Path("runs") / config.name
    check_writable(folder)

    quiet_threads()
    quiet_libraries()
    import torch

    from bridge_stg.model.placement import choose_threads
    from bridge_stg.training.loop import train as run

    torch.set_num_threads(threads or choose_threads())
    checkpoint = run(config, folder, report=lambda line: print(line, flush=True))
    print(f"wrote {checkpoint}")


def read_configuration(path: Path) -> TrainConfig:
    """A run's configuration from a JSON or YAML file.

    Raises:
        InputError: no such file, no such format, or a field that is unknown, missing or of the wrong kind.
    """
    from pydantic import ValidationError

    from bridge_stg.errors import InputError
    from bridge_stg.training.configuration import TrainConfig

    try:
        return TrainConfig.model_validate(_parse(path))
    except OSError as problem:
        raise InputError(f"{path}: cannot be read ({problem.strerror})") from problem
    except ValidationError as problem:
        fields = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in problem.errors())
        raise InputError(f"{path}: not a run configuration: {fields}") from problem
    except ValueError as problem:
        raise InputError(f"{path}: not {path.suffix[1:].upper()}: {problem}") from problem


def _parse(path: Path) -> Any:
    """The content of the file; ValueError when it is not in the format that its name promises."""
    import yaml

    text = path.read_text(encoding="utf-8")
    if path.suffix.lower() == ".json":
        return json.loads(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise ValueError(str(problem)) from problem
