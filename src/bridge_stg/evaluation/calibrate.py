"""Fit the confidence of a checkpoint, and when it should refuse, to questions with a known truth.

Every question that asks when and where is asked once in each style, and no answer may be a refusal at its
first word: so there is a window for each, and how probable the refusal was. From that follows what any
threshold would do. Other tasks have no styles and no refusals: a line is fitted to their answers as ``predict``
has them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from bridge_stg.errors import InputError
from bridge_stg.evaluation.confidence_line import DIGITS, apply_line, area_under_roc, fit_line
from bridge_stg.evaluation.methods import GrounderMethod, to_prediction
from bridge_stg.evaluation.task_scores import is_right, rule_of, score_queries
from bridge_stg.files.output_files import write_whole
from bridge_stg.inference.decoded_answers import NEVER
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.inference.options import GroundOptions
from bridge_stg.inference.refusal_check import is_seen
from bridge_stg.metrics.calibration import expected_calibration_error, reliability
from bridge_stg.metrics.moment_retrieval import window_overlaps
from bridge_stg.model.configuration import CALIBRATED, BridgeSTGConfig
from bridge_stg.records.part import ClipQuestions
from bridge_stg.types import AnswerStyle, Task

RIGHT = 0.5  # tIoU with one of the true windows
GREEDY = 0.5  # beside one other word, the likelier of the two


@dataclass(frozen=True)
class JudgedAnswers:
    """What came out for N questions; all (N,).

    ``video``: the number of its video. ``absent``: the event does not happen. ``refusal``: how probable it was
    that the answer refuses at its first word. ``refused``: it did so later. ``found``: it names a window.
    ``probability``: of that window, or of a later refusal, not calibrated. ``hit``: the window is right.
    ``seen``: a second look finds it, so that no refusal at the first word stands.
    """

    video: NDArray[np.int64]
    absent: NDArray[np.bool_]
    refusal: NDArray[np.float64]
    refused: NDArray[np.bool_]
    found: NDArray[np.bool_]
    probability: NDArray[np.float64]
    hit: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    def refused_from(self, threshold: float) -> NDArray[np.bool_]:
        """Which questions are refused at a threshold: the least probability of a refusal, (N,)."""
        return self.refused | ((self.refusal >= threshold) & ~self.seen)

    def shares(self, threshold: float) -> Shares:
        """Which shares of the absent and of the present events are refused at a threshold."""
        refused = self.refused_from(threshold)
        absent, present = (
            float(refused[rows].mean()) if rows.any() else None for rows in (self.absent, ~self.absent)
        )
        return Shares(absent, present)


@dataclass(frozen=True)
class Shares:
    """Which share of the absent and of the present events is refused; None where there are none."""

    absent: float | None
    present: float | None


@dataclass(frozen=True)
class LineFit:
    """Slope and offset fitted to ``n`` answers, of which a share is ``right``; None where no line fits.

    ``error``: the expected calibration error of a line that was fitted to the other half of the videos; None
    where none fits to one of the halves. ``area``: how often a right answer is surer than a wrong one; None
    without both.
    """

    line: tuple[float, float] | None
    n: int
    right: float
    error: float | None
    area: float | None


@dataclass(frozen=True)
class StyleFit:
    """What was found for one answer style; ``threshold`` None where greedy answers refuse as well."""

    style: AnswerStyle
    threshold: float | None
    greedy: Shares
    chosen: Shares
    windows: LineFit | None
    refusals: LineFit | None


def calibrate_style(
    grounder: VideoGrounder,
    videos: Path,
    clips: Sequence[ClipQuestions],
    style: AnswerStyle,
    most_refused: float | None = 0.05,
    on_clip: Callable[[int], None] | None = None,
) -> StyleFit:
    """Ask all questions in one style and fit to the answers; the grounder stays as it is.

    Args:
        videos: the folder of the clips. most_refused: share of present events that may be refused at most; None
            keeps the threshold of the configuration.
        on_clip: called with the number of clips done.
    """
    answers = ask_all(grounder, videos, clips, style, on_clip)
    kept = (grounder.processor.config.refusal_threshold or {}).get(style)
    return fit_style(style, answers, kept if most_refused is None else refusal_threshold(answers, most_refused))


def ask_all(
    grounder: VideoGrounder,
    videos: Path,
    clips: Sequence[ClipQuestions],
    style: AnswerStyle,
    on_clip: Callable[[int], None] | None = None,
) -> JudgedAnswers:
    """All questions in one style, without calibration and without refusals at the first word.

    A checkpoint that checks its refusals is asked in the other style as well.
    """
    config = grounder.processor.config
    least = config.refusal_check
    rows = []
    with _uncalibrated(config, dict.fromkeys(get_args(AnswerStyle), NEVER)):
        for done, (number, clip) in enumerate(_by_video(clips), start=1):
            times = None if clip.times is None else tuple(clip.times)
            asked = [style] if least is None else get_args(AnswerStyle)
            by_style = {
                one: grounder.ground_with(
                    videos / clip.video,
                    clip.queries,
                    GroundOptions(task=clip.task, answer=one, clip=clip.span, times=times),
                )
                for one in asked
            }

            for record, result, *looked in zip(clip.records, by_style[style], *by_style.values(), strict=True):
                overlaps = None if record.absent else window_overlaps(record, to_prediction(record, result))
                rows.append(
                    (
                        number,
                        record.absent,
                        result.absent_probability or 0.0,
                        result.status == "absent",
                        result.window is not None,
                        result.confidence or 0.0,
                        overlaps is not None and bool(overlaps[0].max() >= RIGHT),
                        least is not None
                        and result.window is not None
                        and is_seen([look.tube for look in looked], least),
                    )
                )

            if on_clip is not None:
                on_clip(done)

    return JudgedAnswers(*map(np.array, zip(*rows, strict=True)))


def _by_video(clips: Sequence[ClipQuestions]) -> list[tuple[int, ClipQuestions]]:
    """Each clip with the number of its video: what is asked about one video stays in one half of them."""
    numbers: dict[str, int] = {}
    return [(numbers.setdefault(clip.video, len(numbers)), clip) for clip in clips]


@contextmanager
def _uncalibrated(config: BridgeSTGConfig, thresholds: dict[str, float] | None = None) -> Iterator[None]:
    """Confidences as they are before anything was fitted; afterwards the configuration is as it was."""
    before = config.calibration, config.refusal_threshold, config.refusal_check
    config.calibration, config.refusal_threshold, config.refusal_check = None, thresholds, None
    try:
        yield
    finally:
        config.calibration, config.refusal_threshold, config.refusal_check = before


def fit_task(
    grounder: VideoGrounder,
    videos: Path,
    clips: Sequence[ClipQuestions],
    on_clip: Callable[[int], None] | None = None,
) -> LineFit | None:
    """A line for the answers of a task without styles; None where one half of the videos has none.

    Args:
        videos: the folder of the clips. clips: of one task. on_clip: called with the number of clips done.
    """
    method = GrounderMethod(grounder)
    video, probability, right = [], [], []
    with _uncalibrated(grounder.processor.config):
        for done, (number, clip) in enumerate(_by_video(clips), start=1):
            answers, _ = method.answer(videos, clip)
            values = score_queries(rule_of(clip.task, None), clip.records, answers).values
            for answer, row in zip(answers, values, strict=True):
                if answer.confidence is not None:
                    video.append(number)
                    probability.append(answer.confidence)
                    right.append(is_right(clip.task, row))
            if on_clip is not None:
                on_clip(done)
    return _fit(np.array(probability), np.array(right, dtype=np.bool_), np.array(video))


def fit_style(style: AnswerStyle, answers: JudgedAnswers, threshold: float | None) -> StyleFit:
    """A line for the windows and one for the refusals that a threshold leaves; None is the likelier word."""
    chosen = GREEDY if threshold is None else threshold
    refused = answers.refused_from(chosen)
    windows = answers.found & ~refused
    sure = np.where(answers.refusal >= chosen, answers.refusal, answers.probability)
    return StyleFit(
        style,
        threshold,
        greedy=answers.shares(GREEDY),
        chosen=answers.shares(chosen),
        windows=_fit(answers.probability[windows], answers.hit[windows], answers.video[windows]),
        refusals=_fit(sure[refused], answers.absent[refused], answers.video[refused]),
    )


def refusal_threshold(answers: JudgedAnswers, most_refused: float) -> float | None:
    """The lowest one by which at most a share of the present events is refused.

    None where it would be no better than greedy answers, or where nothing absent is asked.
    """
    present = np.sort(answers.refusal[~answers.absent & ~answers.refused & ~answers.seen])[::-1]
    later = int((answers.refused & ~answers.absent).sum())
    allowed = math.floor(most_refused * int((~answers.absent).sum())) - later
    if not answers.absent.any() or allowed < 0:
        return None

    # Between the surest present event that must not be refused and the next surer answer.
    barred = float(present[allowed]) if allowed < len(present) else 0.0
    above = answers.refusal[answers.refusal > barred]
    if not len(above):
        return None
    threshold = (barred + float(above.min())) / 2

    greedy, chosen = answers.shares(GREEDY), answers.shares(threshold)
    too_many = greedy.present is not None and greedy.present > most_refused
    better = (chosen.absent or 0.0) > (greedy.absent or 0.0)
    return threshold if better or too_many else None


def write_fits(
    folder: Path, fits: Sequence[StyleFit], of_tasks: Mapping[Task, LineFit | None] | None = None
) -> None:
    """Put what was fitted into ``config.json`` of a checkpoint; of other styles and tasks nothing changes.

    What has too few answers, or answers to which no line fits, keeps the line that it has.

    Args:
        of_tasks: what was found for tasks without styles.

    Raises:
        InputError: the file cannot be read or written.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise InputError(f"{path}: cannot be read ({problem})") from problem

    known = config.get("calibration")
    # One line alone is that of all styles and tasks.
    calibration = dict(known) if isinstance(known, dict) else dict.fromkeys(CALIBRATED, known) if known else {}
    thresholds = dict(config.get("refusal_threshold") or {})
    lines: dict[str, LineFit | None] = {str(task): fit for task, fit in (of_tasks or {}).items()}
    for fit in fits:
        lines[fit.style], lines[f"{fit.style} absent"] = fit.windows, fit.refusals
        thresholds.pop(fit.style, None)
        if fit.threshold is not None:
            # Four digits that count: zero would be no threshold.
            thresholds[fit.style] = float(f"{fit.threshold:.4g}")
    for kind, found in lines.items():
        if found is not None and found.line is not None:
            calibration[kind] = [round(value, DIGITS) for value in found.line]
    config["calibration"], config["refusal_threshold"] = calibration or None, thresholds or None
    write_whole(path, json.dumps(config, indent=2, sort_keys=True) + "\n")


def _fit(
    probability: NDArray[np.float64], right: NDArray[np.bool_], video: NDArray[np.int64]
) -> LineFit | None:
    """A line for some answers; None where there are none in one half of the videos."""
    halves = [video % 2 == half for half in (0, 1)]
    if not all(half.any() for half in halves):
        return None
    others = [fit_line(probability[~half], right[~half]) for half in halves]
    crossed = np.zeros(len(probability))
    for half, line in zip(halves, others, strict=True):
        if line is not None:
            crossed[half] = apply_line(line, probability[half])
    return LineFit(
        line=fit_line(probability, right),
        n=len(right),
        right=float(right.mean()),
        error=None if None in others else expected_calibration_error(reliability(crossed, right)),
        area=area_under_roc(probability, right),
    )
