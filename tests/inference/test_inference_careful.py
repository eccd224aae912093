"""What several looks say together: tables worked by hand, and the engine beside its single looks."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.command import refused, run

from bridge_stg.errors import InputError
from bridge_stg.inference.careful import join_looks, readings_of, wants_boxes, with_boxes
from bridge_stg.inference.clip_cost import ClipCost
from bridge_stg.inference.grounder import VideoGrounder
from bridge_stg.inference.notes import NO_BOXES
from bridge_stg.inference.options import GroundOptions
from bridge_stg.types import GroundingResult, ScoredSpan, Status, TimeSpan, Tube, VideoInfo

INFO = VideoInfo("a.mp4", 10, 10, Fraction(2), 20.0, 40)


def look(*windows: tuple[float, float, float], status: Status = "ok", **changes: object) -> GroundingResult:
    spans = tuple(ScoredSpan(TimeSpan(start, end), score) for start, end, score in windows)
    one = GroundingResult("v", "q", status, "said", INFO, 2.0, "c", windows=spans)
    return replace(one, window=spans[0].span if spans else None, **changes)  # type: ignore[arg-type]


def absent(sure: float) -> GroundingResult:
    return look(status="absent", confidence=sure, notes=("refused",))


def found(result: GroundingResult) -> list[tuple[float, float, float]]:
    return [
        (round(one.span.start, 9), round(one.span.end, 9), round(one.score or 0.0, 9)) for one in result.windows
    ]


def join(*looks: GroundingResult, begin: float = 0.0) -> GroundingResult:
    """The first half of the looks is at the clip itself."""
    return join_looks(looks, (len(looks) + 1) // 2, begin)


def test_the_mean_of_windows_that_agree() -> None:
    looks = [look((2.0, 6.0, 0.9)), look((2.2, 6.4, 0.8), reasoning="seen"), look((1.8, 5.6, 0.7))]
    joined = join(*looks, look((9.0, 12.0, 0.95)), begin=1.0)
    # (2.0 + 2.2 + 1.8) / 3 and (6.0 + 6.4 + 5.6) / 3; 2.4 of four looks, of which one sees something else.
    assert found(joined) == [(2.0, 6.0, 0.6)]
    assert (joined.window, joined.confidence) == (joined.windows[0].span, joined.windows[0].score)
    # The clip begins at 1.
    assert joined.answer == "The event starts at 1.0 seconds and ends at 5.0 seconds."
    assert joined.reasoning == "seen"
    assert joined.notes == ("looks that have the best window: 3 of 4",)


def test_a_window_without_support_stands_only_where_there_is_no_other() -> None:
    apart = [look((0.0, 2.0, 0.5)), look((4.0, 6.0, 0.8)), look((8.0, 10.0, 0.6)), absent(0.9)]
    # Each agrees with itself alone; the surest one stands, and three looks speak against it.
    assert found(join(*apart)) == [(4.0, 6.0, 0.2)]
    two = [look((0.0, 2.0, 0.5)), look((0.0, 2.0, 0.3)), look((8.0, 10.0, 0.9)), absent(0.9)]
    assert found(join(*two)) == [(0.0, 2.0, 0.2)]


def test_both_times_of_an_event_though_a_short_answer_names_one() -> None:
    scans = [look((1.0, 3.0, 0.8), (7.0, 9.0, 0.6)), look((1.0, 3.0, 0.6), (7.2, 9.2, 0.4))]
    short = [look((1.0, 3.0, 0.9)), look((7.1, 9.1, 0.7))]
    joined = join(*short, *scans)
    # Nobody is silent: each look has one of the two. (0.9 + 0.8 + 0.6) / 3 and (0.7 + 0.6 + 0.4) / 3.
    assert found(joined) == [(1.0, 3.0, round(2.3 / 3, 9)), (7.1, 9.1, round(1.7 / 3, 9))]
    assert joined.answer.count("starts at") == 2


@pytest.mark.parametrize(
    ("refusals", "status", "confidence"),
    [(4, "absent", 0.8), (3, "absent", 0.6), (2, "ok", 0.25), (1, "ok", 0.375)],
)
def test_more_looks_refuse_than_agree(refusals: int, status: Status, confidence: float) -> None:
    looks = [absent(0.8)] * refusals + [look((1.0, 2.0, 0.5))] * (4 - refusals)
    joined = join(*looks)
    assert (joined.status, joined.confidence) == (status, pytest.approx(confidence))
    assert ("refused" in joined.notes) == (status == "absent")
    # How many agree is said unless all do.
    counted = sum("looks that" in note for note in joined.notes)
    assert counted == (refusals < 4)


def test_windows_that_do_not_agree_do_not_outvote_refusals() -> None:
    apart = [look((0.0, 2.0, 0.9)), look((8.0, 10.0, 0.9))]
    assert join(absent(0.8), absent(0.8), *apart).status == "absent"
    assert found(join(absent(0.8), apart[0], *apart)) == [(0.0, 2.0, 0.45)]


def test_looks_that_name_nothing() -> None:
    silent = look(status="no_window")
    assert join(*[silent] * 4) == silent
    assert join(silent, silent, absent(0.8), absent(0.8)).status == "absent"


def test_two_looks_stand_together_or_the_surer_one_does() -> None:
    # A checkpoint of one style, or a clip that is too short to be read again.
    apart = join(look((0.0, 2.0, 0.8)), look((5.0, 7.0, 0.9)))
    assert (found(apart), apart.notes) == ([(5.0, 7.0, 0.45)], ("looks that have the best window: 1 of 2",))
    assert found(join(look((0.0, 2.0, 0.8)), look((0.2, 2.2, 0.9)))) == [(0.1, 2.1, 0.85)]
    assert found(join(look((0.0, 2.0, 0.8)), absent(0.9))) == [(0.0, 2.0, 0.4)]
    assert found(join(look((0.0, 2.0, 0.8), (4.0, 5.0, 0.6)))) == [(0.0, 2.0, 0.8)]


def test_words_are_of_the_looks_that_agree() -> None:
    """Of a scan at a later reading the seconds are others: its reasoning is left out."""
    one, other = look((2.0, 4.0, 0.9), notes=("one",)), look((7.0, 9.0, 0.9), notes=("other", NO_BOXES))
    first = replace(one, reasoning="at the clip", answer_style="scan")
    later = replace(one, reasoning="later", notes=("later", NO_BOXES))
    joined = join(one, first, other, later)
    assert (joined.reasoning, joined.answer_style) == ("at the clip", "scan")
    assert joined.notes == ("one", "looks that have the best window: 3 of 4")
    assert join(one, other, later, one).reasoning == ""

    # A look without boxes says nothing of those that were found.
    tube = Tube(np.array([2.0]), np.array([4]), np.zeros((1, 4)), np.array([0.5]))
    bare = replace(joined, notes=("one", NO_BOXES))
    assert (with_boxes(bare, tube).notes, with_boxes(bare, None).notes) == (("one",), ("one", NO_BOXES))
    assert wants_boxes(joined, [one, replace(first, tube=tube)])
    assert not wants_boxes(joined, [one, first])
    assert not wants_boxes(absent(0.9), [replace(first, tube=tube)])


@pytest.fixture(scope="module")
def grounder() -> VideoGrounder:
    return VideoGrounder.from_pretrained("shapes", device="cpu", threads=1)


def test_the_engine_joins_its_own_looks(grounder: VideoGrounder, shapes_data: Path) -> None:
    lines = map(json.loads, (shapes_data / "truth.jsonl").read_text().splitlines())
    records = [one for one in lines if one["task"] == "stvg" and one["video"] == "videos/000000.mp4"]
    path, queries = shapes_data / "videos" / "000000.mp4", [one["query"] for one in records]
    costs: list[ClipCost] = []
    careful = grounder.ground_with(path, queries, GroundOptions(careful=True), on_cost=costs.append)

    # The same looks one by one; the second reading is a clip that begins half a frame later.
    whole = TimeSpan(0.0, records[0]["frame_count"] / records[0]["fps"])
    single, taken = [], []
    for part in readings_of(whole, 2.0):
        for style in ("direct", "scan"):
            options = GroundOptions(answer=style, clip=part)
            single.append(grounder.ground_with(path, queries, options, on_cost=taken.append))
    assert len(single) == 4
    for one, *looks in zip(careful, *single, strict=True):
        joined = join(*looks)
        assert (one.status, one.window, one.answer) == (joined.status, joined.window, joined.answer)
        assert one.reasoning == joined.reasoning
        assert one.reasoning in ("", looks[1].reasoning)
        assert one.confidence == pytest.approx(joined.confidence, abs=1e-4)
        # Four boxes a second where there would be two.
        assert one.tube is not None
        assert one.window is not None
        assert abs(len(one.tube) - 4 * one.window.length) <= 2
        assert np.diff(one.tube.times) == pytest.approx(0.25, abs=0.05)

    # What it took: their words and one more answer for the boxes, and each reading once.
    (cost,) = costs
    said = [sum(words) for words in zip(*(one.answer_tokens for one in taken), strict=True)]
    assert all(
        before < all_of_it <= 2 * before for before, all_of_it in zip(said, cost.answer_tokens, strict=True)
    )
    assert cost.frames == taken[0].frames + taken[2].frames
    assert cost.visual_tokens == taken[0].visual_tokens + taken[2].visual_tokens
    located = [sum(boxes) for boxes in zip(*(one.located_frames for one in taken), strict=True)]
    last = [len(one.tube) for one in careful if one.tube is not None]
    assert cost.located_frames == tuple(map(sum, zip(located, last, strict=True)))
    timed = grounder.ground_with(path, queries, GroundOptions(careful=True, timing=True), on_cost=costs.append)
    assert all(one.timing_ms == costs[1].milliseconds for one in timed)

    # A given rate of boxes counts; without boxes there are none.
    (sparse, *_) = grounder.ground_with(path, queries, GroundOptions(careful=True, box_fps=1.0))
    assert sparse.tube is not None
    assert np.diff(sparse.tube.times) == pytest.approx(1.0, abs=0.05)
    bare = grounder.ground(path, queries[0], task="vtg", careful=True)
    assert bare.tube is None
    assert bare.window is not None
    assert careful[0].window is not None
    assert bare.window.tiou(careful[0].window) > 0.8


def test_what_has_no_window_to_agree_on_is_refused(grounder: VideoGrounder, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="vqa"):
        grounder.ground(clip, "what? (A) red (B) blue", task="vqa", careful=True)
    with pytest.raises(InputError, match="window"):
        GroundOptions(careful=True, window=TimeSpan(0.0, 1.0))
    with pytest.raises(InputError, match="style"):
        GroundOptions(careful=True, answer="scan")
    with pytest.raises(InputError, match="careful"):
        GroundOptions(careful=1)  # type: ignore[arg-type]
    data = clip.parent.parent
    refused(
        run("predict", "--data", data, "--out", tmp_path / "p.jsonl", "--task", "vot", "--careful"), "--careful"
    )


def test_the_commands_look_carefully(grounder: VideoGrounder, shapes_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    asked = ("predict", "--data", shapes_data, "--out", out, "--task", "stvg", "--limit", 1, "--device", "cpu")
    assert run(*asked, "--careful").exit_code == 0
    assert json.loads((tmp_path / "p.jsonl.run.json").read_text())["careful"] is True
    # They are the engine's, and answers of one kind are not gone on with as the other.
    first = json.loads(out.read_text().splitlines()[0])
    truth = next(json.loads(line) for line in (shapes_data / "truth.jsonl").open() if first["id"] in line)
    result = grounder.ground(shapes_data / truth["video"], truth["query"], task="stvg", careful=True)
    assert first["windows"][0]["start"] == pytest.approx(result.windows[0].span.start, abs=1e-3)
    assert len(first["boxes"]) == len(result.tube.boxes) if result.tube is not None else not first["boxes"]
    refused(run(*asked), "careful")

    result = run(
        "ground", shapes_data / "videos" / "000000.mp4", "the red circle moves left", "--careful", "--json"
    )
    assert result.exit_code == 0
    (one,) = json.loads(result.stdout)
    assert one["status"] in ("ok", "absent")
