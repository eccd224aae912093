"""The real service as a process on a free port of the loopback address."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RunningService:
    def __init__(self, process: subprocess.Popen[str], address: str, folder: Path) -> None:
        self.process, self.address, self.folder = process, address, folder

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


@contextmanager
def running_service(folder: Path, checkpoint: Path | str, *options: str) -> Iterator[RunningService]:
    command = [sys.executable, "-m", "bridge_stg.cli.main", "serve", "--port", "0", "--device", "cpu"]
    command += ["--threads", "1", "--checkpoint", str(checkpoint), "--folder", str(folder), *options]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"on (http://\S+)", line):
                yield RunningService(process, found[1], folder)
                break
        else:
            raise AssertionError(f"the service did not start: {''.join(said)}")
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
