"""A run's folder: states to go on from, its configuration, and the checkpoints that it hands over."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bridge_stg.errors import CheckpointError, InputError, one_line
from bridge_stg.files.output_files import write_whole
from bridge_stg.training.configuration import TrainConfig

TRAINABLE = "model.safetensors"
# Settings that decide which weights there are.
FIXED = ("stage", "tune", "objective", "model")
# States that were kept, by their step; a folder that somebody called otherwise is theirs.
KEPT = "state-" + "[0-9]" * 8


@dataclass(frozen=True)
class Position:
    """Where a run is: ``step`` steps are done, the last ``skipped`` of them without moving the weights.
    ``origin`` is a hash of what the model was read from; None is not known.
    """

    step: int = 0
    skipped: int = 0
    origin: str | None = None


def save_trainable_only(accelerator: Accelerator) -> None:
    """Have states hold the trainable weights only; the others follow from the configuration.

    A frozen 8B would be 17 GB in every state. Names are those of the model itself, so that a run can go on with
    another number of processes. Sharded models (FSDP2) are left to accelerate, which saves all of them.
    """
    if accelerator.distributed_type == DistributedType.FSDP:
        return

    def save(models: list[nn.Module], weights: list[Any], folder: str) -> None:
        if accelerator.is_main_process:
            trainable = _trainable(accelerator.unwrap_model(models[0]))
            contiguous = {name: value.contiguous() for name, value in trainable.items()}
            save_file(contiguous, Path(folder) / TRAINABLE, metadata={"format": "pt"})

        weights.clear()

    def load(models: list[nn.Module], folder: str) -> None:
        model = accelerator.unwrap_model(models.pop())
        stored = load_file(Path(folder) / TRAINABLE)
        wanted = _trainable(model)
        lost = [name for name in wanted if name not in stored or stored[name].shape != wanted[name].shape]

        if lost:
            raise CheckpointError(
                f"{folder}: holds no {lost[0]} of this shape ({len(lost)} trainable weights are missing); it "
                "is the state of another configuration, train into another --out"
            )

        with torch.no_grad():
            for name, value in wanted.items():
                value.copy_(stored[name])

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def _trainable(model: nn.Module) -> dict[str, Tensor]:
    """Trainable parameters by name; tied ones once."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def save_state(accelerator: Accelerator, out: Path, position: Position, keep: int = 1) -> None:
    """Write weights, optimizer, scheduler and RNG beside the last state, which then becomes ``state-<step>``.

    ``state`` is the newest; of the others ``keep`` - 1 stay. The weights are safetensors, the rest are pickles,
    so a state is to be loaded only where it was written. ``step.json`` is written last and removed first: a
    folder that has it is complete, whenever the run is killed.
    """
    fresh = out / "state.new"
    if accelerator.is_main_process:
        _remove(fresh)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(fresh))
    accelerator.wait_for_everyone()

    if accelerator.is_main_process:
        (fresh / "step.tmp").write_text(json.dumps(asdict(position)), encoding="utf-8")
        os.replace(fresh / "step.tmp", fresh / "step.json")
        _settle(out)
        for old in sorted(out.glob(KEPT))[: -(keep - 1) or None]:
            _remove(old)

    accelerator.wait_for_everyone()


def restore(accelerator: Accelerator, out: Path, origin: str | None = None) -> Position:
    """Load the last complete state; where to go on, the start without one.

    Args:
        origin: of the model as it was built now.

    Raises:
        InputError: the run started from other weights; what does not learn is not in the state.
    """
    state = out / "state"
    if accelerator.is_main_process:
        _settle(out)
    accelerator.wait_for_everyone()
    if not (state / "step.json").is_file():
        return Position(origin=origin)
    position = _position(state)

    if position.origin is not None and position.origin != origin:
        raise InputError(
            f"{out}: this run started from other weights than base and detector hold now, and its state fits "
            "only those; give what it started from (wherever it is now), or train into another --out"
        )

    accelerator.load_state(str(state))
    return replace(position, origin=origin)


def _settle(out: Path) -> None:
    """Make a complete ``state.new`` the state; also what a run that was killed in between had left to do."""
    fresh, state = out / "state.new", out / "state"
    if not (fresh / "step.json").is_file():
        return

    if (state / "step.json").is_file():
        older = out / f"state-{_position(state).step:08d}"
        _remove(older)
        os.replace(state, older)
    else:
        _remove(state)

    os.replace(fresh, state)


def _position(state: Path) -> Position:
    content = json.loads((state / "step.json").read_text(encoding="utf-8"))
    return Position(int(content["step"]), int(content.get("skipped", 0)), content.get("origin"))


def _remove(state: Path) -> None:
    (state / "step.json").unlink(missing_ok=True)
    shutil.rmtree(state, ignore_errors=True)


def write_config(path: Path, config: TrainConfig) -> None:
    """The resolved configuration, which ``bridge-stg train`` takes as it is; never seen half written."""
    write_whole(path, json.dumps(config.model_dump(mode="json"), indent=2) + "\n")


def refuse_changes(out: Path, config: TrainConfig) -> None:
    """Stop before anything is loaded when the run in ``out`` cannot go on with ``config``.

    Raises:
        InputError: the stage or what is tuned changed, or fewer steps are wanted than are done.
    """
    found = [out / name / "step.json" for name in ("state", "state.new")]
    done = max((_position(path.parent).step for path in found if path.is_file()), default=None)
    if done is None:
        return
    changes = changed_settings(out / "config.json", config)
    wrong = [line for line in changes if re.split("[.:]", line)[0] in FIXED]
    if config.optim.steps < done:
        wrong.append(f"optim.steps is {config.optim.steps} and {done} are done")

    if wrong:
        raise InputError(
            f"{out}: the run in this folder cannot go on with another: {'; '.join(wrong)}; "
            "take the old values, or train into another --out"
        )


def changed_settings(path: Path, config: TrainConfig) -> list[str]:
    """``key: old -> new`` for every setting that differs from those in ``path``, a run's config.json."""
    try:
        stored = type(config).model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []
    except ValueError as problem:
        reason = one_line(problem)
        return [f"{path} cannot be compared with: {reason}"]

    old, new = (_flat(one.model_dump(mode="json")) for one in (stored, config))
    keys = dict.fromkeys([*old, *new])
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


@contextmanager
def finish_checkpoint(accelerator: Accelerator, fresh: Path, folder: Path) -> Iterator[None]:
    """Around the writing of ``fresh``, which then takes the place of ``folder``; every process enters it."""
    if accelerator.is_main_process:
        shutil.rmtree(fresh, ignore_errors=True)
    accelerator.wait_for_everyone()
    yield
    if accelerator.is_main_process:
        replace_folder(fresh, folder)
    accelerator.wait_for_everyone()


def replace_folder(fresh: Path, folder: Path) -> None:
    """Put a finished folder in the place of an older one, which is never seen half written."""
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(fresh, folder)
