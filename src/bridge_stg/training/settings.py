"""``a.b=value`` settings on top of a configuration: everything that is wrong with them is said at once."""

from __future__ import annotations

import copy
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from bridge_stg.errors import InputError
from bridge_stg.training.configuration import TrainConfig


def override(config: TrainConfig, settings: list[str]) -> TrainConfig:
    """Apply ``a.b=value`` settings; every unknown key and bad value is reported at once.

    Raises:
        InputError: a setting without "=", an unknown key, or a value of the wrong kind.
    """
    return resolve(config.model_dump(), settings, "bad settings")


def resolve(values: Any, settings: list[str], title: str) -> TrainConfig:
    """The configuration of a file's ``values`` with ``a.b=value`` settings on top ("null" is None).

    Raises:
        InputError: ``title`` and everything that is wrong with either, at once.
    """
    values, problems = copy.deepcopy(values), []
    for setting in settings:
        path, equals, text = setting.partition("=")
        place = _place(values, path) if equals else None
        if not equals:
            problems.append(f"{setting!r} is not of the form key=value")
        elif place is None:
            problems.append(f"unknown key {path!r}")
        else:
            place[path.rpartition(".")[2]] = None if text == "null" else text
    try:
        checked = TrainConfig.model_validate(values)
    except ValidationError as problem:
        faults = [
            (".".join(map(str, error["loc"])), error["msg"].removeprefix("Value error, "))
            for error in problem.errors()
        ]
        problems += [f"{place}: {message}" if place else message for place, message in faults]
    if problems:
        raise InputError(f"{title}: " + "; ".join(problems))
    return checked


def _place(values: Any, path: str) -> dict[str, Any] | None:
    """The dictionary in ``values`` that holds the last part of ``path``; None when no configuration has it.

    Sections that a file leaves out because all of their values are defaults are put there.
    """
    section: type[BaseModel] = TrainConfig
    *parents, leaf = path.split(".")
    for key in parents:
        field = section.model_fields.get(key)
        options = () if field is None else (field.annotation, *get_args(field.annotation))
        kinds = [kind for kind in options if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not kinds or not isinstance(values, dict):
            return None
        if values.get(key) is None:
            values[key] = {}
        section, values = kinds[0], values[key]
    return values if leaf in section.model_fields and isinstance(values, dict) else None
