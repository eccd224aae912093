"""The steps of a run on annotated videos: sources opened, clips in their order, unusable ones replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from bridge_stg.errors import DataError, InputError
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.records.open import open_truth
from bridge_stg.records.record import TruthRecord
from bridge_stg.training.configuration import DataConfig, RecordsConfig, TrainConfig
from bridge_stg.training.data.bad_clips import BadClips
from bridge_stg.training.data.batch import ClipBatch
from bridge_stg.training.data.cached_sampling import useless_caches
from bridge_stg.training.data.mixture import (
    WHOLE_STEP,
    ClipGroups,
    Mixture,
    MixtureSample,
    StepPass,
    TokenBudget,
    group_by_clip,
)
from bridge_stg.training.data.record_clips import record_clip
from bridge_stg.training.data.training_clip import TrainingClip, collate_clips

MOST_REPLACEMENTS = 20
_LOG = logging.getLogger(__name__)


class AnnotatedClips:
    """What the training loop asks for its batches when ``data.records`` is set.

    The loop asks for a share of a step with a stride; here that only says which process asks for which of its
    passes, and clips of equal length are dealt to the passes that stand side by side.

    Raises:
        DataError: a source, or a folder named in ``BRIDGE_STG_FRAMES``, cannot be read.
        InputError: the clips of a step cannot be dealt out evenly to ``parts`` (processes times accumulate).
    """

    def __init__(
        self, config: TrainConfig, processor: BridgeSTGProcessor, parts: int = 1, run_folder: Path | None = None
    ) -> None:
        self.config, self.processor, self.run_folder = config, processor, run_folder
        self.data = open_records(config.data, token_budget(processor))
        self.data.mixture.batch(0, StepPass(parts=parts))

        for folder in useless_caches(processor.config.sample_fps, processor.frame_size):
            _LOG.warning(
                "%s: its frames have another rate or size than this model reads, so videos are decoded; "
                "extract them with --fps, --max-tokens and --token-side of the model",
                folder,
            )

    def batch(self, step: int, share: slice = slice(None)) -> ClipBatch:
        """The model's inputs for the clips ``share`` of a step."""
        steps = self.config.optim.steps
        return build_record_batch(
            self.config.data, step, steps, self.processor, self._pass_of(share), self.run_folder
        )

    def names(self, step: int, share: slice = slice(None)) -> list[str]:
        """The source and the records of each of these clips (those in place of unusable ones are not told)."""
        return [self.data.name(sample) for sample in self.data.mixture.batch(step, self._pass_of(share))]

    def _pass_of(self, share: slice) -> StepPass:
        """The pass whose share begins at rank * accumulate + part."""
        everyone, index = share.step or 1, share.start or 0
        parts = self.config.optim.accumulate if everyone > 1 else 1
        rank, part = divmod(index, parts)
        return StepPass(rank, everyone // parts, part, parts)


class RecordClips:
    """The sources of a configuration, opened and put into their order.

    Raises:
        DataError: a source cannot be read, or holds no record of its split.
    """

    def __init__(self, config: DataConfig, budget: TokenBudget) -> None:
        if config.records is None:
            raise InputError("data.records is not set; give the sources of annotated videos")
        self.settings: RecordsConfig = config.records
        self.records: list[Sequence[TruthRecord]] = []
        self._paths: list[Callable[[TruthRecord], Path]] = []
        groups: list[ClipGroups] = []
        self.sources = self.settings.chosen
        root = Path(self.settings.root)

        for source in self.sources:
            videos = None if source.videos is None else root / source.videos
            opened = open_truth(root / source.path, videos)
            records = opened.records
            most = self.settings.sentences_per_clip

            try:
                groups.append(group_by_clip(records, budget, most, config.seed, source.split))
            except DataError as problem:
                raise DataError(f"source {source.name!r}: {problem}") from problem

            self.records.append(records)
            self._paths.append(opened.path)

        self.mixture = Mixture(
            groups,
            [source.weight for source in self.sources],
            config.seed,
            self.settings.clips_per_step,
            self.settings.clips_alike,
        )

    @property
    def clips(self) -> int:
        """How many clips there are in all."""
        return sum(map(len, self.mixture.groups))

    def asked(self, sample: MixtureSample) -> list[TruthRecord]:
        """The records of a sample."""
        records = self.records[sample.source]
        return [records[number] for number in self.mixture.groups[sample.source].records(sample.group)]

    def name(self, sample: MixtureSample) -> str:
        """What a sample is called in messages: its source and its records."""
        ids = ", ".join(record.id for record in self.asked(sample))
        return f"{self.sources[sample.source].name}: {ids}"

    def path(self, sample: MixtureSample, record: TruthRecord) -> Path:
        """Where its video, frames or picture lie."""
        return self._paths[sample.source](record)


def refuse_missing(config: TrainConfig) -> None:
    """Look for the files that a run will read, before gigabytes are loaded.

    Raises:
        DataError: with all data sets that are not there, and the held-out folder.
    """
    problems = []
    if config.data.records is not None:
        root = Path(config.data.records.root)
        lost = [
            source.name if source.name == source.path else f"{source.name} (folder {source.path})"
            for source in config.data.records.chosen
            if not (root / source.path).exists()
        ]

        if lost:
            problems.append(
                f"{root}: holds no {', '.join(lost)}; write them with bridge-stg data build or data "
                "synthesize, or train on those that are there with --set data.records.only=NAME,NAME"
            )

    held_out = config.validation.data if config.validation.wanted else None
    if held_out is not None and not (Path(held_out) / "truth.jsonl").is_file():
        problems.append(f"{held_out}: holds no truth.jsonl to validate on")
    if problems:
        raise DataError("; ".join(problems))


def build_record_batch(
    config: DataConfig,
    step: int,
    steps: int,
    processor: BridgeSTGProcessor,
    step_pass: StepPass = WHOLE_STEP,
    run_folder: Path | None = None,
) -> ClipBatch:
    """The model's inputs for one pass of a step.

    A clip that cannot be used is written down and replaced by the next longer one of its source, and so on:
    what a step trains on follows from (seed, step) and from the files alone.

    Args:
        config: with ``records`` set. steps: of the run; the order does not depend on it.
        run_folder: where unusable clips are written down; None keeps the count in this process.

    Raises:
        DataError: a source cannot be read, or more clips are unusable than ``max_bad_share`` allows.
        InputError: the clips of a step cannot be dealt out evenly.
    """
    data = open_records(config, token_budget(processor))
    bad = _bad_clips(data.settings.max_bad_share, data.clips, run_folder, step_pass.rank)
    samples = data.mixture.batch(step, step_pass)
    clips = [_usable(data, sample, step, config, processor, bad) for sample in samples]
    return collate_clips(clips, processor.pad_id)


@lru_cache(maxsize=2)
def open_records(config: DataConfig, budget: TokenBudget) -> RecordClips:
    """The sources of a configuration; opened once, and before worker processes are forked if called before."""
    return RecordClips(config, budget)


def token_budget(processor: BridgeSTGProcessor) -> TokenBudget:
    """How this model reads clips."""
    config = processor.config
    return TokenBudget(
        sample_fps=config.sample_fps,
        token_side=config.pixels_per_token_side,
        max_tokens_per_frame=config.max_tokens_per_frame,
        bridge_queries=config.query_slots,
    )


def _usable(
    data: RecordClips,
    sample: MixtureSample,
    step: int,
    config: DataConfig,
    processor: BridgeSTGProcessor,
    bad: BadClips,
) -> TrainingClip:
    """The clip of a sample or, if that cannot be used, of its first replacement that can."""
    source = data.sources[sample.source].name
    tries = min(MOST_REPLACEMENTS, len(data.mixture.groups[sample.source]))
    while True:
        records = data.asked(sample)
        path = data.path(sample, records[0])
        rng = np.random.default_rng([config.seed, 9, sample.source, sample.position, sample.attempt])

        try:
            return record_clip(records, path, rng, config, processor)
        except (InputError, OSError) as problem:
            ids = [record.id for record in records]
            bad.add(step, (step + 1) * data.settings.clips_per_step, source, ids, path, problem)
            if sample.attempt + 1 >= tries:
                raise DataError(
                    f"{tries} clips of source {source!r} in a row cannot be used; the last: {', '.join(ids)}: "
                    f"{problem}"
                ) from problem

            sample = data.mixture.replacement(sample)


@lru_cache(maxsize=4)
def _bad_clips(max_share: float, clips: int, folder: Path | None, rank: int) -> BadClips:
    return BadClips(max_share, clips, folder, rank)
