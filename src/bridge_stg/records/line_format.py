"""A line of JSON as a typed value: msgspec checks names and types, and what is wrong becomes one clear line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Generic, TypeVar

import msgspec

from bridge_stg.errors import DataError
from bridge_stg.files.json_lines import parse_object

Line = TypeVar("Line", bound=msgspec.Struct)
# msgspec puts the place behind the complaint: "Expected `str`, got `int` - at `$.id`".
_PLACE = re.compile(r" - at (?:`key` in )?`\$\.?(?P<place>[^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")


def _from_text(kind: type, value: Any) -> Any:
    """A type of which JSON knows nothing: an exact number, which a line holds as text such as "1/90000"."""
    if kind is not Fraction or not isinstance(value, str):
        raise ValueError(f"Expected a fraction as text, got {value!r:.80}")
    try:
        return Fraction(value)
    except ZeroDivisionError as problem:
        raise ValueError(f"Expected a fraction, got {value!r:.80}") from problem


class LineFormat(Generic[Line]):
    """Reads lines of one kind.

    Args:
        kind: the fields of a line with their types.
        noun: what a line is called in a message, such as "record".
        explain: a closer look at a line that msgspec refused; returns a message, or None if it finds nothing.
    """

    def __init__(
        self, kind: type[Line], noun: str, explain: Callable[[dict[str, Any]], str | None] = lambda line: None
    ) -> None:
        self._kind, self._noun, self._explain = kind, noun, explain
        self._decoder = msgspec.json.Decoder(kind, dec_hook=_from_text)

    def decode(self, text: bytes) -> Line:
        """The value of one line of a file.

        Raises:
            DataError: it is not one JSON object, or has an unknown, missing or malformed field.
        """
        try:
            return self._decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.convert(self._parse_slowly(text))

    def _parse_slowly(self, text: bytes) -> dict[str, Any]:
        """A line that msgspec refused. Python also reads NaN and Infinity, which the checks of a value name."""
        try:
            line = parse_object(text)
        except ValueError as problem:
            raise DataError(str(problem)) from problem

        try:
            json.dumps(line, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as problem:
            raise self._error(line, "holds half of a character, which no text can hold") from problem
        return line

    def convert(self, line: dict[str, Any]) -> Line:
        """The value of a parsed line; DataError as of ``decode``."""
        try:
            return msgspec.convert(line, self._kind, str_keys=True, dec_hook=_from_text)
        except msgspec.ValidationError as problem:
            raise self._error(line, self._explain(line) or self._said(str(problem))) from problem
        except RecursionError as problem:
            raise self._error(line, "is nested too deeply") from problem

    def _error(self, line: dict[str, Any], reason: str) -> DataError:
        return DataError(f"{self._noun} {line.get('id', '?')!r:.80}: {reason}")

    def _said(self, problem: str) -> str:
        """The words of msgspec with the place in front."""
        if unknown := _UNKNOWN.match(problem):
            return f"unknown field {unknown['name']!r}; known are {', '.join(self._kind.__struct_fields__)}"
        place = _PLACE.search(problem)
        words = _PLACE.sub("", problem).replace("`", "")
        words = words[0].lower() + words[1:]
        return f"{place['place']}: {words}" if place and place["place"] else words
