"""Errors a caller can act on.

Every message is one line that says what is wrong and what to do. The command line maps ``InputError`` to exit
code 2 and every other ``BridgeSTGError`` to exit code 1.
"""

import difflib
from collections.abc import Iterable

# Two names are near from this share of common letters on: "tnue" and "tune" have 0.75, "foo" and "refcoco" 0.6.
NEAR = 0.7


class BridgeSTGError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(BridgeSTGError, ValueError):
    """The caller gave something unusable: a file, a query, an option."""


class VideoError(InputError):
    """A video that cannot be read: missing, empty, not a video, no frames, no frame rate."""


class CheckpointError(InputError):
    """A checkpoint that cannot be loaded: missing, truncated, wrong keys or shapes."""


class DataError(InputError):
    """A record or annotation file that cannot be used; the message names the record."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name, to stand in a message behind the unknown one; "" where none is near.

    Examples:
        >>> did_you_mean("tnue", ["tune", "shapes"]), did_you_mean("foo", ["refcoco"])
        (' (did you mean tune?)', '')
    """
    near = nearest(name, known)
    return "" if near is None else f" (did you mean {near}?)"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` is probably a misspelling of; None where none is near."""
    # Upper and lower case are no difference; of equally near names always the same one.
    lower = {one.lower(): one for one in sorted(known)}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=NEAR)
    return lower[near[0]] if near else None


def unwritable(place: object, problem: OSError, cure: str = "give another --out") -> InputError:
    """The error for a file or folder that the system does not let us write."""
    return InputError(f"{place}: cannot be written ({problem.strerror}); {cure}")


def unreadable(place: object, problem: OSError) -> DataError:
    """The error for a file of data that the system does not let us read."""
    return DataError(f"{place}: cannot be read ({problem.strerror})")


def one_line(problem: object, limit: int = 300) -> str:
    """What another library says of a problem, on one line of at most ``limit`` characters.

    Examples:
        >>> one_line(ValueError("bad\\n  value"))
        'bad value'
    """
    return " ".join(str(problem).split())[:limit]
