"""The examples run: those parts of them that need nothing but this package."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np

from bridge_stg.types import GroundingResult, ScoredSpan, TimeSpan, Tube, VideoInfo

EXAMPLES = Path(__file__).parents[2] / "examples"
RESULT = GroundingResult(
    video="a.mp4",
    query="one",
    status="ok",
    answer="",
    info=VideoInfo("a.mp4", 100, 50, Fraction(10), 4.0, 40),
    sampled_fps=2.0,
    checkpoint="shapes",
    window=TimeSpan(1.0, 2.5),
    tube=Tube(
        times=np.array([1.0, 2.0]),
        frames=np.array([10, 20]),
        boxes=np.array([[0.0, 0.0, 10.0, 10.0], [20.0, 10.0, 30.0, 20.0]]),
        scores=np.array([0.5, 0.75]),
    ),
    windows=(ScoredSpan(TimeSpan(1.0, 2.5), 0.5),),
)


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_python() -> None:
    for path in EXAMPLES.glob("*.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")


def test_fiftyone_gets_seconds_and_parts_of_the_frame() -> None:
    recipe = load("fiftyone_recipe")
    assert recipe.temporal_detections([RESULT]) == [{"label": "one", "seconds": (1.0, 2.5), "confidence": 0.5}]
    boxes = recipe.frame_boxes([RESULT])
    assert sorted(boxes) == [11, 21]
    assert boxes[21][0]["bounding_box"] == [0.2, 0.2, 0.1, 0.2]


def test_the_space_serves_the_page(tmp_path: Path) -> None:
    environment = os.environ | {"STATE": str(tmp_path), "PORT": "0", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "space_app.py")], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if " on http" in line)
        found = re.search(r":(\d+) ", line)
        assert found is not None
        page = httpx.get(f"http://127.0.0.1:{found[1]}/", headers={"Host": "name.example"})
        assert "<title>Bridge-STG" in page.text
    finally:
        process.kill()
        process.wait()
