"""Damage as files meet it: bytes that flip, parts that are lost or come twice, values that nobody expects."""

from __future__ import annotations

import json
import os
import random
import re
from typing import Any

# Named in the output of a run that fails; the same seed damages the same files in the same way.
SEED = int(os.environ.get("FUZZ_SEED", "0"))
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "1000"))

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_ODD_TEXT = [
    b"",
    b"-1",
    b"0",
    b"1e999",
    b"nan",
    b"Infinity",
    b"9" * 400,
    b"2147483648",
    b"\x00",
    b"../../x",
    b"\xff",
]
_ODD_VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    0.5,
    1e308,
    float("nan"),
    2**31,
    10**400,
    "",
    "x",
    "\ud800",
    "../x",
    "a\x00b",
    [],
    {},
    [[]],
    [1, 2],
    {"a": 1},
]


def mutate(content: bytes, draw: random.Random) -> bytes:
    """A damaged copy; JSON is damaged in its values as often as in its bytes."""
    if draw.random() < 0.5:
        try:
            return json.dumps(mutate_value(json.loads(content), draw)).encode()
        except (ValueError, RecursionError):
            pass  # not JSON: its bytes

    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        content = draw.choice((_flip, _cut, _lose, _repeat, _odd_number, _insert))(content, draw)
    return content


def mutate_value(value: Any, draw: random.Random) -> Any:
    """A copy with one part replaced, lost, or moved to another key."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(sorted(value))
        kind = draw.random()
        if kind < 0.1:
            return {name: one for name, one in value.items() if name != key}
        if kind < 0.15:
            return value | {key + draw.choice(("x", " ", "\u0000")): value[key]}
        return value | {key: mutate_value(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.9:
        place = draw.randrange(len(value))
        kind = draw.random()
        if kind < 0.1:
            return value[:place] + value[place + 1 :]
        if kind < 0.15:
            return [*value, value[place]]
        return [*value[:place], mutate_value(value[place], draw), *value[place + 1 :]]
    return draw.choice(_ODD_VALUES)


def _flip(content: bytes, draw: random.Random) -> bytes:
    if not content:
        return b"\x00"
    place = draw.randrange(len(content))
    return content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _lose(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content) + 1)
    return content[:start] + content[start + draw.randrange(1, 40) :]


def _repeat(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content) + 1)
    part = content[start : start + draw.randrange(1, 200)]
    return content[:start] + part * draw.choice((2, 2, 50)) + content[start + len(part) :]


def _odd_number(content: bytes, draw: random.Random) -> bytes:
    numbers = list(_NUMBER.finditer(content))
    if not numbers:
        return _insert(content, draw)
    chosen = draw.choice(numbers)
    return content[: chosen.start()] + draw.choice(_ODD_TEXT) + content[chosen.end() :]


def _insert(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.choice(_ODD_TEXT) + content[place:]
