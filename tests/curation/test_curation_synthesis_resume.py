"""Many processes and interruptions change nothing: every byte is that of one process that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge_stg.curation.synthesis.run import SynthesisReport, synthesize
from bridge_stg.errors import InputError
from bridge_stg.records.record import TruthRecord, read_truth, write_truth
from bridge_stg.video.write import VideoWriter

WIDTH, HEIGHT, FRAMES, RATE, VIDEOS = 160, 120, 40, 10, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six noisy videos, which take a while to encode, and records of which two cannot be used."""
    place = tmp_path_factory.mktemp("synthesis")
    noise = np.random.default_rng(0)
    records = []
    for number in range(VIDEOS):
        with VideoWriter(place / f"{number}.mp4", WIDTH, HEIGHT, Fraction(RATE)) as writer:
            for _ in range(FRAMES):
                writer.write(noise.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
        records.append(
            TruthRecord(
                id=f"r{number}", task="vot", video=f"{number}.mp4", fps=float(RATE), frame_count=FRAMES,
                clip=(0, FRAMES), width=WIDTH, height=HEIGHT, query=f"thing {number}",
                boxes=dict.fromkeys(range(FRAMES), (1.0, 2.0, 30.0, 40.0)),
            )
        )  # fmt: skip
    short = replace(records[0], id="short", boxes={0: (1.0, 2.0, 30.0, 40.0)})
    # Its plan drops the first; the other fails when its video is opened.
    wrong = replace(records[1], id="wrong", width=WIDTH - 2)
    write_truth(place / "truth.jsonl", [*records, short, wrong])
    return place


def run(folder: Path, out: Path, **options: Any) -> SynthesisReport:
    return synthesize(read_truth(folder / "truth.jsonl"), lambda one: folder / one.video, out, **options)


def content(out: Path) -> dict[str, bytes]:
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in sorted(files.items())}


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes that nothing stops."""
    out = tmp_path_factory.mktemp("alone") / "out"
    assert run(folder, out).kept == VIDEOS
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    return content(out)


def test_two_processes_make_what_one_makes(folder: Path, tmp_path: Path, alone: dict[str, bytes]) -> None:
    report = run(folder, tmp_path / "out", workers=2)
    assert (report.kept, report.resumed, report.dropped.total()) == (VIDEOS, 0, 2)
    assert content(tmp_path / "out") == alone


@pytest.mark.parametrize("limit", [1, 5])
def test_a_limit_is_the_same_for_any_number_of_processes(folder: Path, tmp_path: Path, limit: int) -> None:
    one, two = (run(folder, tmp_path / str(n), limit=limit, workers=n) for n in (1, 2))
    assert content(tmp_path / "1") == content(tmp_path / "2")
    assert (one.kept, one.not_reached) == (two.kept, two.not_reached)
    assert one.kept == limit
    assert len(read_truth(tmp_path / "1" / "truth.jsonl")) == limit


def living(marker: str) -> list[int]:
    """Processes whose environment holds ``marker``."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (place / "environ").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_killed_half_way_and_gone_on_with(folder: Path, tmp_path: Path, alone: dict[str, bytes]) -> None:
    out, marker = tmp_path / "out", f"SYNTHESIS_TEST={tmp_path}"
    log = tmp_path / ".out.partial" / "made.jsonl"
    words = [
        "data",
        "synthesize",
        "--records",
        str(folder / "truth.jsonl"),
        "--out",
        str(out),
        "--workers",
        "2",
    ]
    name, _, value = marker.partition("=")
    child = subprocess.Popen(
        [sys.executable, "-m", "bridge_stg.cli.main", *words],
        env=os.environ | {name: value},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 100
    while not (log.is_file() and log.read_bytes().count(b"\n") >= 2):
        assert child.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not out.exists()
    # Its workers end too, instead of waiting for ever for a parent that is gone.
    while living(marker):
        assert time.monotonic() < deadline, "workers outlived the command"
        time.sleep(0.05)
    made = {json.loads(line)["number"] for line in log.read_bytes().split(b"\n")[:-1]}
    videos = log.parent / "data" / "videos"
    finished = {f"{number:06d}.mp4": (videos / f"{number:06d}.mp4").stat().st_mtime_ns for number in made}
    assert 2 <= len(finished) < VIDEOS
    # What a kill at other moments leaves: half of a line, half of a video that the log does or does not name.
    cut, *_ = sorted(finished)
    (videos / cut).write_bytes((videos / cut).read_bytes()[:-9])
    del finished[cut]
    (videos / "000123.mp4").write_bytes(b"half")
    (videos / ".000007.1.partial.mp4").write_bytes(b"half")
    (log.parent / "data" / "skipped.jsonl").write_text("half")
    with log.open("a") as handle:
        handle.write('{"number": 5, "by')
    report = run(folder, out, workers=1)
    assert report.resumed == len(finished)
    assert content(out) == alone
    for video, changed in finished.items():
        assert (out / "videos" / video).stat().st_mtime_ns == changed, "made again"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


class Stopped(KeyboardInterrupt):
    """In place of a person who presses Ctrl-C."""


def begun(folder: Path, out: Path, after: int = 3) -> None:
    """An unfinished run with ``after`` records done."""

    def stop(done: int, total: int) -> None:
        if done >= after:
            raise Stopped

    with pytest.raises(Stopped):
        run(folder, out, progress=stop)
    assert (out.parent / ".out.partial" / "made.jsonl").read_text()


def test_another_limit_goes_on_and_anything_else_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    begun(folder, out, after=5)
    with pytest.raises(InputError, match="another seed, other records"):
        run(folder, out, seed=1)
    with pytest.raises(InputError, match="remove"):
        synthesize(read_truth(folder / "truth.jsonl")[:-1], lambda one: folder / one.video, out)
    assert run(folder, out, limit=1).kept == 1
    run(folder, tmp_path / "fresh", limit=1)
    assert content(out) == content(tmp_path / "fresh")


def test_two_runs_do_not_make_the_same_folder(folder: Path, tmp_path: Path) -> None:
    def second(done: int, total: int) -> None:
        with pytest.raises(InputError, match="another run"):
            run(folder, tmp_path / "out")

    assert run(folder, tmp_path / "out", limit=1, progress=second).kept == 1
