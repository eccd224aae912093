"""The base installation: what works without any extra, and what is said where one is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridge_stg.cli.extras import EXTRA_OF, missing_package

# The packages of the extras cannot be imported. httpx2 comes with the base too: the hub's library brings it.
ABSENT = sorted(EXTRA_OF.keys() - {"httpx2"})
WITHOUT_EXTRAS = f"""
import json, sys
sys.modules.update(dict.fromkeys({ABSENT!r}))
from typer.testing import CliRunner
from bridge_stg.cli.main import app

codes = dict()
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, command)
    codes[command[0]] = (done.exit_code, done.output)
print(json.dumps(codes))
"""


@pytest.mark.process
def test_one_video_needs_no_extra_and_other_commands_say_which(tmp_path: Path) -> None:
    tube = tmp_path / "demo" / "out" / "tube.json"
    commands = [
        ["demo", "--out", str(tmp_path / "demo")],
        ["cost", "--json"],
        ["export", str(tube), "--format", "cvat", "--out", str(tmp_path / "cvat")],
        ["data", "build", "vidstg", "--root", str(tmp_path), "--out", str(tmp_path / "built")],
        ["train", "shapes", "--out", str(tmp_path / "run")],
        ["serve"],
        ["batch", str(tmp_path), "--query", "something blinks", "--out", str(tmp_path / "answers")],
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, json.dumps(commands)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.keys() == {command[0] for command in commands}

    # What needs no extra.
    assert found["demo"][0] == 0, found["demo"]
    assert found["cost"][0] == 0, found["cost"]
    assert tube.is_file()
    assert (tube.parent / "annotated.mp4").is_file()

    # The others end as after bad input, with the extra's name.
    extras = {"export": "data", "data": "data", "train": "train", "serve": "serve", "batch": "batch"}
    for command, extra in extras.items():
        code, output = found[command]
        assert code == 2, (command, output)
        assert f"bridge-stg[{extra}]" in output, (command, output)


def test_only_packages_of_an_extra_are_told_with_one() -> None:
    assert "bridge-stg[data]" in str(missing_package(ModuleNotFoundError(name="pyarrow.parquet")))
    assert missing_package(ModuleNotFoundError(name="bridge_stg.no_such_room")) is None
    assert missing_package(ModuleNotFoundError()) is None
