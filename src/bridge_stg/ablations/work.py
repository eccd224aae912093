"""Work on jobs in a folder that several processes or machines may share, one process at a job."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from bridge_stg.ablations.jobs import AblationJob
from bridge_stg.errors import BridgeSTGError
from bridge_stg.files.output_files import write_whole
from bridge_stg.files.worker_pool import end_with_parent

# How long to wait before looking whether another process has finished what is needed.
PATIENCE_SECONDS = 5.0


def work_on(jobs: Sequence[AblationJob], out: Path, report: Callable[[str], None]) -> None:
    """Do every job that is not done and that nobody else is at, until all are done.

    A job that others need is done for them only: where all of them are, it is left out. A job that was killed
    goes on where its commands do. Its commands are written beside its results.

    Raises:
        BridgeSTGError: a command failed; what it said is in the log of the job.
    """
    claims = out / "claims"
    claims.mkdir(parents=True, exist_ok=True)
    while True:
        left = jobs_left(jobs)
        if not left:
            return

        waiting = {job.name for job in left}
        done = {job.name for job in jobs} - waiting
        ready = [job for job in left if waiting.isdisjoint(job.needs)]

        if not any(_try(job, claims, out, f"{len(done) + 1}/{len(jobs)}", report) for job in ready):
            # Others are at all of them.
            time.sleep(PATIENCE_SECONDS)


def jobs_left(jobs: Sequence[AblationJob]) -> list[AblationJob]:
    """The jobs that are not done, but for those that only finished ones need; ``jobs`` in the order of need."""
    needed = {name for job in jobs for name in job.needs}
    wanted: set[str] = set()
    left = []

    for job in reversed(jobs):
        if not job.done and (job.name in wanted or job.name not in needed):
            left.append(job)
            wanted |= set(job.needs)

    return left[::-1]


def _try(job: AblationJob, claims: Path, out: Path, place: str, report: Callable[[str], None]) -> bool:
    """Do a job unless another process is at it; whether it was done here."""
    lock = FileLock(claims / f"{job.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False

    try:
        if not job.done:
            report(f"{place} {job.name}")
            _do(job, out)
        return True
    finally:
        lock.release()


def _do(job: AblationJob, out: Path) -> None:
    logs = out / "logs"
    logs.mkdir(exist_ok=True)
    lines = [shlex.join(("bridge-stg", *command)) for command in job.commands]
    write_whole(logs / f"{job.name}.commands", "\n".join(lines) + "\n")
    log = logs / f"{job.name}.log"

    for command in job.commands:
        if _run(command, log):
            raise BridgeSTGError(f"{job.name}: {_last_line(log)}; the whole log is {log}")

    if not job.done:
        raise BridgeSTGError(f"{job.name}: its commands ended without {job.result}; the log is {log}")


def _run(command: Sequence[str], log: Path) -> int | None:
    """Run a command of ``bridge-stg`` in a process that ends with this one; its exit code."""
    process = multiprocessing.get_context("spawn").Process(target=_command, args=(command, log))
    process.start()
    process.join()
    return process.exitcode


def _command(command: Sequence[str], log: Path) -> None:
    end_with_parent()

    # Into the log goes all that is written to stdout (1) and stderr (2), by libraries in C too.
    with log.open("ab") as file:
        for output in (1, 2):
            os.dup2(file.fileno(), output)

    sys.argv = ["bridge-stg", *command]
    runpy.run_module("bridge_stg.cli.main", run_name="__main__")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "failed without a word"
