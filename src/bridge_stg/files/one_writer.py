"""One run at a time: two that add to one predictions file would answer everything twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from bridge_stg.errors import InputError

State = tuple[tuple[str, int, int], ...]


def parts_of(out: Path) -> list[Path]:
    """The part files that lie beside a predictions file."""
    prefix = f"{out.name}.part-"
    if not out.parent.is_dir():
        return []
    found = (path for path in out.parent.iterdir() if path.name.startswith(prefix))
    return sorted(path for path in found if path.name[len(prefix) :].isdecimal())


def fingerprint(out: Path) -> State:
    """Name, size and time of a predictions file and its parts, to tell whether somebody else writes them."""
    files = [(path.name, path.stat()) for path in (out, *parts_of(out)) if path.exists()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)


@contextmanager
def only_writer(out: Path, seen: State) -> Iterator[None]:
    """No other run may write ``out`` meanwhile, nor may one have done so since ``seen``, its fingerprint.

    The lock is a file beside ``out``; the system opens it when a process dies, whatever it died of.

    Raises:
        InputError: another run writes it or has done so.
    """
    place = out.with_name(out.name + ".lock")
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{out}: another run is writing this file; wait for it, or give another --out"
        ) from None
    except NotImplementedError:  # a file system without locks
        yield
        return
    except OSError as problem:
        raise InputError(f"{out}: cannot be written ({problem.strerror}); give another --out") from problem
    try:
        if fingerprint(out) != seen:
            raise InputError(f"{out}: another run wrote to it meanwhile; give the same command again")
        yield
    finally:
        with suppress(OSError):  # Windows keeps what is open
            place.unlink()
        lock.release()
