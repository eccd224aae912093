"""A job for each of many files, in processes that can die.

Libraries that read videos are written in C: a bad file can end the process that opens it. That must cost this
one file, not the run.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from multiprocessing import connection
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Died:
    """In place of a result: the process that worked on this item ended without a word."""


def run_each(
    job: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | Died]]:
    """(item, result) of each item as they are done, in any order.

    Args:
        job: a function of a module, so that it can be sent to another process. What it raises is raised here.
        items: what it is called with.
        workers: processes; with one, everything runs in this process, which then dies with a bad file.
    """
    if workers == 1 or not items:
        yield from ((item, job(item)) for item in items)
        return

    # Here only: it belongs to the extra ``data``, and one process does without.
    from pebble import ProcessExpired, ProcessPool

    # Fresh processes: a copy of one that runs threads can hang.
    context = multiprocessing.get_context("spawn")
    with one_thread_each():
        pool = ProcessPool(min(workers, len(items)), context=context, initializer=end_with_parent)
        try:
            scheduled: dict[Future[Result], Item] = {pool.schedule(job, args=(item,)): item for item in items}
            for future in as_completed(scheduled):
                try:
                    yield scheduled[future], future.result()
                except ProcessExpired:
                    yield scheduled[future], Died()
        finally:
            pool.stop()  # type: ignore[no-untyped-call]
            pool.join()


def end_with_parent() -> None:
    """Let this process of ``multiprocessing`` end when its parent does, however that ends.

    A worker whose parent is killed would wait for its next item for ever, a command would go on unseen.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Each process is one of the workers; the limit is read when NumPy is imported, so it is set before."""
    before = {name: os.environ.get(name) for name in _THREAD_LIMITS}
    os.environ.update(dict.fromkeys(_THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
