"""``bridge-stg demo``: draw a clip, find a sentence in it, draw the answer; nothing is downloaded."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from bridge_stg.cli.prepare import check_writable

# A scene of the split that no training has seen, and one of the questions about it.
SEED = 15
QUERY = "which red shape spins?"
# Something else that happens in it.
OTHER_QUERY = "the orange triangle that moves up"


def demo(
    out: Annotated[Path, typer.Option(help="Write the clip, tube.json and the annotated video here.")] = Path(
        "demo"
    ),
    query: Annotated[str, typer.Option(help="Another sentence to look for in the clip.")] = QUERY,
) -> None:
    """Draw a clip of moving shapes, find a sentence in it with the shipped checkpoint, and draw the answer."""
    from bridge_stg.cli.ground import ground
    from bridge_stg.records.record import read_truth
    from bridge_stg.shapes.world.objects import SceneSettings
    from bridge_stg.shapes.world.writer import write_shapes

    check_writable(out)
    clip = out / "clip.mp4"
    with tempfile.TemporaryDirectory(prefix="bridge-stg-demo-") as folder:
        truth = write_shapes(Path(folder) / "data", 1, SEED, SceneSettings(split="test"), workers=1)
        records = read_truth(truth)
        out.mkdir(parents=True, exist_ok=True)
        # Under its final name only when it is whole.
        fresh = clip.with_suffix(".new")
        shutil.copyfile(truth.parent / records[0].video, fresh)
        os.replace(fresh, clip)

    ground(clip, [query], out=out / "out")
    print(f"drew {clip}")
    for record in records:
        if record.query == query and record.window is not None:
            start, end = (frame / record.fps for frame in record.window)
            print(f"the truth: from {start:.1f} to {end:.1f} s")
    print(f"ask it something else: bridge-stg ground {clip} '{OTHER_QUERY}'")
