"""CLEVRER: options of which any number are right, ids that restart in every scene, folders of a thousand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.built_folder import built, write

from bridge_stg.errors import InputError

COUNT: dict[str, Any] = {
    "question_id": 0,
    "question": "How many cubes are moving?",
    "question_type": "descriptive",
    "question_subtype": "count",
    "program": ["objects", "cube", "filter_shape", "count"],
    "answer": "2",
}


def options(*verdicts: str) -> list[dict[str, Any]]:
    return [
        {"choice_id": number, "choice": f"the presence of object {number}", "program": [], "answer": verdict}
        for number, verdict in enumerate(verdicts)
    ]


BLAME: dict[str, Any] = {
    "question_id": 1,
    "question": "Which of the following is responsible for the collision?",
    "question_type": "explanatory",
    "program": ["all_events"],
    "choices": options("wrong", "correct", "correct"),
}
NEXT = BLAME | {"question_id": 2, "question_type": "predictive", "choices": options("wrong", "wrong")}


def folder(root: Path, *questions: Any, scene: int = 0) -> Path:
    name = f"video_{scene:05d}.mp4"
    scenes = [{"scene_index": scene, "video_filename": name, "questions": list(questions)}]
    low = scene // 1000 * 1000
    write(root / f"video_train/video_{low:05d}-{low + 1000:05d}" / name, "a video")
    write(root / "train.json", scenes)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_words_and_options_with_any_number_of_right_ones(root: Path) -> None:
    data = built("clevrer", folder(root, COUNT, BLAME, NEXT), split="train")
    count, blame, following = data.records.values()
    assert (count.answer, count.choices, count.kind, count.category) == ("2", (), "descriptive", "count")
    assert (blame.labels, blame.choice, blame.answer) == ((False, True, True), None, None)
    assert blame.choices[2] == "the presence of object 2"
    assert following.labels == (False, False)
    assert (count.fps, count.frame_count, count.width, count.height) == (25.0, 128, 480, 320)
    assert count.video == "video_train/video_00000-01000/video_00000.mp4"
    read = {
        what: data.count("train", what)["read"] for what in ("questions", "predictive", "explanatory", "videos")
    }
    assert read == {"questions": 3, "predictive": 1, "explanatory": 1, "videos": 1}


def test_scenes_count_their_questions_from_0_again(root: Path) -> None:
    folder(root, COUNT, scene=9999)
    scenes = [
        {"scene_index": number, "video_filename": f"video_{number:05d}.mp4", "questions": [COUNT]}
        for number in (999, 1000, 9999)
    ]
    write(root / "train.json", scenes)
    records = built("clevrer", root, split="train", annotations_only=True).records
    assert [record.video for record in records.values()] == [
        "video_train/video_00000-01000/video_00999.mp4",
        "video_train/video_01000-02000/video_01000.mp4",
        "video_train/video_09000-10000/video_09999.mp4",
    ]
    assert list(records) == ["clevrer/train/999-0", "clevrer/train/1000-0", "clevrer/train/9999-0"]


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (COUNT | {"answer": "seven"}, "the answer is not one of CLEVRER's words"),
        (COUNT | {"question_type": "rhetorical"}, "an unknown type of question"),
        ({key: COUNT[key] for key in ("question", "question_type")}, "a field is missing"),
        (BLAME | {"choices": options("wrong", "maybe")}, "an option is neither correct nor wrong"),
        (BLAME | {"choices": []}, "an option is neither correct nor wrong"),
        (BLAME | {"choices": None}, "malformed"),
        ("How many?", "malformed"),
    ],
)
def test_a_bad_question_is_left_out_with_its_reason(question: Any, reason: str, root: Path) -> None:
    data = built("clevrer", folder(root, question, BLAME), split="train")
    assert data.skipped["clevrer/train/0-0"][0] == reason
    assert list(data.records) == ["clevrer/train/0-1"]


def test_a_scene_of_another_video_and_a_scene_that_is_none(root: Path) -> None:
    folder(root, COUNT)
    good = {"scene_index": 0, "video_filename": "video_00000.mp4", "questions": [COUNT]}
    write(
        root / "train.json",
        [good | {"scene_index": 1}, None, good, good | {"video_filename": "../video_00000.mp4"}],
    )
    data = built("clevrer", root, split="train")
    assert [reason for reason, _ in data.skipped.values()] == [
        "scene and video do not belong together",
        "malformed",
        "the same id twice",
    ]


def test_the_test_split_has_no_public_answers(root: Path) -> None:
    with pytest.raises(InputError, match=r"'test' .*not public"):
        built("clevrer", folder(root, COUNT), split="test")
