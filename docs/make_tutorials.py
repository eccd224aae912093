"""Run the tutorials and write their outputs into them: ``python docs/make_tutorials.py [NAME ...]``.

Their test runs them the same way and keeps nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent / "tutorials"


def executed(path: Path, folder: Path) -> NotebookNode:
    """The notebook with its outputs, after it ran in ``folder``.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    # Its shell lines find the commands of the environment that runs it, and draw no moving bars.
    path_of_commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path_of_commands, "TTY_COMPATIBLE": "0", "COLUMNS": "110"}
    client = NotebookClient(
        notebook,
        timeout=600,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    return notebook


def main(names: list[str]) -> None:
    """Run the named tutorials, or all of them."""
    for path in [FOLDER / f"{name}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory(prefix="bridge-stg-tutorial-") as folder:
            notebook = executed(path, Path(folder))
        for cell in notebook.cells:
            # Bars and warnings of libraries say nothing to a reader.
            kept = [one for one in cell.get("outputs", []) if one.get("name") != "stderr"]
            if cell.cell_type == "code":
                cell.outputs = kept
        nbformat.write(notebook, path)
        print(f"wrote {path}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
