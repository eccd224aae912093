"""Results in the forms that other libraries work with: pandas, supervision, annotation files."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bridge_stg.curation.annotations.drawn_tubes import Format
from bridge_stg.curation.annotations.ground_results import read_results
from bridge_stg.curation.export import ExportReport, export_videos
from bridge_stg.geometry.spans import boxes_at
from bridge_stg.types import GroundingResult

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv

_COLUMNS = ("video", "query", "status", "start", "end", "confidence", "time", "frame", "score")
_CORNERS = ("x1", "y1", "x2", "y2")


def to_table(results: Iterable[GroundingResult]) -> pd.DataFrame:
    """One row per box; a result without boxes has one row with its status and nothing else.

    Columns: video, query, status, start and end (seconds), confidence, time (seconds), frame, score, and x1,
    y1, x2, y2 (pixels of the source frame).
    """
    import pandas as pd

    rows: list[tuple[object, ...]] = []
    for result in results:
        window = (None, None) if result.window is None else (result.window.start, result.window.end)
        about = (result.video, result.query, result.status, *window, result.confidence)
        tube = result.tube
        if tube is None or not len(tube):
            rows.append((*about, *[None] * 7))
            continue
        for time, frame, score, box in zip(tube.times, tube.frames, tube.scores, tube.boxes, strict=True):
            rows.append((*about, float(time), int(frame), float(score), *box.tolist()))
    table = pd.DataFrame.from_records(rows, columns=[*_COLUMNS, *_CORNERS])
    return table.astype({"frame": "Int64"})


def to_detections(results: Sequence[GroundingResult], time: float) -> sv.Detections:
    """What is where at one moment: a detection for each result whose window holds ``time``.

    ``tracker_id`` and ``class_id`` are the place of the result in ``results``, ``data["query"]`` its sentence.
    Boxes are interpolated linearly, in pixels of the source frame.
    """
    with warnings.catch_warnings():
        # It warns that OpenCV is absent, which this does not need.
        warnings.filterwarnings("ignore", message="OpenCV")
        import supervision as sv

    numbers: list[int] = []
    boxes, scores = [], []
    for number, result in enumerate(results):
        tube, window = result.tube, result.window
        if tube is None or window is None or not len(tube) or not window.start <= time < window.end:
            continue
        numbers.append(number)
        boxes.append(boxes_at(tube.times, tube.boxes, np.array([time]))[0])
        scores.append(float(np.interp(time, tube.times, tube.scores)))
    if not numbers:
        return sv.Detections.empty()
    return sv.Detections(
        xyxy=np.stack(boxes),
        confidence=np.array(scores),
        class_id=np.array(numbers),
        tracker_id=np.array(numbers),
        data={"query": np.array([results[number].query for number in numbers])},
    )


def write_results(results: Iterable[GroundingResult], name: Format, out: Path) -> ExportReport:
    """Write results for an annotation tool, as ``bridge-stg export`` does.

    Raises:
        DataError: no result has a window with boxes.
        InputError: ``out`` exists or does not fit the format.
    """
    with tempfile.TemporaryDirectory(prefix="bridge-stg-") as folder:
        source = Path(folder) / "tube.json"
        source.write_text(json.dumps([result.to_json() for result in results]), encoding="utf-8")
        return export_videos(read_results(source), name, out)
