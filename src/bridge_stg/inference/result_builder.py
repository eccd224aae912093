"""What was answered and found about a sentence, as the result that callers get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bridge_stg.inference.answer_outcome import AnswerOutcome
from bridge_stg.inference.confidence import (
    answer_probability,
    calibrate,
    choice_probability,
    expected_overlaps,
    scan_probability,
    window_probabilities,
)
from bridge_stg.inference.decoded_answers import AskedQueries, DecodedAnswer
from bridge_stg.inference.notes import (
    NO_BOXES,
    TAKEN_BACK,
    cut_note,
    domain_note,
    length_note,
    scan_note,
    words_note,
)
from bridge_stg.inference.tracked import AGREES, given_overlap
from bridge_stg.inference.tubes import part_of
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.prompting.parsing import says_absent, split_reasoning
from bridge_stg.prompting.templates import scan_text, seen_text, windows_text
from bridge_stg.types import (
    LOCATED_TASKS,
    GroundingResult,
    SampledVideo,
    ScoredSpan,
    TimeSpan,
    Tube,
)


@dataclass(frozen=True)
class ResultBuilder:
    """Results about one clip, ``extent`` on the clock of the file."""

    processor: BridgeSTGProcessor
    checkpoint: str
    video: str
    asked: AskedQueries
    sampled: SampledVideo
    extent: TimeSpan

    def __call__(
        self,
        query: str,
        answer: DecodedAnswer,
        outcome: AnswerOutcome,
        tube: Tube | None,
        timing_ms: dict[str, float],
    ) -> GroundingResult:
        """The result for one sentence, its surest window first."""
        reasoning, point = split_reasoning(answer.text) if self.asked.style else ("", answer.text)
        agreement = self._agreement(query, tube)
        windows = self._scored(answer, reasoning, outcome, tube, agreement)

        confidence = windows[0].score if windows else None
        if outcome.status == "absent":
            confidence = self._calibrated(_refusal_probability(answer, reasoning), absent=True)
        elif self.asked.task == "vqa":
            confidence = self._calibrated(choice_probability(answer.pieces, answer.log_probs))

        return GroundingResult(
            video=self.video,
            query=query,
            status=outcome.status,
            answer=point,
            info=self.sampled.info,
            sampled_fps=self.sampled.sampled_fps,
            checkpoint=self.checkpoint,
            window=windows[0].span if windows else None,
            tube=tube,
            timing_ms=timing_ms,
            notes=self._notes(query, answer, outcome, tube, agreement),
            windows=windows,
            confidence=confidence,
            answer_style=self.asked.style,
            reasoning=reasoning,
            absent_probability=answer.refusal if self.asked.style else None,
        )

    def _scored(
        self,
        answer: DecodedAnswer,
        reasoning: str,
        outcome: AnswerOutcome,
        tube: Tube | None,
        agreement: float | None,
    ) -> tuple[ScoredSpan, ...]:
        """The windows with their confidences, best first; of equals in the order of the answer."""
        likely: Sequence[float] = [1.0] * len(outcome.windows)  # a window that is given is not the model's
        if outcome.spoken:
            pieces = [self.asked.opening, *answer.pieces]
            if self.asked.style == "direct":
                happens = 1.0 - (answer.refusal or 0.0)
                overlaps = expected_overlaps(pieces, [(), *answer.alternatives], outcome.spoken)
                likely = [happens * overlap for overlap in overlaps]
            else:
                likely = window_probabilities(pieces, [0.0, *answer.log_probs], reasoning, outcome.spoken)

        found = []
        for window, probability in zip(outcome.windows, likely, strict=True):
            if tube is not None:
                probability *= float(part_of(tube, window).scores.mean())
                probability *= 1.0 if agreement is None else agreement
            score = None
            if outcome.spoken or tube is not None:
                score = self._calibrated(probability)
            found.append(ScoredSpan(window, score))
        return tuple(sorted(found, key=lambda one: -(one.score or 0.0)))

    def _agreement(self, query: str, tube: Tube | None) -> float | None:
        """How well the tube begins where an object to track was given; None where nothing is tracked."""
        if tube is None or self.asked.task != "vot":
            return None
        return given_overlap(query, tube, self.sampled.info, self.extent)

    def _calibrated(self, probability: float, absent: bool = False) -> float:
        """The confidence of a window or choice, or of a refusal."""
        kind = self.asked.style or self.asked.task
        return calibrate(probability, self.processor.config.calibration_of(kind, absent))

    def _notes(
        self,
        query: str,
        answer: DecodedAnswer,
        outcome: AnswerOutcome,
        tube: Tube | None,
        agreement: float | None,
    ) -> tuple[str, ...]:
        """What a person should know: of the video, of the checkpoint, of the answer itself."""
        config, asked, seconds = self.processor.config, self.asked, self.extent.length
        notes = [*self.sampled.notes, *domain_note(config), *words_note(query, config)]
        notes += length_note(seconds, config)

        if asked.opening:
            notes.append(f"the checkpoint was not trained to answer in the style {asked.style}")
        if asked.style == "scan":
            notes += scan_note(seconds, longest_scan(self.processor, asked.limit), asked.limit)
        notes += cut_note(answer.is_cut, asked.limit)
        if answer.times_seen > 1:
            notes.append(f"the scan sees it {answer.times_seen} times; each was asked for its window")
        if answer.taken_back:
            notes.append(TAKEN_BACK)
        if outcome.status == "absent" and not says_absent(split_reasoning(answer.text)[1]):
            notes.append("the scan saw it in no second, so the window that the answer names does not count")
        if outcome.windows and tube is None and asked.task in LOCATED_TASKS:
            notes.append(NO_BOXES)
        if agreement is not None and agreement < AGREES:
            notes.append(
                f"the tube does not begin at the given box (IoU {agreement:.2f}): it may follow something else"
            )
        return tuple(notes)


def _refusal_probability(answer: DecodedAnswer, reasoning: str) -> float:
    """Of a scan that of its words; a refusal that comes at once is decided by its first one."""
    if reasoning:
        return scan_probability(answer.pieces, answer.log_probs)
    return answer_probability(answer.log_probs) if answer.refusal is None else answer.refusal


def longest_scan(processor: BridgeSTGProcessor, limit: int) -> float:
    """Seconds of the longest clip, about, that can be told second by second in ``limit`` tokens."""
    around = f"{scan_text('red triangle', 'moves left', [])} {seen_text(88, 88)} "
    around += windows_text([TimeSpan(88.8, 88.9)])
    left = limit - len(processor.plain_ids(around))
    # A scan has a word for each pair of frames.
    return max(left, 0) / len(processor.plain_ids(" 88 before")) * 2 / processor.config.sample_fps
