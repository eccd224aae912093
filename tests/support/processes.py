"""Real processes that need not import torch first: a server of Python's has it, and forks them.

They have their own memory, environment and outputs, and can be killed; what they are given is what a shell or a
launcher would give them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
# In the server, before anything is asked of it; a module that is missing is left out.
LOADED = ("torch", "accelerate", "transformers", "peft", "bridge_stg.cli.train", "bridge_stg.training.loop")
LOADED += ("bridge_stg.cli.runs", "bridge_stg.evaluation.predict", "bridge_stg.zero_shot.open_grounder")
CONTEXT.set_forkserver_preload(list(LOADED))


class Running:
    """A process that calls ``target(*given)`` with both outputs in files."""

    def __init__(self, target: Callable[..., None], *given: Any, env: Mapping[str, str] | None = None) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="bridge-stg-process-")
        outputs = [str(Path(self.folder.name) / name) for name in ("stdout", "stderr")]
        environment = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | dict(env or {})
        # Not a daemon: it may have processes of its own.
        self.process = CONTEXT.Process(
            target=_call, args=(target, given, outputs, os.environ | environment), daemon=False
        )
        self.process.start()

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 600) -> int:
        """The exit code, or the negative number of the signal that ended it."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.kill()
            raise AssertionError(f"still running after {timeout} s: {self.stderr}")
        return self.process.exitcode

    @property
    def stdout(self) -> str:
        return (Path(self.folder.name) / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (Path(self.folder.name) / "stderr").read_text()


def start_command(*words: object) -> Running:
    """``bridge-stg`` with these words."""
    return Running(_command, [str(word) for word in words])


def run_command(*words: object) -> Running:
    """``bridge-stg`` with these words, after its end."""
    running = start_command(*words)
    running.wait()
    return running


def run_ranks(count: int, target: Callable[..., None], *given: Any) -> list[Running]:
    """``target`` in ``count`` processes, after their end; their environment is that of torch's launcher."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    same = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    same["LOCAL_WORLD_SIZE"] = str(count)
    ranks = [
        Running(target, *given, env=same | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(count)
    ]
    try:
        for running in ranks:
            running.wait()
    finally:
        # One that failed leaves the others waiting for it.
        for running in ranks:
            if running.poll() is None:
                running.kill()
    return ranks


def _call(target: Callable[..., None], given: Sequence[Any], outputs: list[str], env: dict[str, str]) -> None:
    for place, number in zip(outputs, (1, 2), strict=True):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.environ.clear()
    os.environ.update(env)

    import torch

    torch.set_num_threads(1)
    target(*given)


def _command(words: list[str]) -> None:
    from bridge_stg.cli.main import app

    sys.argv = ["bridge-stg", *words]
    app(words)
