"""``a.b=value`` settings on top of a configuration: everything that is wrong with them is said at once."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.dataclasses import is_pydantic_dataclass

from bridge_stg.errors import InputError, did_you_mean, nearest
from bridge_stg.training.configuration import TrainConfig

SomeConfig = TypeVar("SomeConfig", bound=TrainConfig)


def override(config: SomeConfig, settings: list[str]) -> SomeConfig:
    """Apply ``a.b=value`` settings; every unknown key and bad value is reported at once.

    Raises:
        InputError: a setting without "=", an unknown key, or a value of the wrong kind.
    """
    return resolve(config.model_dump(), settings, "bad settings", type(config))


def resolve(values: Any, settings: list[str], title: str, kind: type[SomeConfig]) -> SomeConfig:
    """The configuration of a file's ``values`` with ``a.b=value`` settings on top.

    A value is text, "null" for None, or JSON where it begins with a bracket.

    Args:
        kind: of configuration.

    Raises:
        InputError: ``title`` and everything that is wrong with either, at once.
    """
    values, problems = copy.deepcopy(values), []
    for setting in settings:
        path, equals, text = setting.partition("=")
        place = _place(kind, values, path) if equals else None
        if not equals:
            problems.append(f"{setting!r} is not of the form key=value")
        elif place is None:
            problems.append(f"unknown key {path!r}{_near(kind, path)}")
        else:
            try:
                place[path.rpartition(".")[2]] = parse_value(text)
            except ValueError as problem:
                problems.append(f"{path}: {problem}")

    try:
        checked = kind.model_validate(values)
    except ValidationError as problem:
        problems += [_fault(kind, error) for error in problem.errors()]

    if problems:
        raise InputError(f"{title}: " + "; ".join(problems))
    return checked


def parse_value(text: str) -> Any:
    """What a setting's text stands for.

    >>> parse_value("0.5"), parse_value("null"), parse_value('["a", 2]')
    ('0.5', None, ['a', 2])

    Raises:
        ValueError: it begins like JSON and is none.
    """
    if text == "null":
        return None
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError as problem:
            raise ValueError(f"{text!r} is no JSON: {problem}") from problem

    return text


def keys_of(section: Any, prefix: str = "") -> Iterator[str]:
    """Every key of a configuration, with its section: ``optim.lr``."""
    for name in fields_of(section):
        yield prefix + name
        inner = _inner(section, name)
        if inner is not None:
            yield from keys_of(inner, f"{prefix}{name}.")


def fields_of(section: Any) -> dict[str, Any]:
    """The fields of a section by name."""
    found: dict[str, Any] = section.__pydantic_fields__
    return found


def _inner(section: Any, name: str) -> Any:
    """The class of the section that a field holds; None if it holds a plain value."""
    field = fields_of(section).get(name)
    options = () if field is None else (field.annotation, *get_args(field.annotation))
    return next((option for option in options if _is_section(option)), None)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or is_pydantic_dataclass(kind))


def _place(kind: Any, values: Any, path: str) -> dict[str, Any] | None:
    """The dictionary in ``values`` that holds the last part of ``path``; None when no configuration has it.

    Sections that a file leaves out because all of their values are defaults are put there.
    """
    section = kind
    *parents, leaf = path.split(".")
    for key in parents:
        section = _inner(section, key)
        if section is None or not isinstance(values, dict):
            return None
        if values.get(key) is None:
            values[key] = {}
        values = values[key]

    return values if leaf in fields_of(section) and isinstance(values, dict) else None


def _near(kind: Any, path: str) -> str:
    """What a misspelt key may have meant: the nearest one, or one with the same last name."""
    known = list(keys_of(kind))
    same = [key for key in known if key.rpartition(".")[2] == path.rpartition(".")[2]]
    if same:
        return f" (did you mean {' or '.join(same[:2])}?)"
    whole = did_you_mean(path, known)
    if whole or "." in path:
        return whole

    # A name without its section: the keys whose last name is the nearest.
    near = nearest(path, {key.rpartition(".")[2] for key in known})
    return "" if near is None else _near(kind, near)


def _fault(kind: Any, error: Any) -> str:
    """A problem that pydantic found, on one line."""
    place = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        message = f"unknown key{_near(kind, place)}"
    return f"{place}: {message}" if place else message
