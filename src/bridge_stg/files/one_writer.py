"""One run at a time: two that write one place would mix their files, or do everything twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from bridge_stg.errors import InputError, unwritable


@contextmanager
def only_writer(out: Path, place: Path | None = None, *, must_lock: bool = True) -> Iterator[None]:
    """No other run may write ``out`` meanwhile, be it a file or a folder.

    The system releases the lock when a process dies, whatever the cause. On a file system without
    locks two runs are not told apart.

    Args:
        place: the file that is locked, in a folder that exists; by default one beside ``out``, which is removed
            at the end.
        must_lock: it is an error if ``place`` cannot be written.

    Raises:
        InputError: another run writes it, or ``place`` is not writable.
    """
    beside = out.with_name(out.name + ".lock")
    lock = FileLock(place or beside)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"{out}: another run is writing it; wait for it, or give another --out") from None
    except NotImplementedError:
        yield
        return
    except OSError as problem:
        if must_lock:
            raise unwritable(out, problem) from problem
        yield
        return

    try:
        yield
    finally:
        if place is None:
            with suppress(OSError):  # Windows keeps what is open
                beside.unlink()
        lock.release()
