"""The five tasks, and parts of a video, on real files."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from support.taught import TAUGHT

from bridge_stg.errors import InputError
from bridge_stg.inference.clip_cost import ClipCost
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.types import GroundingResult, TimeSpan
from bridge_stg.video.sampling import sample_video

QUERIES = list(TAUGHT)
BEFORE = 37  # frames of something else in front of the clip: not a whole number of sampling steps


@pytest.fixture(scope="module")
def grounder(taught_checkpoint: Path) -> VideoGrounder:
    return VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu")


def encode(path: Path, frames: NDArray[np.uint8], rate: int) -> Path:
    """An mp4 without loss, so that the same picture is the same pixels wherever it stands."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv444p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def files(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, TimeSpan]:
    """The clip as a file of its own, inside a longer file, and where it is in that one."""
    folder = tmp_path_factory.mktemp("parts")
    fps = sample_video(clip).info.fps
    assert fps.denominator == 1
    frames = sample_video(clip, fps=float(fps)).frames
    rng = np.random.default_rng(0)
    other = rng.integers(0, 256, (BEFORE, *frames.shape[1:]), dtype=np.uint8)
    longer = np.concatenate([other, frames, other])
    rate = int(fps)
    span = TimeSpan(BEFORE / rate, (BEFORE + len(frames)) / rate)
    return encode(folder / "cut.mp4", frames, rate), encode(folder / "long.mp4", longer, rate), span


@pytest.mark.parametrize("box_fps", [None, 6.0])
def test_a_part_of_a_video_is_read_like_a_video_of_its_own(
    grounder: VideoGrounder, files: tuple[Path, Path, TimeSpan], box_fps: float | None
) -> None:
    cut, long, span = files
    expected = grounder.ground(cut, QUERIES, box_fps=box_fps)
    found = grounder.ground(long, QUERIES, box_fps=box_fps, clip=span)
    assert [result.answer for result in expected] == list(TAUGHT.values())
    for one, other in zip(found, expected, strict=True):
        assert (one.answer, one.status) == (other.answer, other.status)
        if other.window is None or other.tube is None:
            assert (one.window, one.tube) == (None, None)
            continue
        assert one.window is not None
        assert one.tube is not None
        # On the clock of the long file.
        assert one.window.start == pytest.approx(other.window.start + span.start)
        assert one.window.end == pytest.approx(other.window.end + span.start)
        assert one.tube.frames.tolist() == (other.tube.frames + BEFORE).tolist()
        np.testing.assert_allclose(one.tube.times, other.tube.times + span.start, atol=1e-9)
        np.testing.assert_allclose(one.tube.boxes, other.tube.boxes, atol=1e-3)


def test_without_the_part_the_answers_differ(
    grounder: VideoGrounder, files: tuple[Path, Path, TimeSpan]
) -> None:
    """The test above can fail: what stands before the clip is seen if nothing says otherwise."""
    answers = [result.answer for result in grounder.ground(files[1], QUERIES)]
    assert answers != list(TAUGHT.values())


def test_a_part_outside_the_video(grounder: VideoGrounder, clip: Path) -> None:
    with pytest.raises(InputError, match="outside the video"):
        grounder.ground(clip, QUERIES[0], clip=TimeSpan(90.0, 95.0))
    with pytest.raises(InputError, match=r"\[1\.00, 2\.00\)"):
        grounder.ground(clip, QUERIES[0], clip=TimeSpan(1.0, 2.0), window=TimeSpan(3.0, 4.0))


def test_vtg_has_a_window_and_no_boxes(grounder: VideoGrounder, clip: Path) -> None:
    said: list[str] = []
    result = grounder.ground(clip, QUERIES[0], task="vtg", progress=said.append)
    assert result.tube is None
    assert result.status in ("ok", "no_window", "empty_window")
    assert said == ["decode", "preprocess", "vision", "prefill", "answer"]


def test_the_task_is_part_of_the_question(grounder: VideoGrounder, clip: Path) -> None:
    """ "when" and "when and where" are other prompts; what was learned for one is not said to the other."""
    stvg, vqa = (grounder.ground(clip, QUERIES[0], task=task) for task in ("stvg", "vqa"))
    assert stvg.answer == TAUGHT[QUERIES[0]]
    assert vqa.answer != stvg.answer


def test_vot_has_a_box_on_every_sampled_frame(grounder: VideoGrounder, clip: Path) -> None:
    whole = grounder.ground(clip, "track the object at [1, 2, 300, 400]", task="vot")
    sampled = sample_video(clip, fps=2.0)
    assert (whole.status, whole.window) == ("ok", TimeSpan(0.0, sampled.info.duration))
    assert whole.tube is not None
    assert whole.tube.frames.tolist() == sampled.source_frames.tolist()
    part = TimeSpan(1.0, 2.5)
    inside = grounder.ground(clip, "track the object at [1, 2, 300, 400]", task="vot", clip=part)
    assert inside.window == part
    assert inside.tube is not None
    assert len(inside.tube) == 3  # 1.0, 1.5, 2.0


def test_a_sentence_that_gives_a_box_is_tracked(grounder: VideoGrounder, clip: Path) -> None:
    boxed = "track the object at [1, 2, 300, 400]"
    named = grounder.ground(clip, [boxed, boxed + " from 0.5 seconds"], task="vot", timing=False)
    assert grounder.ground(clip, [boxed, boxed + " from 0.5 seconds"]) == named
    # A task that is named stands, also with a window.
    assert grounder.ground(clip, boxed, task="vtg").tube is None
    assert grounder.ground(clip, boxed, task="stvg", window=(1.0, 2.0)).window == TimeSpan(1.0, 2.0)
    with pytest.raises(InputError, match="leave out the window"):
        grounder.ground(clip, boxed, window=(1.0, 2.0))


def test_sentences_with_and_without_a_box_are_asked_apart(grounder: VideoGrounder, clip: Path) -> None:
    boxed = "track the object at [1, 2, 300, 400]"
    with pytest.raises(InputError, match=r"\[1, 2, 300, 400\]"):
        grounder.ground(clip, [QUERIES[0], boxed])


def test_vot_without_a_box_is_refused_before_the_video_is_read(grounder: VideoGrounder, clip: Path) -> None:
    said: list[str] = []
    boxed = "the red circle at [1, 2, 300, 400]"
    with pytest.raises(InputError, match="'the red circle': names no box"):
        grounder.ground(clip, [boxed, "the red circle"], task="vot", progress=said.append)
    assert said == []


@pytest.mark.parametrize(
    "wrong",
    [
        "[10, 10, 200, 200] and [300, 300, 400, 400]",
        "[300, 300, 100, 100]",
        "[2000, 100, 3000, 200]",
        "[1, 2, 300, 400] from 99 seconds",
    ],
)
def test_a_box_that_cannot_be_tracked_is_refused(grounder: VideoGrounder, clip: Path, wrong: str) -> None:
    with pytest.raises(InputError):
        grounder.ground(clip, f"track the object at {wrong}", task="vot")


def test_rec_reads_one_frame_as_an_image(grounder: VideoGrounder, clip: Path, tmp_path: Path) -> None:
    everything = sample_video(clip, fps=100.0)
    frame, rate = 41, float(everything.info.fps)
    Image.fromarray(everything.frames[frame]).save(tmp_path / "frame.png")
    expected = grounder.ground(tmp_path / "frame.png", "the red circle")
    span = TimeSpan(frame / rate, (frame + 1) / rate)
    found = grounder.ground(clip, "the red circle", task="rec", clip=span, box_fps=50.0)
    assert found.answer == expected.answer
    assert found.window == span
    assert found.tube is not None
    assert expected.tube is not None
    assert found.tube.frames.tolist() == [frame]
    np.testing.assert_allclose(found.tube.boxes, expected.tube.boxes, atol=1e-3)
    # The frame before gives another box: it is this one that was read.
    other = grounder.ground(clip, "the red circle", task="rec", clip=TimeSpan(0.0, 1 / rate))
    assert other.tube is not None
    assert np.abs(other.tube.boxes - found.tube.boxes).max() > 1e-2


def test_vqa_is_an_answer_and_nothing_else(grounder: VideoGrounder, clip: Path) -> None:
    result = grounder.ground(clip, "what spins? (A) a star (B) a square", task="vqa")
    assert (result.status, result.window, result.tube) == ("ok", None, None)


def test_a_window_for_each_sentence(grounder: VideoGrounder, clip: Path) -> None:
    windows = [TimeSpan(0.0, 1.2), TimeSpan(2.0, 4.0)]
    together = grounder.ground(clip, QUERIES[:2], window=windows)
    for query, window, result in zip(QUERIES[:2], windows, together, strict=True):
        alone: GroundingResult = grounder.ground(clip, query, window=window)
        assert result.window == window
        assert result.tube is not None
        assert alone.tube is not None
        assert result.tube.frames.tolist() == alone.tube.frames.tolist()
        np.testing.assert_allclose(result.tube.boxes, alone.tube.boxes, atol=1e-3)
    with pytest.raises(InputError, match=r" 2 .* 1$"):
        grounder.ground(clip, QUERIES[:2], window=windows[:1])


def test_what_a_clip_took(grounder: VideoGrounder, clip: Path) -> None:
    costs: list[ClipCost] = []
    results = grounder.ground(clip, QUERIES, on_cost=costs.append)
    (cost,) = costs
    sampled, processor = grounder.sample(clip), grounder.processor
    grid = processor.patches(sampled.frames)[1]
    layout = processor.clip(grid, sampled.times)
    assert cost.frames == len(sampled)
    assert (cost.frame_height, cost.frame_width) == sampled.frames.shape[1:3]
    assert cost.source_fps == float(sampled.info.fps)
    video_token = processor.config.mllm.video_token_id
    assert cost.visual_tokens == int((layout.input_ids == video_token).sum())
    assert cost.prompt_tokens == tuple(
        len(layout.input_ids) + len(processor.question_ids("stvg", query)) for query in QUERIES
    )
    assert cost.answer_tokens == tuple(len(processor.plain_ids(TAUGHT[query])) for query in QUERIES)
    assert cost.located_frames == tuple(0 if r.tube is None else len(r.tube) for r in results)
    assert set(cost.milliseconds) == {
        "decode",
        "preprocess",
        "vision",
        "prefill",
        "answer",
        "bridge",
        "spatial",
    }


def test_half_precision_is_of_the_whole_model(
    grounder: VideoGrounder, taught_checkpoint: Path, clip: Path
) -> None:
    """What a GPU does by default: every weight in bfloat16, and boxes that are close all the same."""
    half = VideoGrounder.from_pretrained(str(taught_checkpoint), device="cpu", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.bfloat16}
    window = TimeSpan(1.0, 3.2)
    found, expected = (one.ground(clip, QUERIES[0], window=window).tube for one in (half, grounder))
    assert found is not None
    assert expected is not None
    assert found.frames.tolist() == expected.frames.tolist()
    # A random decoder's best query can flip; its objectness cannot move far.
    assert np.abs(found.scores - expected.scores).max() < 0.05
