"""The tutorials run from their first cell to their last, in an empty folder. Run by `make tutorials`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nbclient", reason="nbclient is not installed")
pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def make_tutorials() -> Any:
    spec = importlib.util.spec_from_file_location("make_tutorials", DOCS / "make_tutorials.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(path.stem for path in (DOCS / "tutorials").glob("*.ipynb")))
def test_a_tutorial_runs(make_tutorials: Any, name: str, tmp_path: Path) -> None:
    notebook = make_tutorials.executed(DOCS / "tutorials" / f"{name}.ipynb", tmp_path)
    printed = [
        one["text"] for cell in notebook.cells for one in cell.get("outputs", []) if one.output_type == "stream"
    ]
    # A shell line that failed leaves its cell standing.
    assert [text for text in printed if "error: " in text or "Traceback" in text] == []
