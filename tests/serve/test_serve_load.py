"""A minute of 32 clients, and requests made from the service's own description. Run by `make load`.

Everything is sent to the loopback address, and stops by itself. BRIDGE_STG_LOAD_SECONDS shortens it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx2 as httpx
import pytest
from support.service import RunningService, running_service

from bridge_stg.client import Client

pytestmark = pytest.mark.slow
CLIENTS, SECONDS = 32, float(os.environ.get("BRIDGE_STG_LOAD_SECONDS", "60"))
# What the server itself may grow by, in KiB: the heap of a process is never quite still.
MOST_GROWTH = 64 * 1024


def resident(process: int) -> int:
    """KiB of memory of one process."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def test_many_clients_lose_nothing_and_are_told_when_to_come_back(clip: Path, tmp_path: Path) -> None:
    statuses: Counter[int] = Counter()
    jobs: list[str] = []
    lock = threading.Lock()
    with running_service(tmp_path / "state", "shapes", "--queue", "16") as service:
        with Client(service.address) as client:
            video = client.upload(clip)
            client.wait(client.submit(video, ["an object moving down"]))
        before, until = resident(service.process.pid), time.monotonic() + SECONDS

        def ask(number: int) -> None:
            with httpx.Client(base_url=service.address, timeout=120) as http:
                while time.monotonic() < until:
                    body = {"queries": [f"object {number} moving down"]}
                    response = http.post(f"/v1/videos/{video}/ground", json=body)
                    with lock:
                        statuses[response.status_code] += 1
                        if response.status_code == 202:
                            jobs.append(response.json()["job"])
                    # As long as it was told to, within the time that is left.
                    pause = float(response.headers.get("Retry-After", "0.05"))
                    time.sleep(max(min(pause, until - time.monotonic()), 0))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        with Client(service.address) as client:
            states = [client.wait(job) for job in jobs]
        grown = resident(service.process.pid) - before
    print(f"{len(jobs)} jobs in {SECONDS:.0f} s, answers {dict(statuses)}, memory grew by {grown} KiB")
    assert set(statuses) <= {202, 429}
    assert {state.status for state in states} == {"done"}
    assert grown < MOST_GROWTH


def test_schemathesis_finds_nothing(service: RunningService, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("st")
    if not program.exists():
        pytest.skip("schemathesis is not installed")
    command = [str(program), "run", f"{service.address}/openapi.json", "--max-examples", "15"]
    command += ["--workers", "1", "--phases", "examples,fuzzing", "--seed", "1", "--request-timeout", "60"]
    command += ["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]
    command += ["--checks", "response_schema_conformance", "--exclude-path", "/metrics"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:]
