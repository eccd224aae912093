"""``bridge-stg train``: a recipe by name or a configuration file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or the config.json of an earlier run.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; default: runs/<name>.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change one value: --set optim.lr=5e-5; may be repeated.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the free cores.")] = None,
) -> None:
    """Train a model; run the same command again to go on after an interruption."""
    from bridge_stg.cli.prepare import check_writable, quiet_libraries, quiet_threads
    from bridge_stg.errors import InputError
    from bridge_stg.training.configuration import TrainConfig, override
    from bridge_stg.training.recipes import recipe as named

    path = Path(recipe)
    if path.suffix == ".json":
        try:
            config = TrainConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as problem:
            reason = " ".join(str(problem).split())[:300]
            raise InputError(f"{path}: not a run configuration: {reason}") from problem
    else:
        config = named(recipe)
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
