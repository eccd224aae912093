"""What a request may hold: a field that nobody reads is refused, with those that there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self, get_origin

from fastapi import Request
from fastapi.params import Form
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError
from starlette.datastructures import ImmutableMultiDict

from bridge_stg.errors import did_you_mean
from bridge_stg.serve.problems import ServiceError

_LONGEST_NAME = 60


class ClosedModel(BaseModel):
    """A JSON object with these fields and no others."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _name_the_unknown(cls: type[Self], given: Any) -> Any:
        known = list(cls.model_fields)
        unknown = next((name for name in given if name not in known), None) if isinstance(given, dict) else None
        if unknown is not None:
            # Pydantic's own complaint names no fields.
            raise PydanticCustomError("unknown_field", "{text}", {"text": _unknown(unknown, known, known)})
        return given


async def only_known_fields(request: Request) -> None:
    """Refuse a request that names a field, in its form or its address, that its route does not read.

    A dependency of routers.

    Raises:
        ServiceError: 422 for a field that is unknown, or that is there twice and counts once.
    """
    route = request.scope["route"]
    _check(request.query_params, route.dependant.query_params)
    if route.body_field is not None and isinstance(route.body_field.field_info, Form):
        _check(await request.form(), route.dependant.body_params)


def _check(sent: ImmutableMultiDict[str, Any], fields: Iterable[Any]) -> None:
    """``fields`` are those of the route, as FastAPI keeps them."""
    known = {field.alias: field.field_info for field in fields}
    for name in sent:
        if name not in known:
            told = [f"{one} ({info.description})" for one, info in known.items()]
            raise ServiceError(422, "invalid_request", _unknown(name, known, told))
        if len(sent.getlist(name)) > 1 and get_origin(known[name].annotation) is not list:
            raise ServiceError(422, "invalid_request", f"{name}: is there more than once; give it once")


def _unknown(name: object, known: Iterable[str], told: Iterable[str]) -> str:
    """One line about an unknown field; ``told`` is what is said of the known ones."""
    short = str(name)[:_LONGEST_NAME]
    return f"unknown field {short!r}{did_you_mean(short, known)}; known are {', '.join(told) or 'none'}"
