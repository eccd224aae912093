"""What a checkpoint cannot know is said: words, length, style; frames in memory are a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bridge_stg.errors import InputError
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.inference.notes import length_note, unknown_words
from bridge_stg.inference.result_builder import longest_scan
from bridge_stg.model.configuration import BridgeSTGConfig
from bridge_stg.types import TimeSpan
from bridge_stg.video.sampling import sample_video

QUERY = "the first thing"


@pytest.fixture(scope="module")
def grounder(taught_checkpoint: Path) -> VideoGrounder:
    return VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")


def test_unknown_words_are_named_once() -> None:
    config = BridgeSTGConfig(domain_words=["the", "Red", "circle"])
    assert unknown_words("The man's red circle, (B) the man's 12 dogs", config) == ["man's", "dogs"]
    assert unknown_words("the man", BridgeSTGConfig()) == []


def test_a_clip_is_far_longer_from_one_and_a_half_times_on() -> None:
    config = BridgeSTGConfig(longest_clip=16.0)
    assert (len(length_note(24.0, config)), len(length_note(24.1, config))) == (0, 1)
    assert length_note(1e6, BridgeSTGConfig()) == ()


def test_a_style_it_was_not_trained_for(taught_checkpoint: Path, clip: Path) -> None:
    other = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    assert other.ground(clip, QUERY, answer="direct").notes == ()
    with pytest.raises(InputError):
        other.ground(clip, QUERY, answer="scan")
    other.processor.config.answer_styles = ["scan"]
    assert other.ground(clip, QUERY).answer_style == "scan"
    forced = other.ground(clip, QUERY, answer="direct")
    assert forced.answer.startswith("The event starts at")
    assert (forced.answer_style, len(forced.notes)) == ("direct", 1)


def test_the_longest_scan_grows_with_the_limit(grounder: VideoGrounder) -> None:
    short, long = (longest_scan(grounder.processor, limit) for limit in (128, 256))
    assert 0 < short < long < 256
    assert longest_scan(grounder.processor, 1) == 0


def test_a_scan_that_cannot_be_finished_says_so(taught_checkpoint: Path, clip: Path) -> None:
    other = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")
    other.processor.config.answer_styles = ["scan"]
    assert longest_scan(other.processor, 40) < 4.0 < longest_scan(other.processor, 256)
    short = other.ground(clip, QUERY, max_answer_tokens=40)
    assert sum("max_answer_tokens" in note for note in short.notes) == 1
    assert not any("max_answer_tokens" in note for note in other.ground(clip, QUERY).notes)


def test_an_answer_that_does_not_ask_where_has_no_boxes(
    grounder: VideoGrounder, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridge_stg.inference import grounder as module

    real = module.answer

    def silent(*given: object) -> object:
        answers = real(*given)  # type: ignore[arg-type]
        answers.asks_where = [False] * len(answers.ids)
        return answers

    monkeypatch.setattr(module, "answer", silent)
    free = grounder.ground(clip, QUERY)
    assert (free.status, free.tube, len(free.notes)) == ("ok", None, 1)
    assert free.window is not None
    forced = grounder.ground(clip, QUERY, task="stvg")
    assert forced.tube is not None
    assert grounder.ground(clip, QUERY, window=TimeSpan(0.0, 1.0)).tube is not None


def test_frames_in_memory_are_a_video(grounder: VideoGrounder, clip: Path) -> None:
    sampled = sample_video(clip, fps=2.0)
    from_file = grounder.ground(clip, QUERY)
    forms = (
        sampled.frames,
        list(sampled.frames),
        [Image.fromarray(frame) for frame in sampled.frames],
    )
    for frames in forms:
        found = grounder.ground(frames, QUERY, times=sampled.times)
        assert (found.status, found.window, found.answer) == ("ok", from_file.window, from_file.answer)
        assert found.tube is not None
        assert from_file.tube is not None
        np.testing.assert_allclose(found.tube.boxes, from_file.tube.boxes, atol=1e-3)
    picture = grounder.ground(Image.fromarray(sampled.frames[0]), QUERY)
    assert picture.window == TimeSpan(0.0, 1.0)


@pytest.mark.parametrize("video", [None, 3, b"bytes", np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 3), np.uint8)])
def test_what_is_no_video_is_refused(grounder: VideoGrounder, video: object) -> None:
    with pytest.raises(InputError):
        grounder.ground(video, QUERY)  # type: ignore[call-overload]
