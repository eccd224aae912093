"""One run at a time: two that add to one predictions file would answer everything twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from bridge_stg.errors import InputError


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """No other run may write ``out`` meanwhile, be it a file or a folder.

    The lock is a file beside ``out``; the system opens it when a process dies, whatever it died of.

    Raises:
        InputError: another run writes it, or its place is not writable.
    """
    place = out.with_name(out.name + ".lock")
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"{out}: another run is writing it; wait for it, or give another --out") from None
    except NotImplementedError:  # a file system without locks
        yield
        return
    except OSError as problem:
        raise InputError(f"{out}: cannot be written ({problem.strerror}); give another --out") from problem

    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps what is open
            place.unlink()
        lock.release()
