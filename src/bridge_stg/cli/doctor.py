"""``bridge-stg doctor``: what is installed, what is missing, what hardware there is. Asks no network."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True)
class MachineFinding:
    """One line of the report; ``ok`` is False when something a person asked for is not there."""

    section: str
    name: str
    value: str
    ok: bool = True


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Say what is installed, what is missing, and what hardware there is."""
    from bridge_stg.files.shipped import SHIPPED, shipped_folder

    checkpoints = [checkpoint_finding(shipped_folder(name)) for name in SHIPPED]
    findings = [*package_findings(), *checkpoints, *_hardware(), *_video()]
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False)
    for title in ("", "what", "found"):
        table.add_column(title)
    for finding in findings:
        # Text, not str: the brackets of "[train]" would be read as markup.
        cells = (Text(cell) for cell in (finding.section, finding.name, finding.value))
        table.add_row(*cells, style=None if finding.ok else "yellow")
    Console().print(table)
    missing = [finding for finding in findings if not finding.ok]
    print(f"{len(missing)} missing" if missing else "nothing is missing")


def package_findings() -> list[MachineFinding]:
    """Every requirement of the package, with the version found; what belongs to an extra says which."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    found = [
        MachineFinding("python", platform.python_implementation(), platform.python_version()),
        MachineFinding("package", "bridge-stg", version("bridge-stg")),
    ]
    for text in requires("bridge-stg") or []:
        requirement = Requirement(text)
        if requirement.name == "bridge-stg":
            continue  # an extra that brings another one
        extra = _extra_of(requirement.marker)
        section = f"extra [{extra}]" if extra else "package"
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            if extra:
                value = f"not installed (optional): pip install 'bridge-stg[{extra}]'"
            else:
                value = f"missing: pip install '{requirement.name}'"
            found.append(MachineFinding(section, requirement.name, value, ok=extra is not None))
            continue
        fits = requirement.specifier.contains(installed, prereleases=True)
        value = installed if fits else f"{installed}, but {requirement.specifier} is needed"
        found.append(MachineFinding(section, requirement.name, value, ok=fits))
    return found


def _extra_of(marker: object) -> str | None:
    """``train`` for the marker ``extra == "train"``; None for a plain requirement."""
    words = str(marker or "").replace("'", '"').split('"')
    return words[1] if words[0].strip().startswith("extra") else None


def checkpoint_finding(folder: Path) -> MachineFinding:
    """Is a checkpoint in ``folder``, and how large is it?"""
    absent = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if absent:
        value = f"missing: {folder} has no {' and no '.join(absent)}; reinstall bridge-stg"
        return MachineFinding("checkpoint", folder.name, value, ok=False)
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return MachineFinding("checkpoint", folder.name, f"{size / 2**20:.1f} MiB in {folder}")


def _hardware() -> list[MachineFinding]:
    import torch

    found = [
        MachineFinding("hardware", "machine", f"{platform.system()} {platform.machine()}"),
        MachineFinding("hardware", "cores", f"{os.cpu_count()} ({_usable_cores()} usable)"),
        MachineFinding("hardware", "memory", _memory()),
        MachineFinding(
            "hardware",
            "torch threads",
            f"{torch.get_num_threads()} (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')})",
        ),
    ]
    if not torch.cuda.is_available():
        return [
            *found,
            MachineFinding("hardware", "gpu", "none that torch can use; everything runs on the CPU"),
        ]
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        found.append(
            MachineFinding("hardware", f"gpu {index}", f"{device.name}, {device.total_memory / 2**30:.1f} GiB")
        )
    return found


def _usable_cores() -> int:
    # A container may own fewer cores than the machine shows; not every system can tell.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, ValueError, OSError):
        return "unknown"


def _video() -> list[MachineFinding]:
    """Can this installation read and write H.264, which the annotated video is written in?"""
    import av
    from av.codec import codecs_available

    versions = ", ".join(f"{name} {'.'.join(map(str, number))}" for name, number in av.library_versions.items())
    encoder = "libx264" in codecs_available
    return [
        MachineFinding("video", "ffmpeg libraries", versions),
        MachineFinding(
            "video", "H.264 encoder", "libx264" if encoder else "missing: install the av wheel", ok=encoder
        ),
    ]
