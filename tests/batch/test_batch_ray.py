"""The command on a real Ray: stopped in the middle, given again, compared with the library.

Minutes on a busy machine, most of them for starting Ray: run by `make batch`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray", reason="ray is not installed")
pytestmark = pytest.mark.slow
QUERIES = ["an object moving down", "which white object grows?"]


def command(source: Path, out: Path, *options: str) -> list[str]:
    base = [sys.executable, "-m", "bridge_stg.cli.main", "batch", str(source), "--out", str(out)]
    asked = [part for query in QUERIES for part in ("--query", query)]
    return [*base, *asked, "--workers", "1", "--device", "cpu", *options]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def test_killed_and_given_again_it_asks_nothing_twice_and_loses_nothing(
    shapes_data: Path, tmp_path: Path
) -> None:
    out, environment = tmp_path / "out", os.environ | {"OMP_NUM_THREADS": "1"}
    source = tmp_path / "clips"
    source.mkdir()
    for clip in (shapes_data / "videos").iterdir():
        (source / clip.name).symlink_to(clip)
    (source / "broken.mp4").write_bytes(b"no video")

    # Killed with everything it started, as soon as there is an answer.
    first = subprocess.Popen(
        command(source, out, "--no-video"), env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 600
    while not lines(out / "journal.jsonl") and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    before = lines(out / "journal.jsonl")
    assert before

    second = subprocess.run(
        command(source, out, "--no-video", "--jsonl"), env=environment, capture_output=True, text=True
    )
    assert second.returncode == 1, second.stderr
    # Beside the rate, not a word of Ray's own.
    said = [line for line in second.stderr.splitlines() if " min left" not in line]
    assert len(said) == 1, second.stderr
    assert said[0].startswith("error: ")
    answers = lines(out / "tubes.jsonl")
    names = [answer["id"] for answer in answers]
    assert len(names) == len(set(names)) == 3 * len(QUERIES)
    # What was answered before the kill is there as it was.
    kept = {answer["id"]: answer for answer in answers}
    assert [kept[answer["id"]]["boxes"] for answer in before] == [answer["boxes"] for answer in before]
    assert {failed["query"] for failed in lines(out / "failed.jsonl")} == set(QUERIES)

    from bridge_stg import VideoGrounder

    grounder = VideoGrounder.from_pretrained("shapes", device="cpu", threads=1)
    for clip in sorted((shapes_data / "videos").iterdir()):
        for wanted in grounder.ground_many(source / clip.name, QUERIES):
            found = next(one for one in answers if (one["video"], one["query"]) == (wanted.video, wanted.query))
            assert found["window"] == wanted.to_json()["window"]
            # Sentences that are asked together or alone differ by rounding.
            boxes = [[*one["box"], one["score"]] for one in found["boxes"]]
            right = [[*one["box"], one["score"]] for one in wanted.to_json()["boxes"]]
            np.testing.assert_allclose(boxes, right, atol=2e-3)

    third = subprocess.run(
        command(source, out, "--no-video", "--method", "qwen3-vl", "--checkpoint", "no/folder"),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert third.returncode == 2


@pytest.fixture
def cluster() -> Iterator[str]:
    """A cluster that is running already, and the address for its clients."""
    pytest.importorskip("grpc", reason="ray[client] is not installed")
    # A local Ray leaves a token in the home folder, and a cluster that finds one there asks its clients for it.
    unlocked = {"RAY_AUTH_MODE": "disabled"}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"} | unlocked
    store, clients = free_port(), free_port()
    # Sockets have short names.
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=1"]
    start += ["--include-dashboard=false", f"--port={store}", f"--ray-client-server-port={clients}"]
    head = subprocess.Popen(
        [*start, f"--temp-dir={folder}"],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not is_open(clients) and head.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    yield f"ray://127.0.0.1:{clients}"
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    shutil.rmtree(folder, ignore_errors=True)


# The door of a cluster for its clients, Ray's own, without the cluster behind it.
DOOR = """
import sys, time
from ray.util.client.server.proxier import serve_proxier
door = serve_proxier("127.0.0.1", int(sys.argv[1]), None)
print("open", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    """The address for clients of a cluster that asks for a token."""
    pytest.importorskip("grpc", reason="ray[client] is not installed")
    port = free_port()
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "right" * 8}
    door = subprocess.Popen(
        [sys.executable, "-c", DOOR, str(port)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert door.stdout is not None
    assert door.stdout.readline() == "open\n"
    yield f"ray://127.0.0.1:{port}"
    door.kill()
    door.wait()
    door.stdout.close()


@pytest.mark.parametrize(
    "given",
    [
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong" * 8},
    ],
)
def test_a_cluster_that_asks_for_a_token_is_not_called_missing(
    shapes_data: Path, tmp_path: Path, locked: str, given: dict[str, str]
) -> None:
    clip = min((shapes_data / "videos").iterdir())
    # No token in the home folder either.
    environment = os.environ | {"HOME": str(tmp_path), "RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "1"} | given
    done = subprocess.run(
        command(clip, tmp_path / "out", "--no-video", "--address", locked),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    (said,) = done.stderr.splitlines()
    assert "authentication token" in said
    assert "RAY_AUTH_TOKEN" in said
    assert "no Ray there" not in said


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def is_open(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def test_a_client_of_a_cluster_gets_the_same_answers(shapes_data: Path, tmp_path: Path, cluster: str) -> None:
    clip = min((shapes_data / "videos").iterdir())
    out = tmp_path / "out"
    done = subprocess.run(
        command(clip, out, "--no-video", "--jsonl", "--address", cluster), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

    from bridge_stg import VideoGrounder

    grounder = VideoGrounder.from_pretrained("shapes", device="cpu", threads=1)
    wanted = {one.query: one.to_json()["window"] for one in grounder.ground_many(clip, QUERIES)}
    assert {one["query"]: one["window"] for one in lines(out / "tubes.jsonl")} == wanted
