"""The auto-annotation function of CVAT, driven by CVAT's own client against the running service."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.cvat_task import ATTRIBUTE, LABEL, TASK, CvatTask, running_task
from support.service import RunningService

from bridge_stg.geometry.clock import clock_of
from bridge_stg.types import GroundingResult

pytest.importorskip("cvat_sdk", reason="cvat-sdk is not installed")
EXAMPLE = Path(__file__).parents[2] / "examples" / "cvat_function.py"
QUERY = "an object moving down"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("cvat_function", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pictures(clip: Path) -> list[Image.Image]:
    from bridge_stg.video.decode import open_source

    source = open_source(clip)
    return [Image.fromarray(frame) for _, frame in source.read(list(range(source.info.frames)))]


def annotate(task: CvatTask, function: Any, cache: Path) -> dict[str, Any]:
    """What the client uploads to the task."""
    from cvat_sdk.auto_annotation import annotate_task
    from cvat_sdk.core import Client, Config

    with running_task(task), Client(task.address, config=Config(cache_dir=cache)) as client:
        annotate_task(client, TASK, function)
    (uploaded,) = task.uploaded
    return uploaded


def test_every_frame_of_the_window_gets_its_box(
    service: RunningService, example: Any, clip: Path, tmp_path: Path
) -> None:
    function = example.create(str(clip), QUERY, service.address)
    found: GroundingResult = function.result
    assert found.status == "ok"
    assert found.tube is not None
    assert found.window is not None

    frames = [(f"frame_{number:06d}.png", picture) for number, picture in enumerate(pictures(clip))]
    uploaded = annotate(CvatTask(frames), function, tmp_path)
    shapes = {shape["frame"]: shape for shape in uploaded["shapes"]}
    assert sorted(shapes) == list(range(*clock_of(found.info).frames_in(found.window)))
    for number, shape in shapes.items():
        assert (shape["type"], shape["label_id"], shape["source"]) == ("rectangle", LABEL, "auto")
        assert shape["attributes"] == [{"spec_id": ATTRIBUTE, "value": QUERY}]
        box = [np.interp(number, found.tube.frames, found.tube.boxes[:, side]) for side in range(4)]
        np.testing.assert_allclose(shape["points"], box, atol=1e-3)


def test_a_part_of_the_frames_is_known_by_its_names(
    service: RunningService, example: Any, clip: Path, tmp_path: Path
) -> None:
    function = example.create(str(clip), QUERY, service.address)
    window, fps = function.result.window, float(function.result.info.fps)
    middle = int((window.start + window.end) / 2 * fps)
    frames = pictures(clip)
    last = len(frames) - 1 if window.end < len(frames) / fps - 1 else 0
    task = CvatTask([(f"frame_{number:06d}.png", frames[number]) for number in (last, middle)])
    assert [shape["frame"] for shape in annotate(task, function, tmp_path)["shapes"]] == [1]


def test_other_pictures_and_videos_are_refused(
    service: RunningService, example: Any, clip: Path, tmp_path: Path
) -> None:
    from cvat_sdk.datasets.common import UnsupportedDatasetError

    from bridge_stg.errors import InputError

    function = example.create(str(clip), QUERY, service.address)
    picture = pictures(clip)[0]
    for name, image in (("holiday.png", picture), ("frame_000000.png", picture.resize((8, 8)))):
        with pytest.raises(InputError):
            annotate(CvatTask([(name, image)]), function, tmp_path / name)
    # Their client's rule, not ours: docs/cvat.md says what to do instead.
    with pytest.raises(UnsupportedDatasetError):
        annotate(CvatTask([("clip.mp4", picture)], kind="video"), function, tmp_path / "video")
