"""Best and worst cases: for each the sentence, what is wrong, and a film strip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import VideoError
from bridge_stg.evaluation.report.document import Block, Heading, Paragraph, Picture
from bridge_stg.evaluation.report.error_kinds import box_kinds, window_kinds
from bridge_stg.evaluation.report.examples import best_rows, worst_rows
from bridge_stg.evaluation.report.scored_queries import ScoredQueries, true_window, window_of
from bridge_stg.evaluation.report.strips import TRUTH_COLOR, Lane, draw_strip, pick_frames, read_frames
from bridge_stg.inference.lettering import Color
from bridge_stg.metrics.tube_overlaps import boxes_on_frames
from bridge_stg.records.prediction import PredictionRecord
from bridge_stg.records.record import TruthRecord

BASELINE_COLOR: Color = (190, 195, 202)
ANSWER_LETTERS = 240


def cases(
    scored: ScoredQueries,
    others: Mapping[str, tuple[Color, Mapping[str, PredictionRecord]]],
    videos: Path,
    best: int,
    worst: int,
    on_case: Callable[[int, int], None] | None = None,
) -> tuple[list[Block], int]:
    """The cases of the first run, drawn with every prediction set of ``others``.

    Args:
        scored: the run whose best and worst queries are shown.
        others: name -> colour and predictions by id, in drawing order after the truth; the run itself first.
        videos: the folder that the ``video`` of records is relative to.
        on_case: told (cases done, cases in all).

    Returns:
        The blocks, and how many cases have no picture because their video cannot be read; those say so.
    """
    kinds = _kinds(scored)
    # Of a handful of queries the better half is best; no query is shown twice.
    shown_best = min(best, len(kinds) // 2)
    bad = worst_rows(scored, kinds, min(worst, len(kinds) - shown_best))
    good = [row for row in best_rows(scored, len(kinds)) if row not in set(bad)][:shown_best]
    chosen = [("worst", row) for row in bad] + [("best", row) for row in good]
    blocks: list[Block] = []
    counts = {"worst": 0, "best": 0}
    unread = 0
    for number, (side, row) in enumerate(chosen, start=1):
        if not counts[side]:
            blocks += [Heading(2, f"{side.capitalize()} cases"), Paragraph(_introduction(side, scored), "note")]
        counts[side] += 1
        picture = _picture(scored, row, others, videos, f"{side}-{counts[side]}.jpg")
        blocks += [Heading(3, f"{counts[side]}. {_title(scored, row, kinds[row])}")]
        blocks += [Paragraph(scored.records[row].query, "quote"), picture]
        unread += isinstance(picture, Paragraph)
        blocks.append(Paragraph(_small_print(scored, row), "note"))
        if on_case is not None:
            on_case(number, len(chosen))
    return blocks, unread


def _introduction(side: str, scored: ScoredQueries) -> str:
    by = "tIoU" if scored.viou is None else "vIoU, then tIoU"
    if side == "best":
        return f"Highest {by}; at most one per video while there are enough."
    return (
        f"Lowest {by}; among equals the kinds of error take turns, frequent kinds first. The numbers over the "
        "bars are those of the frames; a dot on a frame says whose window holds it."
    )


def _kinds(scored: ScoredQueries) -> list[tuple[str, ...]]:
    windows = window_kinds(scored)
    if scored.viou is None:
        return [(window,) for window in windows]
    return [(window, boxes) for window, (boxes, _) in zip(windows, box_kinds(scored), strict=True)]


def _title(scored: ScoredQueries, row: int, kinds: tuple[str, ...]) -> str:
    said = {"good": "good window", "no window": "no window"}.get(kinds[0], f"window {kinds[0]}")
    if len(kinds) > 1 and kinds[1] != "no shared frame":
        said += {
            "good": ", good boxes",
            "loose": ", loose boxes",
            "wrong object": ", boxes on a wrong object",
            "no box": ", no box",
        }[kinds[1]]
    numbers = f"tIoU {scored.tiou[row]:.2f}"
    if scored.viou is not None:
        numbers += f", vIoU {scored.viou[row]:.2f}"
    return f"{said}: {numbers}"


def _small_print(scored: ScoredQueries, row: int) -> str:
    record, answer = scored.records[row], scored.answers[row]
    said = f"{record.id}, {record.video}, {record.qtype}."
    if answer is None:
        return f"{said} No prediction."
    words = " ".join(answer.text.split())
    cut = words if len(words) <= ANSWER_LETTERS else words[:ANSWER_LETTERS] + "..."
    return f'{said} Answer ({answer.status}): "{cut}"' if words else f"{said} Status {answer.status}."


def _picture(
    scored: ScoredQueries,
    row: int,
    others: Mapping[str, tuple[Color, Mapping[str, PredictionRecord]]],
    videos: Path,
    name: str,
) -> Picture | Paragraph:
    """The film strip, or a paragraph that says why there is none."""
    record = scored.records[row]
    true = true_window(record)
    answers = {label: (color, answers.get(record.id)) for label, (color, answers) in others.items()}
    windows = [window_of(answer) for _, answer in answers.values()]
    # The last set is the constant answer: its window says nothing about which frames matter.
    frames = pick_frames(record, [true, *windows[:-1]])
    try:
        pictures = read_frames(videos / record.video, frames, record)
    except VideoError as problem:
        return Paragraph(f"No picture: {problem}", "note")
    boxes = {frame: np.array(record.boxes[frame]) for frame in frames if frame in record.boxes}
    lanes = [Lane("truth", TRUTH_COLOR, true, boxes, weight=5)]
    for (label, (color, answer)), window in zip(answers.items(), windows, strict=True):
        weight = 1 if color == BASELINE_COLOR else 3
        # Boxes that are not asked for are not shown: nothing says whether they are right.
        drawn = {} if scored.viou is None else _boxes(record, answer, frames)
        lanes.append(Lane(label, color, window, drawn, weight))
    said = ", ".join(f"{lane.name} {lane.said}" for lane in lanes)
    alt = f"{len(pictures)} frames for: {record.query} - windows: {said}"
    return Picture(name, draw_strip(record, pictures, lanes), alt, wide=True)


def _boxes(
    record: TruthRecord, answer: PredictionRecord | None, frames: Sequence[int]
) -> dict[int, NDArray[np.float64]]:
    """The predicted box on those of ``frames`` that lie in the predicted window."""
    window = window_of(answer)
    if answer is None or window is None or not len(answer.times):
        return {}
    start, end = record.clock.frames_in(window)
    inside = [frame for frame in frames if start <= frame < end]
    if not inside:
        return {}
    boxes = boxes_on_frames(answer, record, np.array(inside, dtype=np.int64))
    return dict(zip(inside, boxes, strict=True))
