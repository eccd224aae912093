"""The files that the GOT-10k test server takes, from predictions of the vot task.

One folder per sequence, as the toolkit writes them: ``NAME/NAME_001.txt`` with one line
``left,top,width,height`` for each frame, of which the first is the given box, and ``NAME/NAME_time.txt`` with
seconds per frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import InputError, unwritable
from bridge_stg.files.output_files import write_whole
from bridge_stg.metrics.tube_overlaps import boxes_on_frames
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord


@dataclass(frozen=True)
class Submission:
    """``written`` sequences; ``left_out`` are the ids that have no usable answer, and so no file."""

    written: int
    left_out: tuple[str, ...]


def check_submission(records: Iterable[TruthRecord]) -> None:
    """See that the answers to ``records`` can be submitted, before they are asked.

    Raises:
        InputError: two records are about one sequence, or a record has no box to begin with.
    """
    names = set()
    for record in records:
        name = Path(record.video).stem
        if name in names:
            raise InputError(f"record {record.id!r}: the sequence {name} has a question already; keep one")
        names.add(name)
        _first_box(record)


def write_submission(
    folder: Path,
    records: Sequence[TruthRecord],
    predictions: Mapping[str, PredictionRecord],
    seconds_per_query: float | None = None,
) -> Submission:
    """Write the files of every vot record that has an answer.

    Args:
        folder: it comes to be, or files of the same names in it are replaced.
        seconds_per_query: mean seconds that a sequence took, which the server shows as speed; without it no
            file of times is written.

    Raises:
        InputError: two records are about one sequence, a record has no box to begin with, or the folder cannot
            be written.
    """
    check_submission(records)
    left_out = []
    for record in records:
        name = Path(record.video).stem
        prediction = predictions.get(record.id)
        if prediction is None or prediction.status != "ok" or not len(prediction.times):
            left_out.append(record.id)
            continue

        boxes = submitted_boxes(record, prediction)
        try:
            (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise unwritable(folder, problem, "give another --submission") from problem
        rows = (",".join(f"{value:.3f}" for value in row) for row in boxes.tolist())
        write_whole(folder / name / f"{name}_001.txt", "\n".join(rows) + "\n")
        if seconds_per_query is not None:
            line = f"{seconds_per_query / len(boxes):.8f}\n"
            write_whole(folder / name / f"{name}_time.txt", line * len(boxes))
    return Submission(len(records) - len(left_out), tuple(left_out))


def submitted_boxes(record: TruthRecord, prediction: PredictionRecord) -> NDArray[np.float64]:
    """(F, 4) left, top, width, height of every frame of the clip; the first is the given box."""
    boxes = boxes_on_frames(prediction, record, np.arange(*record.clip))
    boxes[0] = _first_box(record)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _first_box(record: TruthRecord) -> NDArray[np.float64]:
    """(4,) xyxy, which the tracker is given."""
    given, corners = record.boxes_within(record.clip)
    if not len(given) or given[0] != record.clip[0]:
        raise InputError(f"record {record.id!r}: has no box on the first frame of its clip to begin with")
    first: NDArray[np.float64] = corners[0]
    return first
