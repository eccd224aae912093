"""Which part of which file a record asks about: one answer for prediction, training and the frame cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bridge_stg.curation.doctor.annotations import RecordFolder
from bridge_stg.curation.frame_extraction import clips_of
from bridge_stg.errors import DataError
from bridge_stg.records.part import (
    asked_frames,
    asked_span,
    clip_span,
    group_questions,
    of_first_videos,
    picture_times,
    true_windows,
)
from bridge_stg.records.record import TruthRecord, write_truth
from bridge_stg.training.data.mixture import TokenBudget, group_by_clip
from bridge_stg.types import TimeSpan

BOX = (1.0, 2.0, 3.0, 4.0)
REC = TruthRecord(
    id="q1",
    task="rec",
    video="a.mp4",
    fps=10.0,
    frame_count=100,
    clip=(0, 100),
    width=64,
    height=48,
    query="the cat",
    boxes={20: BOX},
)
TWO_BOXES = replace(REC, id="two", boxes={20: BOX, 21: BOX})
BUDGET = TokenBudget(sample_fps=2.0, token_side=32, max_tokens_per_frame=192, bridge_queries=8)


def cached(record: TruthRecord, folder: Path) -> object:
    write_truth(folder / "truth.jsonl", [record])
    return clips_of(RecordFolder(folder))


@pytest.mark.parametrize(
    "reader",
    [
        lambda record, _: asked_frames(record),
        lambda record, _: asked_span(record),
        lambda record, _: group_questions([record], "rec"),
        lambda record, _: group_by_clip([record], BUDGET, most=8, seed=0),
        cached,
    ],
    ids=["frames", "span", "prediction", "mixture", "frame cache"],
)
def test_a_rec_record_with_two_boxed_frames_is_refused_by_name(
    reader: Callable[[TruthRecord, Path], object], tmp_path: Path
) -> None:
    reader(REC, tmp_path)
    with pytest.raises(DataError, match="record 'two'"):
        reader(TWO_BOXES, tmp_path)


def test_the_frame_of_a_rec_record_is_that_of_its_box_or_its_clip() -> None:
    assert asked_frames(REC) == (20, 21)
    assert asked_span(REC) == TimeSpan(2.0, 2.0)
    assert asked_frames(replace(REC, boxes={}, clip=(7, 8))) == (7, 8)
    # With two boxes the clip decides, if it is one frame.
    assert asked_frames(replace(TWO_BOXES, clip=(20, 21))) == (20, 21)
    assert asked_span(replace(REC, media="image", frame_count=1, clip=(0, 1), boxes={0: BOX})) == TimeSpan(
        0.0, 0.0
    )


def test_the_part_of_other_tasks_is_the_clip_and_nothing_if_that_is_all() -> None:
    record = replace(REC, task="vot")
    assert asked_span(record) is None
    assert clip_span(record) == TimeSpan(0.0, 10.0)
    assert asked_span(replace(record, clip=(10, 90))) == TimeSpan(1.0, 9.0)


def test_true_windows_are_the_annotated_seconds_or_those_of_the_frames() -> None:
    record = replace(REC, task="vtg", boxes={}, windows=((10, 20), (30, 45)))
    assert true_windows(record) == (TimeSpan(1.0, 2.0), TimeSpan(3.0, 4.5))
    annotated = replace(REC, task="vtg", boxes={}, window=(10, 20), seconds=(1.04, 11.3))
    assert true_windows(annotated) == (TimeSpan(1.04, 11.3),)
    assert true_windows(REC) == ()


def test_only_a_folder_of_pictures_needs_times() -> None:
    assert picture_times(REC) is None
    pictures = replace(REC, media="frames", frame_count=3, clip=(0, 3), boxes={0: BOX})
    assert picture_times(pictures) == [0.0, 0.1, 0.2]


def test_the_first_videos_are_those_by_name_and_what_is_asked_keeps_its_order() -> None:
    records = [replace(REC, id=f"{number}", video=video) for number, video in enumerate("cabac")]
    assert [record.id for record in of_first_videos(records, 2)] == ["1", "2", "3"]
    assert of_first_videos(records, None) == of_first_videos(records, 9) == tuple(records)

    clips = of_first_videos(group_questions(records, "rec"), 1)
    assert [(clip.video, len(clip.records)) for clip in clips] == [("a", 2)]
