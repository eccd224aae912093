"""What many tests share: real mp4s of moving shapes, and small checkpoints that are really loaded from disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from support.shared_folder import made_once

# A busy machine is no reason to fail: what an example needs in seconds is not what is tested.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures that need torch, but not in the process that hands tests to others and runs none."""
    hands_out = bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")
    if not hands_out:
        for name in ("support.model_fixtures", "support.trainer_fixtures"):
            config.pluginmanager.import_plugin(name)


@pytest.fixture(scope="session")
def shapes_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three short videos and their truth.jsonl."""

    def make(folder: Path) -> None:
        from bridge_stg.shapes.world.objects import SceneSettings
        from bridge_stg.shapes.world.writer import write_shapes

        write_shapes(folder / "data", 3, 5, SceneSettings(width=96, height=72), workers=1)

    return made_once(tmp_path_factory, "shapes", make) / "data"


@pytest.fixture(scope="session")
def clip(shapes_data: Path) -> Path:
    return shapes_data / "videos" / "000000.mp4"


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The laptop-scale model, less deep, with random weights, as a folder."""

    def make(folder: Path) -> None:
        from support.learned_models import save_small_checkpoint

        save_small_checkpoint(folder / "random")

    return made_once(tmp_path_factory, "small", make) / "random"


@pytest.fixture(scope="session")
def taught_checkpoint(tmp_path_factory: pytest.TempPathFactory, small_checkpoint: Path, clip: Path) -> Path:
    """The same model after it has learned the answers of TAUGHT about one clip by heart."""

    def make(folder: Path) -> None:
        from support.learned_models import teach_checkpoint

        teach_checkpoint(small_checkpoint, clip, folder / "taught")

    return made_once(tmp_path_factory, "small-taught", make) / "taught"


@pytest.fixture(scope="session")
def tiny_qwen3_vl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stock Qwen3-VL of a few thousand parameters with random weights, as its hub folder."""

    def make(folder: Path) -> None:
        from support.learned_models import save_tiny_qwen3_vl

        save_tiny_qwen3_vl(folder / "random")

    return made_once(tmp_path_factory, "qwen3-vl", make) / "random"


@pytest.fixture(scope="session")
def taught_qwen3_vl(tmp_path_factory: pytest.TempPathFactory, tiny_qwen3_vl: Path, clip: Path) -> Path:
    """The same model after it has learned ZERO_SHOT_ANSWERS about one clip by heart."""

    def make(folder: Path) -> None:
        from support.learned_models import teach_qwen3_vl

        teach_qwen3_vl(tiny_qwen3_vl, clip, folder / "taught")

    return made_once(tmp_path_factory, "qwen3-vl-taught", make) / "taught"


# Names of a file that starts processes, and the fixture that is one.
PROCESSES = {"subprocess", "multiprocessing", "running_service", "run_command", "start_command", "run_ranks"}
# Fixtures that teach a model, and helpers that run a training.
TEACHES = {"taught_checkpoint", "taught_qwen3_vl"}
TRAINS = {"bridge", "pretrain", "train", "run_training"}
# Names of a file that writes real videos.
WRITES_VIDEOS = {"write_file", "write_video", "write_shapes", "VideoWriter"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test-fast` leaves out: processes, videos and learning.

    Files with long tests come first, so that no process has one of them left when the others are done.
    """
    for item in items:
        names = vars(getattr(item, "module", item))
        fixtures = set(getattr(item, "fixturenames", ()))
        if PROCESSES & names.keys() or "service" in fixtures:
            item.add_marker("process")
        if TEACHES & fixtures or TRAINS & names.keys():
            item.add_marker("learning")
        if WRITES_VIDEOS & names.keys() or "shapes_data" in fixtures:
            item.add_marker("video")

    slower = {item.path for item in items if any(map(item.get_closest_marker, ("process", "learning")))}
    items.sort(key=lambda item: item.path not in slower)
