"""The Dockerfile, where nothing builds it: what it copies and starts exists, and it says how it is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """(instruction, its words) in order; continued lines are one, comments are none."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def words_of(name: str) -> list[str]:
    return [words for instruction, words in instructions() if instruction == name]


def test_what_is_copied_is_there_and_enough_to_install() -> None:
    sources = {word for words in words_of("COPY") for word in words.split()[:-1]}
    assert all((ROOT / source).exists() for source in sources)
    # What the build of the package reads.
    assert {"pyproject.toml", "README.md", "LICENSE", "src"} <= sources


def test_it_serves_as_a_user_without_rights_and_says_whether_it_is_well() -> None:
    from bridge_stg.cli import main

    (entry,), (command,) = words_of("ENTRYPOINT"), words_of("CMD")
    words = re.findall(r'"([^"]+)"', entry + command)
    assert words[:2] == ["bridge-stg", "serve"]
    said = CliRunner().invoke(main.app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    assert all(word in said for word in words if word.startswith("--"))

    port = words[words.index("--port") + 1]
    assert words_of("EXPOSE") == [port]
    (health,) = words_of("HEALTHCHECK")
    assert f"127.0.0.1:{port}/health" in health
    assert words_of("USER")[-1] not in ("root", "0")
    assert words_of("VOLUME") == [words[words.index("--folder") + 1]]


def test_hadolint_has_nothing_to_say() -> None:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([str(program), str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
