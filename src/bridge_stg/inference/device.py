"""Where a model comes from and runs: the hub, the device, and how many threads on a CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from bridge_stg.errors import InputError, one_line
from bridge_stg.inference.options import is_whole
from bridge_stg.model.stored_weights import float_dtype

# More threads than any machine has cores; the library that starts them ends the process where it cannot.
MOST_THREADS = 1024


def prepare_device(device: str | None, dtype: Any, threads: int | None) -> tuple[str, torch.dtype]:
    """The device and dtype to load a model with; on a CPU it also sets torch's threads.

    Args:
        device: None for a GPU if there is one.
        dtype: a dtype or its name; None for float32 on a CPU and bfloat16 elsewhere.
        threads: None for the free cores.

    Raises:
        InputError: torch cannot use that device or so many threads, or that is no dtype of weights.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)

    if threads is not None and not (is_whole(threads) and 1 <= threads <= MOST_THREADS):
        raise InputError(f"threads must be a whole number from 1 to {MOST_THREADS}, got {threads!r}")
    if device == "cpu":
        torch.set_num_threads(choose_threads() if threads is None else int(threads))

    if dtype is None:
        return device, torch.float32 if device == "cpu" else torch.bfloat16
    return device, float_dtype(dtype)


def hub_options(revision: str | None, token: str | bool | None) -> dict[str, Any]:
    """What is handed on to the hub: without the rest it takes the main branch and the stored token."""
    return {key: value for key, value in (("revision", revision), ("token", token)) if value is not None}


def check_device(device: str) -> None:
    """Raise InputError when torch cannot put a number on ``device``."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as problem:
        # The first sentence: a list of all that torch has kernels for may follow.
        reason = one_line(problem).partition(". ")[0]
        raise InputError(f"device {device!r} cannot be used ({reason}); leave it out or give cpu") from problem


def choose_threads() -> int:
    """Threads for torch on a CPU: the cores of this process, less what already runs on them, at least one.

    A container may show all cores of its machine and still be held to a few: never more than its quota. Two
    processes with two threads each on two cores slow each other down by far more than two. Where
    ``OMP_NUM_THREADS`` is set, what torch made of it stands.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()

    # The cores that this process may use, less those that others keep busy.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        busy = busy_cores(Path("/proc/loadavg").read_text(encoding="ascii"))
    except OSError:
        busy = round(os.getloadavg()[0]) if hasattr(os, "getloadavg") else 0

    quota = cpu_quota()
    free = cores - busy if quota is None else min(cores - busy, int(quota))
    return max(free, 1)


def cpu_quota(
    mount: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float | None:
    """CPUs' worth of time that control groups allow this process; None without a limit.

    The smallest limit from the own group up to the root counts: ``cpu.max`` in version 2 ("200000 100000" or
    "max 100000"), ``cpu.cfs_quota_us`` (-1 for none) over ``cpu.cfs_period_us`` in version 1. Inside a
    container the own group's files often appear at the mount itself.
    """
    limits = []
    for line in _text(membership).splitlines():
        # Version 2 has a line without controllers, version 1 one for each of its mounts.
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = mount / controllers if controllers else mount
        if not root.is_dir():
            root = mount / "cpu"  # where several controllers share a mount, each also has a link of its own

        # From the own group up to the root.
        own = root / group.lstrip("/")
        for folder in (own, *own.parents):
            if not folder.is_relative_to(root):
                break
            if controllers:
                limits.append((_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")))
            else:
                quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
                limits.append((quota, period))

    known = [float(quota) / float(period) for quota, period in limits if quota.strip().isdecimal() and period]
    return min(known, default=None)


def _text(path: Path) -> str:
    """A file's text; empty where there is none, as on systems without control groups."""
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def busy_cores(loadavg: str) -> int:
    """Cores that others keep busy, from the text of ``/proc/loadavg``.

    The average of the last minute does not know of a process that starts together with this one; the number
    that run at this moment, this one among them, does.

    >>> busy_cores("0.20 0.31 0.52 2/513 25460")
    1
    """
    last_minute, _, _, running, _ = loadavg.split()
    return max(round(float(last_minute)), int(running.split("/")[0]) - 1)
