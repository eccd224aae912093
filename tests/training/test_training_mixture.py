"""The order of training clips: shares, epochs, processes, lengths."""

from __future__ import annotations

import pickle
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge_stg.errors import DataError, InputError
from bridge_stg.records.record import TruthRecord
from bridge_stg.records.store import RecordStore, write_store
from bridge_stg.training.data.mixture import (
    ClipGroups,
    Mixture,
    MixtureSample,
    StepPass,
    TokenBudget,
    group_by_clip,
    padding,
)

EIGHT_B = TokenBudget(sample_fps=2.0, token_side=32, max_tokens_per_frame=192, bridge_queries=8)


def record(number: int, **changes: Any) -> TruthRecord:
    values: dict[str, Any] = {
        "id": f"r{number}",
        "task": "stvg",
        "video": "a.mp4",
        "fps": 10.0,
        "frame_count": 200,
        "clip": (0, 200),
        "width": 640,
        "height": 480,
        "query": "the dog that runs",
        "window": (10, 60),
        "boxes": {10: (1.0, 2.0, 30.0, 40.0)},
        "split": "train",
    }
    return TruthRecord(**(values | changes))


def groups(tokens: list[int], questions: int = 1) -> ClipGroups:
    """Groups of given lengths with as many questions each."""
    count = len(tokens)
    return ClipGroups(
        np.arange(count * questions, dtype=np.int32),
        np.arange(count + 1) * questions,
        np.array(tokens, dtype=np.int32),
    )


def test_questions_about_one_part_of_one_video_are_put_together() -> None:
    records = [
        record(0),
        record(1, task="vtg", boxes={}),
        record(2, clip=(0, 100)),
        record(3, video="b.mp4"),
        record(4),
        # One frame as an image, said in two ways; and another frame.
        record(5, task="rec", window=None, boxes={7: (1.0, 1.0, 2.0, 2.0)}),
        record(6, task="rec", window=None, clip=(7, 8), boxes={7: (1.0, 1.0, 2.0, 2.0)}),
        record(7, task="rec", window=None, boxes={8: (1.0, 1.0, 2.0, 2.0)}),
        record(8, split="test"),
        record(9, fps=25.0),
    ]
    found = group_by_clip(records, EIGHT_B, most=4, seed=0, split="train")
    together = sorted(found.records(group) for group in range(len(found)))
    assert together == [[0, 1, 4], [2], [3], [5, 6], [7], [9]]
    assert len(group_by_clip(records, EIGHT_B, most=4, seed=0)) == 6
    assert sum(len(found.records(g)) for g in range(len(found))) == 9


def test_more_questions_than_allowed_make_groups_of_nearly_equal_size() -> None:
    records = [record(number) for number in range(9)]
    found = group_by_clip(records, EIGHT_B, most=4, seed=0)
    assert sorted(len(found.records(group)) for group in range(len(found))) == [3, 3, 3]
    assert sorted(number for group in range(3) for number in found.records(group)) == list(range(9))
    other = group_by_clip(records, EIGHT_B, most=4, seed=1)
    assert [other.records(g) for g in range(3)] != [found.records(g) for g in range(3)]
    alone = group_by_clip(records, EIGHT_B, most=1, seed=0)
    assert sorted(alone.records(group) for group in range(9)) == [[number] for number in range(9)]


def test_a_source_without_fitting_records_is_an_error() -> None:
    with pytest.raises(DataError, match="split 'val'"):
        group_by_clip([record(0)], EIGHT_B, most=4, seed=0, split="val")
    boxes = {7: (1.0, 1.0, 2.0, 2.0), 8: (1.0, 1.0, 2.0, 2.0)}
    with pytest.raises(DataError, match=r"r1.*one frame"):
        group_by_clip([record(1, task="rec", window=None, boxes=boxes)], EIGHT_B, most=4, seed=0)


def test_estimated_lengths_by_hand() -> None:
    # 640x480 in at most 192 squares of 32 px is 512x384, 16 x 12 of them; 20 s at 2 fps are 20 pairs.
    assert EIGHT_B.clip(20.0, 640, 480) == 20 * (192 + 7) + 5
    assert EIGHT_B.clip(0.0, 640, 480) == 197
    assert EIGHT_B.clip(0.3, 640, 480) == 199 + 5
    # 14 around it, 18 letters in 4 tokens, 27 for a window, <det> and 8 queries.
    assert EIGHT_B.question("stvg", 18) == 14 + 4 + 27 + 9
    assert EIGHT_B.question("vtg", 18) == 14 + 4 + 27
    assert EIGHT_B.question("vqa", 0) == 18
    one = group_by_clip([record(0)], EIGHT_B, most=4, seed=0)
    two = group_by_clip([record(0), record(1)], EIGHT_B, most=4, seed=0)
    assert two.tokens[0] - one.tokens[0] == EIGHT_B.question("stvg", len("the dog that runs"))


def test_a_store_gives_the_groups_of_its_truth(tmp_path: Any) -> None:
    records = [record(number, video=f"{number // 3}.mp4") for number in range(10)]
    records.append(record(10, task="vqa", window=None, boxes={}, choices=("yes", "no"), choice="A"))
    (tmp_path / "store").mkdir()
    write_store(tmp_path / "store", records)
    store = RecordStore(tmp_path / "store", tmp_path / "cache")
    assert list(store) == records
    left, right = (group_by_clip(source, EIGHT_B, 4, 0) for source in (records, store))
    for name in ("members", "bounds", "tokens"):
        assert np.array_equal(getattr(left, name), getattr(right, name))


MIXED = (groups([100 + n for n in range(60)], 3), groups([300] * 25), groups([40 + n % 7 for n in range(200)]))
WEIGHTS = (3.0, 1.0, 2.0)


def mixture(seed: int = 3, clips: int = 8, alike: int = 4) -> Mixture:
    return Mixture(MIXED, WEIGHTS, seed, clips, alike)


@given(
    st.lists(st.floats(0.001, 100.0), min_size=1, max_size=6),
    st.integers(0, 50_000),
    st.integers(1, 400),
)
def test_every_source_has_its_share_at_every_moment(weights: list[float], total: int, more: int) -> None:
    mixed = Mixture([groups([5] * 3)] * len(weights), weights, 0, 1, 1)
    before, after = mixed.counts_until(total), mixed.counts_until(total + more)
    assert sum(before) == total
    assert sum(after) == total + more
    assert all(low <= high for low, high in zip(before, after, strict=True))
    # Rounding to whole clips costs a source at most one; the others' roundings can add to that.
    for count, share in zip(before, mixed.shares, strict=True):
        assert abs(count - total * share) <= 1 + len(weights) / 2


def test_taken_is_the_merged_stream_counted_one_by_one() -> None:
    mixed = mixture()
    turns = sorted(
        ((number + 0.5) / share, source) for source, share in enumerate(mixed.shares) for number in range(700)
    )
    for total in (0, 1, 2, 7, 50, 333, 600):
        counted = Counter(source for _, source in turns[:total])
        assert mixed.counts_until(total) == [counted[source] for source in range(3)]


def test_weights_count_questions_not_clips() -> None:
    mixed = mixture()
    asked = Counter()
    for step in range(300):
        for sample in mixed.step(step):
            asked[sample.source] += len(MIXED[sample.source].records(sample.group))
    total = sum(asked.values())
    for source, weight in enumerate(WEIGHTS):
        assert asked[source] / total == pytest.approx(weight / 6, abs=0.005)


def test_every_clip_of_a_source_comes_once_in_each_of_its_epochs() -> None:
    mixed = mixture()
    seen: dict[int, dict[int, int]] = {0: {}, 1: {}, 2: {}}
    # Whole pools: within one, positions come in the order of lengths.
    for step in range(20 * mixed.pool_steps):
        for sample in mixed.step(step):
            assert sample.position not in seen[sample.source]
            seen[sample.source][sample.position] = sample.group
    for source, clips in seen.items():
        count = len(MIXED[source])
        epochs = len(clips) // count
        assert epochs >= 1
        orders = [tuple(clips[epoch * count + place] for place in range(count)) for epoch in range(epochs)]
        assert all(sorted(order) == list(range(count)) for order in orders)
        assert len(set(orders)) == epochs


def test_a_step_follows_from_seed_and_number_alone() -> None:
    forward = [mixture().step(step) for step in range(60)]
    again = mixture()
    # Out of order, as after a resumed run, and in another process.
    assert again.step(41) == forward[41]
    assert again.step(7) == forward[7]
    assert pickle.loads(pickle.dumps(again)).step(59) == forward[59]
    assert mixture(seed=4).step(7) != forward[7]
    assert len({frozenset(step) for step in forward}) == 60


@pytest.mark.parametrize(("world", "parts"), [(1, 1), (2, 1), (1, 4), (2, 2), (4, 2), (8, 1)])
def test_processes_and_passes_share_a_step_between_them(world: int, parts: int) -> None:
    mixed = mixture()
    for step in (0, 13):
        passes = [StepPass(rank, world, part, parts) for part in range(parts) for rank in range(world)]
        dealt = [mixed.batch(step, step_pass) for step_pass in passes]
        assert sum(dealt, ()) == mixed.step(step)
        assert {len(batch) for batch in dealt} == {8 // (world * parts)}


def test_a_step_that_cannot_be_dealt_out_is_an_error() -> None:
    with pytest.raises(InputError, match=r"8 .*3 processes"):
        mixture().batch(0, StepPass(world=3))
    with pytest.raises(InputError, match="divide"):
        mixture(alike=3)


def test_a_replacement_is_the_next_longer_clip_of_its_source() -> None:
    mixed = mixture()
    first = MixtureSample(0, 10, position=5)
    assert mixed.replacement(first) == MixtureSample(0, 11, 5, 1)
    assert mixed.replacement(mixed.replacement(first)) == MixtureSample(0, 12, 5, 2)
    assert mixed.replacement(MixtureSample(0, 59, 0)) == MixtureSample(0, 0, 0, 1)
    # Of equally long ones every one has its turn before the first comes again.
    sample, visited = MixtureSample(1, 4, 0), []
    for _ in range(25):
        sample = mixed.replacement(sample)
        visited.append(sample.group)
    assert sorted(visited) == list(range(25))
    assert visited[-1] == 4


def test_a_small_source_does_not_stand_beside_itself() -> None:
    # 3 clips that are asked as often as 300 others: a step holds each of them at most once.
    mixed = Mixture((groups([50] * 3), groups([50] * 300)), (1.0, 1.0), 0, 4, 2)
    for step in range(200):
        assert len({(s.source, s.group) for s in mixed.step(step)}) >= 3
    assert mixed.pool_steps == 1


@cache
def realistic() -> list[tuple[float, list[TruthRecord]]]:
    """A tenth of Table 1 by weight, with lengths and sizes like those of the real data sets."""
    rng = np.random.default_rng(0)
    wide = [(640, 480), (640, 360), (480, 640), (360, 640), (640, 352), (1280, 720)]
    photos = [(640, 480), (640, 427), (480, 640), (500, 375), (427, 640), (612, 612)]

    def videos(name: str, task: str, count: int, sentences: float, seconds: Any, sizes: Any) -> Any:
        found = []
        for video in range(count):
            width, height = sizes[rng.integers(len(sizes))]
            frames = max(int(seconds() * 10), 3)
            for _ in range(max(int(rng.poisson(sentences)), 1)):
                found.append(
                    record(
                        len(found),
                        task=task,
                        video=f"{name}/{video}",
                        frame_count=frames,
                        clip=(0, frames) if task != "rec" else (0, 1),
                        window=(0, frames) if task in ("stvg", "vtg") else None,
                        boxes={} if task in ("vtg", "vqa") else {0: (1.0, 1.0, 9.0, 9.0)},
                        width=width,
                        height=height,
                        query="x" * int(rng.integers(20, 90)),
                    )
                )
        return found

    def long_tail(mean: float, longest: float) -> Any:
        return lambda: float(np.clip(rng.lognormal(np.log(mean) - 0.18, 0.6), 2.0, longest))

    return [
        (107, videos("vidstg", "stvg", 1500, 4.4, long_tail(27.7, 180), wide)),
        (10, videos("hcstvg", "stvg", 800, 1.0, lambda: 20.0, [(1280, 720), (1280, 536), (640, 480)])),
        (12, videos("charades", "vtg", 300, 2.3, long_tail(30, 70), [(480, 270), (270, 480), (480, 360)])),
        (10, videos("got10k", "vot", 500, 1.0, long_tail(15, 100), [(1920, 1080), (1280, 720)])),
        (34, videos("nextqa", "vqa", 400, 8.8, long_tail(44, 180), wide)),
        (56, videos("clevrer", "vqa", 400, 15.0, lambda: 5.12, [(480, 320)])),
        (120, videos("refcoco", "rec", 1200, 7.0, lambda: 0.1, photos)),
    ]


@pytest.mark.parametrize(("sentences", "clips"), [(1, 32), (4, 32), (4, 8)])
def test_padding_stays_under_15_percent(sentences: int, clips: int) -> None:
    sources = realistic()
    mixed = Mixture(
        [group_by_clip(records, EIGHT_B, sentences, 0) for _, records in sources],
        [weight for weight, _ in sources],
        0,
        clips_per_step=clips,
        clips_alike=8,
    )
    lots, tasks = [], []
    for step in range(150):
        lengths = [mixed.length(sample) for sample in mixed.step(step)]
        lots += [lengths[first : first + 8] for first in range(0, clips, 8)]
        tasks.append(len({sample.source for sample in mixed.step(step)}))
    rng = np.random.default_rng(1)
    everything = rng.permutation([length for lot in lots for length in lot]).reshape(-1, 8).tolist()
    # To be seen with pytest -s.
    print(
        f"\npadding in lots of 8, {clips} clips a step, up to {sentences} sentences: {padding(lots):.1%}; "
        f"in random order {padding(everything):.1%}; {np.mean(tasks):.1f} sources in a step"
    )
    assert padding(lots) < 0.15
    assert padding(everything) > 0.5
    if clips == 32:
        # Alike lots do not make a step of one kind of data.
        assert np.mean(tasks) >= 3
