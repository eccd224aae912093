"""Results as files: tube.json, annotation formats, the annotated video."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from bridge_stg.curation.annotations.drawn_tubes import Format
from bridge_stg.curation.annotations.ground_results import read_results
from bridge_stg.curation.export import export_videos
from bridge_stg.errors import DataError, InputError
from bridge_stg.serve.schemas import ExportFormat, TubeResult
from bridge_stg.types import GroundingResult

# Of each format: the name of the file, and its media type.
FILES: dict[ExportFormat, tuple[str, str]] = {
    "tube": ("tube.json", "application/json"),
    "cvat": ("cvat.xml", "application/xml"),
    "labelstudio": ("labelstudio.json", "application/json"),
    "mot": ("mot.zip", "application/zip"),
    "coco-vid": ("coco-vid.json", "application/json"),
    "annotated": ("annotated.mp4", "video/mp4"),
}


def check_results(results: list[dict[str, Any]]) -> list[GroundingResult]:
    """What a client sends back as results.

    Raises:
        InputError: not a list of tube/1 objects, naming the place.
    """
    checked = []
    for number, result in enumerate(results):
        try:
            TubeResult.model_validate(result)
            checked.append(GroundingResult.from_json(result))
        except ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(f"results.{number}.{place}: {first['msg']}") from problem
        except (KeyError, TypeError, ValueError) as problem:
            raise InputError(f"results.{number}: not a tube/1 object ({problem})") from problem
    return checked


def exported(results: list[dict[str, Any]], name: ExportFormat) -> bytes:
    """The bytes of one file; a folder of MOTChallenge is a zip archive.

    Raises:
        InputError: the results cannot be used, or none has a window with boxes.
    """
    check_results(results)
    text = json.dumps(results, indent=2) + "\n"
    if name == "tube":
        return text.encode()
    with tempfile.TemporaryDirectory(prefix="bridge-stg-") as folder:
        source = Path(folder) / "tube.json"
        source.write_text(text, encoding="utf-8")
        file = "mot" if name == "mot" else FILES[name][0]
        try:
            report = export_videos(read_results(source), cast("Format", name), Path(folder) / file)
        except DataError as problem:
            raise InputError(str(problem).replace(f"{source}: ", "").replace(folder, "")) from problem
        if name != "mot":
            return report.files[0].read_bytes()

        root = Path(folder) / "mot"
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(root.rglob("*")):
                if path.is_file():
                    packed.write(path, path.relative_to(root))
        return archive.getvalue()


def draw(result: dict[str, Any], source: str, out: str) -> None:
    """Write the annotated video; runs in a process of its own."""
    from bridge_stg.inference.drawing import write_annotated

    write_annotated(GroundingResult.from_json(result), source, out)
