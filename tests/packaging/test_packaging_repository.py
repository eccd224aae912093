"""What a clone weighs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bridge_stg.files.shipped import SHIPPED

ROOT = Path(__file__).parents[2]
# Bytes. The shipped weights are the one thing that has to be large; the second number is for one checkpoint.
LARGEST_FILE = 1_000_000
LARGEST_CHECKPOINT = 20_000_000


def test_no_file_is_larger_than_it_must_be() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    tracked = [ROOT / name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]
    weights = ROOT / "src" / "bridge_stg" / "checkpoints"

    others = [path for path in tracked if not path.is_relative_to(weights)]
    assert [path.name for path in others if path.stat().st_size > LARGEST_FILE] == []

    sizes: dict[Path, int] = {}
    for path in tracked:
        if path.is_relative_to(weights):
            sizes[path.parent] = sizes.get(path.parent, 0) + path.stat().st_size
    assert {folder.name for folder in sizes} == set(SHIPPED)
    assert max(sizes.values()) <= LARGEST_CHECKPOINT
