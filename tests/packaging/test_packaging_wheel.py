"""What is installed: the wheel's content and size, and that everything imported is declared."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bridge_stg.cli.extras import EXTRA_OF

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "bridge_stg"
SHIPPED = PACKAGE / "checkpoints" / "shapes"
MEGABYTES = 45
EXTRAS = ("data", "train", "serve", "batch")
# Parts of a declared package's own interface.
COMES_WITH_IT = {"starlette", "pandas", "pydantic-core"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def package_files() -> list[Path]:
    return [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def imported(folder: Path) -> set[str]:
    """Top-level names of other packages that a file, or the files of a folder, import anywhere."""
    names: set[str] = set()
    for path in [folder] if folder.is_file() else folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"bridge_stg"}


def declared(*extras: str) -> set[str]:
    """Names of the packages that are always needed, and of those that the extras add."""
    optional = PROJECT["optional-dependencies"]
    wanted = [Requirement(line) for line in PROJECT["dependencies"]]
    waiting = list(extras)
    while waiting:
        for requirement in map(Requirement, optional[waiting.pop()]):
            # An extra can bring another one: "bridge-stg[data]".
            if requirement.name == PROJECT["name"]:
                waiting.extend(requirement.extras)
            else:
                wanted.append(requirement)
    return {canonicalize_name(requirement.name) for requirement in wanted}


def needed(*folders: Path) -> set[str]:
    owners = packages_distributions()
    return {
        canonicalize_name(owner) for folder in folders for name in imported(folder) for owner in owners[name]
    }


def test_everything_imported_is_declared_and_everything_declared_is_imported() -> None:
    everything = needed(PACKAGE)
    # Weights are safetensors by contract; FastAPI reads uploads with python-multipart, TensorBoard's files are
    # written through torch.
    assert declared(*EXTRAS) <= everything | {"safetensors", "python-multipart", "tensorboard"}
    assert everything <= declared(*EXTRAS) | COMES_WITH_IT

    # The rooms that finding sentences in one video walks through, and those of each door.
    one_video = ("types.py", "geometry", "video", "prompting", "losses", "inference", "zero_shot")
    assert needed(*(PACKAGE / room for room in one_video)) <= declared()
    for extra, room in (
        ("data", "records"),
        ("data", "metrics"),
        ("data", "curation"),
        ("train", "training"),
        ("train", "shapes"),
    ):
        assert needed(PACKAGE / room) <= declared(extra) | COMES_WITH_IT, room
    for door in ("serve", "batch"):
        assert needed(PACKAGE / door) <= declared(door) | COMES_WITH_IT, door


def test_every_package_of_an_extra_is_told_with_the_extra_that_brings_it() -> None:
    owners = packages_distributions()
    for package, extra in EXTRA_OF.items():
        if package in owners and package not in COMES_WITH_IT:
            assert canonicalize_name(owners[package][0]) in declared(extra) - declared(), package

    # The other way round: nothing of an extra is left out of the table.
    told = {canonicalize_name(owners[package][0]) for package in EXTRA_OF if package in owners}
    installed = {canonicalize_name(owner) for names in owners.values() for owner in names}
    assert (declared(*EXTRAS) - declared()) & installed <= told


def test_the_tested_set_pins_every_requirement_inside_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    extras = PROJECT["optional-dependencies"]
    assert {"train", "serve", "batch", "dev"} <= extras.keys()
    for text in [*PROJECT["dependencies"], *extras["train"], *extras["data"], *extras["dev"]]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            continue
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text


def test_the_package_is_typed_small_and_its_checkpoint_not_ignored() -> None:
    files = package_files()
    assert PACKAGE / "py.typed" in files
    assert sum(path.stat().st_size for path in files) <= MEGABYTES * 1e6
    # A file that git ignores is left out of the wheel without a word.
    shipped = [str(SHIPPED / name) for name in ("model.safetensors", "config.json")]
    answer = subprocess.run(
        ["git", "check-ignore", "--no-index", *shipped], cwd=ROOT, capture_output=True, text=True
    )
    if answer.returncode == 128:
        pytest.skip("not a git checkout")
    assert answer.stdout == ""


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size <= MEGABYTES * 1e6
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {name for name in names if name.startswith("bridge_stg/")}
    assert inside == {path.relative_to(PACKAGE.parent).as_posix() for path in package_files()}
    assert "bridge_stg/py.typed" in inside
    if SHIPPED.is_dir() and any(SHIPPED.iterdir()):
        assert {"config.json", "model.safetensors"} <= {
            name.rpartition("/")[2] for name in inside if name.startswith("bridge_stg/checkpoints/shapes/")
        }
    # Beside the package only its own description.
    assert all(".dist-info/" in name for name in names - inside)
