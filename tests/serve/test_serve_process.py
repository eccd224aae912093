"""The service as a process: tokens, restarts, full queues, stops."""

from __future__ import annotations

import json
import signal
import sqlite3
from pathlib import Path

import httpx2 as httpx
import pytest
from support.processes import run_command
from support.service import running_service

from bridge_stg.client import Client

ASK = {"queries": ["an object moving down"]}


def test_a_killed_service_comes_back_with_its_answers_and_its_queue(
    tmp_path: Path, small_checkpoint: Path, clip: Path
) -> None:
    options = ("--queue", "2", "--token", "secret")
    with running_service(tmp_path / "state", small_checkpoint, *options) as first:
        with httpx.Client(base_url=first.address) as anyone:
            assert anyone.get("/health").status_code == 200
            response = anyone.get("/v1/about")
            assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
            assert anyone.get("/metrics").status_code == 401
        with Client(first.address, token="secret") as client:
            video = client.upload(clip)
            done = client.wait(client.submit(video, ["an object moving down"]))
            assert done.status == "done"

        # More than the queue holds, asked faster than they can be answered: each at another rate of boxes.
        headers = {"Authorization": "Bearer secret"}
        with httpx.Client(base_url=first.address, headers=headers) as http:
            answers = [
                http.post(f"/v1/videos/{video}/ground", json={**ASK, "options": {"box_fps": rate}})
                for rate in range(20, 30)
            ]
        busy = [answer for answer in answers if answer.status_code == 429]
        queued = [answer.json()["job"] for answer in answers if answer.status_code == 202]
        assert len(busy) + len(queued) == 10
        assert busy
        assert int(busy[0].headers["Retry-After"]) >= 1
        first.process.kill()

    with running_service(tmp_path / "state", small_checkpoint, *options) as second:
        with Client(second.address, token="secret") as client:
            again = client.job(done.id)
            assert (again.status, again.results) == ("done", done.results)
            assert [client.wait(job).status for job in queued] == ["done"] * len(queued)
        # A second one must not write into the same database.
        refused = run_command("serve", "--port", 0, "--folder", tmp_path / "state")
        assert (refused.poll(), len(refused.stderr.splitlines())) == (2, 1)
        assert second.stop(signal.SIGTERM) == 0
        assert second.process.stderr is not None
        assert second.process.stderr.read() == ""


def test_a_video_nobody_uses_is_deleted_and_its_answers_stay(
    tmp_path: Path, small_checkpoint: Path, clip: Path
) -> None:
    with (
        running_service(tmp_path / "state", small_checkpoint, "--keep", "0.001") as service,
        Client(service.address) as client,
    ):
        job = client.wait(client.submit(client.upload(clip), ["an object moving down"])).id
        with httpx.Client(base_url=service.address) as http:
            for _ in range(400):
                if not list((tmp_path / "state" / "videos").iterdir()):
                    break
                http.get("/health")
                import time

                time.sleep(0.05)
        assert list((tmp_path / "state" / "videos").iterdir()) == []
        assert client.job(job).status == "done"
    with sqlite3.connect(tmp_path / "state" / "jobs.sqlite") as db:
        assert db.execute("SELECT COUNT(*) FROM videos").fetchone() == (0,)
        stored = db.execute("SELECT results FROM jobs").fetchone()[0]
    assert json.loads(stored)[0]["schema"] == "bridge-stg/tube/1"


@pytest.mark.parametrize(
    "options",
    [["--checkpoint", "no/such/folder"], ["--method", "magic"], ["--host", "203.0.113.1"], ["--token", " "]],
)
def test_a_service_that_cannot_start_says_so_in_one_line(tmp_path: Path, options: list[str]) -> None:
    done = run_command("serve", "--port", 0, "--folder", tmp_path, *options)
    assert (done.poll(), done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.startswith("error: ")
