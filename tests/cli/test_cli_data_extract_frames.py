"""``bridge-stg data extract-frames`` as a person meets it: what it says, its exit code, and going on."""

from __future__ import annotations

import shutil
from pathlib import Path

from typer.testing import CliRunner

from bridge_stg.cli.data import app
from bridge_stg.training.data.frame_cache import FrameCache

runner = CliRunner()


def test_it_says_what_it_wrote_and_what_failed(shapes_data: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "frames"
    shutil.copytree(shapes_data, data)
    words = ["extract-frames", str(data), "--out", str(out), "--workers", "1", "--max-tokens", "4"]
    (data / "videos" / "000002.mp4").rename(data / "away.mp4")
    done = runner.invoke(app, words)
    assert done.exit_code == 1
    assert "no such file" in done.output
    assert "failed.jsonl" in done.output
    before = len(FrameCache(out))
    (data / "away.mp4").rename(data / "videos" / "000002.mp4")
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    cache = FrameCache(out)
    assert len(cache) > before
    assert f"{len(cache)} of {len(cache)} clips" in done.output
    assert f"BRIDGE_STG_FRAMES={out}" in "".join(done.output.split())
    # Nothing is left to do.
    again = runner.invoke(app, words)
    assert f"({len(cache)} of them before)" in again.output


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    done = runner.invoke(app, ["extract-frames", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x")])
    assert "data build" in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "x").exists()
