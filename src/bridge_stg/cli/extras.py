"""What to install when a command needs a library that this installation lacks."""

from __future__ import annotations

# Name in ``import`` -> the extra that brings it. Of two extras, the one whose commands meet the library first.
EXTRA_OF = {
    "datasets": "data",
    "lxml": "data",
    "matplotlib": "data",
    "pandas": "data",
    "pebble": "data",
    "pyarrow": "data",
    "scipy": "data",
    "supervision": "data",
    "accelerate": "train",
    "peft": "train",
    "tensorboard": "train",
    "fastapi": "serve",
    "httpx2": "serve",
    "multipart": "serve",
    "prometheus_client": "serve",
    "uvicorn": "serve",
    "ray": "batch",
}


def missing_package(problem: ModuleNotFoundError) -> str | None:
    """The line that says what to install, or None when no extra brings what is missing."""
    package = (problem.name or "").partition(".")[0]
    extra = EXTRA_OF.get(package)
    if extra is None:
        return None
    return f"this needs {package}, which is not installed; pip install 'bridge-stg[{extra}]'"
