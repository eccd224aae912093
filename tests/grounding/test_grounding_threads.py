"""How many threads a process takes on a machine that it shares."""

from __future__ import annotations

import pytest
import torch

from bridge_stg.model import placement as module
from bridge_stg.model.placement import busy_cores, choose_threads


def test_threads_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for busy, threads in ((0, 8), (3, 5), (7, 1), (8, 1), (50, 1)):
        monkeypatch.setattr(module, "busy_cores", lambda text, busy=busy: busy)
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
