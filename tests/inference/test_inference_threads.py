"""How many threads a process takes on a machine that it shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bridge_stg.errors import InputError
from bridge_stg.inference import device as module
from bridge_stg.inference.device import busy_cores, choose_threads, cpu_quota, prepare_device


def test_threads_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(module, "cpu_quota", lambda: None)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for busy, threads in ((0, 8), (3, 5), (7, 1), (8, 1), (50, 1)):
        monkeypatch.setattr(module, "busy_cores", lambda text, busy=busy: busy)
        assert choose_threads() == threads
    # The quota bounds what is free; it is not what others take from.
    for quota, busy, threads in ((2.0, 0, 2), (2.0, 5, 2), (2.0, 7, 1), (1.5, 0, 1), (0.5, 0, 1), (99.0, 1, 7)):
        monkeypatch.setattr(module, "busy_cores", lambda text, busy=busy: busy)
        monkeypatch.setattr(module, "cpu_quota", lambda quota=quota: quota)
        assert choose_threads() == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "not a number: torch has read it already")
    assert choose_threads() == torch.get_num_threads()


@pytest.mark.parametrize(
    ("loadavg", "busy"),
    [
        ("0.00 0.01 0.05 1/413 9", 0),  # only this process
        ("0.00 0.01 0.05 2/413 9", 1),  # another one that has just started
        ("1.62 0.01 0.05 1/413 9", 2),  # others that happen to wait right now
        ("0.40 3.00 3.00 0/413 9", 0),  # what ended minutes ago
    ],
)
def test_busy_cores(loadavg: str, busy: int) -> None:
    assert busy_cores(loadavg) == busy


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, 10**9])
def test_no_such_number_of_threads(threads: int) -> None:
    with pytest.raises(InputError, match="threads"):
        prepare_device("cpu", None, threads)


def test_a_number_of_threads_of_numpy() -> None:
    before = torch.get_num_threads()
    try:
        prepare_device("cpu", None, np.int64(1))  # type: ignore[arg-type]
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


V1 = {"cpu/a/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("", {}, None),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "100000 100000\n", "a/cpu.max": "150000 100000\n"}, 1.0),
        # The group of the machine, seen from inside a container.
        ("0::/docker/1f\n", {"cpu.max": "400000 100000\n"}, 4.0),
        ("3:cpu,cpuacct:/a\n", V1 | {"cpu/a/cpu.cfs_quota_us": "250000\n"}, 2.5),
        ("3:cpu:/a\n0::/\n", V1 | {"cpu/a/cpu.cfs_quota_us": "-1\n"}, None),
        ("3:cpuset:/a\n", V1 | {"cpu/a/cpu.cfs_quota_us": "250000\n"}, None),
    ],
)
def test_cpu_quota(membership: str, files: dict[str, str], quota: float | None, tmp_path: Path) -> None:
    (tmp_path / "self").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cpu_quota(tmp_path / "mount", tmp_path / "self") == quota
