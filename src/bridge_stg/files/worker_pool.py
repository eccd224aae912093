"""A job for each of many files, in processes that may die.

Libraries that read videos are written in C: a bad file can end the process that opens it. That must cost this
one file, not the run.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
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
        workers: processes; with one, everything runs in this process, which then dies with a bad file.
    """
    if workers == 1 or not items:
        yield from ((item, job(item)) for item in items)
        return
    waiting = list(reversed(items))
    with one_thread_each():
        while waiting:
            # No more in the queue than keeps everyone busy: they are tried again one by one if a process dies.
            suspects = yield from _until_one_dies(job, waiting, workers)
            for item in suspects:
                with _pool(1) as pool:
                    try:
                        yield item, pool.submit(job, item).result()
                    except BrokenProcessPool:
                        yield item, Died()


def _until_one_dies(
    job: Callable[[Item], Result], waiting: list[Item], workers: int
) -> Generator[tuple[Item, Result], None, list[Item]]:
    """Take from the end of ``waiting`` until it is empty or a process died; returns what was under way then."""
    running: dict[Future[Result], Item] = {}
    with _pool(min(workers, len(waiting))) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    running[pool.submit(job, waiting[-1])] = waiting[-1]
                    waiting.pop()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            return list(running.values())
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return []


def _pool(workers: int) -> ProcessPoolExecutor:
    # Fresh processes: a copy of one that runs threads can hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """A worker whose parent is killed would wait for its next item for ever: this ends it."""
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
