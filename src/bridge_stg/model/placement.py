"""Where a model runs: the device, and how many threads on a CPU."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from bridge_stg.errors import InputError


def check_device(device: str) -> None:
    """Raise InputError when torch cannot put a number on ``device``."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).splitlines()[0]
        raise InputError(f"device {device!r} cannot be used ({reason}); leave it out or give cpu") from problem


def choose_threads() -> int:
    """Threads for torch on a CPU: the cores of this process, less what already runs on them, at least one.

    Two processes with two threads each on two cores slow each other down by far more than two.
    Where ``OMP_NUM_THREADS`` is set, what torch made of it stands.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        busy = busy_cores(Path("/proc/loadavg").read_text(encoding="ascii"))
    except OSError:
        busy = round(os.getloadavg()[0]) if hasattr(os, "getloadavg") else 0
    return max(cores - busy, 1)


def busy_cores(loadavg: str) -> int:
    """Cores that others keep busy, from the text of ``/proc/loadavg``.

    The average of the last minute does not know of a process that starts together with this one; the number
    that run at this moment, this one among them, does.

    >>> busy_cores("0.20 0.31 0.52 2/513 25460")
    1
    """
    last_minute, _, _, running, _ = loadavg.split()
    return max(round(float(last_minute)), int(running.split("/")[0]) - 1)
