"""JSON as language models write it: inside other words, with trailing commas, cut off, with quotes of any kind.

Nothing here raises. The text is read once from left to right, without recursion, so that neither a long nor a
deeply nested answer is a problem. What the values mean is for the caller to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# A quoted text ends at its quote, at the latest with its line: a forgotten quote costs one line, not the rest.
_QUOTED = re.compile(r"""(["'])((?:(?!\1)[^\\\n]|\\[^\n]?)*)(\1?)""")
_KEY = re.compile(r"""(?:(["'])((?:(?!\1)[^\\\n]|\\[^\n]?)*)\1|([A-Za-z_]\w*))\s*:""")
# A number with its unit or a clock time needs no quotes to be read as one value.
_BARE = re.compile(r"""[^,\[\]{}\n"']+""")
_SKIPPED = re.compile(r"\s+|\w+|.", re.DOTALL)
_OPENING = re.compile(r"[\[{]")


@dataclass
class Container:
    """An object or a list in the order of the text; ``cut`` when the text ended before it was closed.

    ``items`` are (key, value), with the empty key in a list. A value is a container or the text of a scalar,
    without its quotes: ``3.5``, ``"3.5"`` and ``"3.5s"`` are the caller's to tell apart.
    """

    is_object: bool
    items: list[tuple[str, Value]] = field(default_factory=list)
    cut: bool = False

    def get(self, *keys: str) -> Value | None:
        """The first value of the first key that is there; keys are compared in lower case."""
        for wanted in keys:
            for key, value in self.items:
                if key.lower() == wanted:
                    return value
        return None

    def containers(self) -> Iterator[Container]:
        """The containers directly inside."""
        return (value for _, value in self.items if isinstance(value, Container))


Value = str | Container


def read_values(text: str) -> tuple[list[Container], str]:
    """All outermost objects and lists of a text, and the words outside of them.

    A scalar that ends where the text ends may have lost its last digits and is left out. A closing bracket of
    the wrong kind closes what is open down to its own kind; one without a partner is skipped.

    >>> values, words = read_values('Here: [{"time": 2.5, "box": [1, 2,')
    >>> values[0].items[0][1].items[0], values[0].cut, words
    (('time', '2.5'), True, 'Here: ')
    """
    found: list[Container] = []
    words: list[str] = []
    # What is open, each with the key that waits for its value.
    open_: list[Container] = []
    key: str | None = None
    place = 0

    while place < len(text):
        character = text[place]
        # Words around the JSON.
        if not open_ and character not in "[{":
            opening = _OPENING.search(text, place)
            end = opening.start() if opening else len(text)
            words.append(text[place:end])
            place = end

        # Something opens.
        elif character in "[{":
            inner = Container(is_object=character == "{")
            if open_:
                open_[-1].items.append((key or "", inner))
            else:
                found.append(inner)
            open_.append(inner)
            key = None
            place += 1

        # Something closes, and with it what was left open inside.
        elif character in "]}":
            wanted = character == "}"
            if any(container.is_object == wanted for container in open_):
                while open_.pop().is_object != wanted:
                    pass
            key = None
            place += 1

        # A key of an object.
        elif open_[-1].is_object and key is None:
            named = _KEY.match(text, place)
            if named is not None:
                key = named[2] if named[3] is None else named[3]
                place = named.end()
            else:
                # No key, so no value: a comma, a space, or words that do not belong here.
                quoted = _QUOTED.match(text, place)
                place = quoted.end() if quoted else _end(_SKIPPED, text, place)

        elif character == "," or character.isspace():
            if character == ",":
                key = None
            place += 1

        # A value.
        else:
            scalar = _QUOTED.match(text, place)
            if scalar is not None:
                value, complete, place = scalar[2], bool(scalar[3]), scalar.end()
            else:
                end = _end(_BARE, text, place)
                value, complete, place = text[place:end], False, end
            if complete or place < len(text):
                open_[-1].items.append((key or "", value.strip()))
            key = None

    for container in open_:
        container.cut = True
    return found, " ".join(words)


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    """Where the match at ``place`` ends; both patterns match at least one character there."""
    match = pattern.match(text, place)
    return match.end() if match else place + 1
