"""The computed cost of a clip, by numbers worked by hand."""

from __future__ import annotations

import pytest

from bridge_stg.errors import InputError
from bridge_stg.geometry.spans import frame_pairs
from bridge_stg.inference.cost_devices import DEVICES, expected_ms
from bridge_stg.inference.cost_model import ComputedCost, Scale, clip_counts, compute_cost, scale_of
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.prompting.timestamps import timestamp_text
from bridge_stg.video.sampling import wanted_times


@pytest.fixture(scope="module")
def table_9() -> ComputedCost:
    """The clip of Table 9: 46 frames, one sentence."""
    return compute_cost("8b", 23.0, 1, "h100")


def test_tokens_of_table_9(table_9: ComputedCost) -> None:
    clip = table_9.clip
    assert (clip.frames, clip.pairs, clip.width, clip.height) == (46, 23, 512, 384)
    assert clip.visual_tokens == 23 * 12 * 16 == 4416
    # "<0.2 seconds>" to "<9.2 seconds>" are six tokens each, thirteen later ones seven.
    assert clip.timestamp_tokens == 10 * 6 + 13 * 7
    assert clip.clip_tokens == 4416 + 151 + 5
    assert (clip.located_frames, clip.encoded_frames) == (21, 21)


def test_bytes_of_the_8b(table_9: ComputedCost) -> None:
    # Keys and values, 36 layers, 8 heads of 128 numbers of two bytes.
    assert table_9.cache_bytes_per_token == 2 * 36 * 8 * 128 * 2 == 147_456
    assert table_9.memory.clip_cache == 4572 * 147_456
    # One sentence: 24 tokens asked, 43 answered, <det> and 8 queries.
    assert table_9.memory.sentence_caches == (24 + 43 + 1 + 8) * 147_456
    # The whole model of docs/results.md without its LoRA.
    assert table_9.memory.weights == 2 * (9_029_407_566 - 7_667_712)
    assert 19e9 < table_9.memory.peak < 24e9


def test_times_of_table_9(table_9: ComputedCost) -> None:
    stages = {stage.name: stage for stage in table_9.stages}
    # 43 times the language layers, the head, and the cache of 4,572 + 67 tokens, at 0.9 x 3.35 TB/s.
    layers = 6_946_071_552 + 4096  # with the last norm
    read = 43 * (2 * (layers + 622_329_856) + (4572 + 67) * 147_456)
    assert stages["answer, no drafts"].bytes_read == read
    assert stages["answer, no drafts"].floor_ms == pytest.approx(read / 3.015e12 * 1000)
    # 43 passes of 2,042 operations of 10 microseconds are slower than that.
    assert stages["answer, no drafts"].expected_ms == pytest.approx(43 * 20.42)
    assert stages["answer"].expected_ms == pytest.approx(14 * 20.42)
    # 13.892e9 T + 294,912 T^2 operations at 0.8 x 989 TFLOP/s.
    prefill = 13.892e9 * 4572 + 294_912 * 4572**2
    assert stages["prefill"].operations == pytest.approx(prefill, rel=1e-3)
    assert stages["prefill"].floor_ms == pytest.approx(prefill / 791.2e12 * 1000, rel=1e-3)

    # Totals have the answers once.
    parts = [stages[name].expected_ms for name in ("vision", "prefill", "answer", "bridge", "spatial")]
    assert table_9.total_ms() == pytest.approx(sum(parts))
    assert table_9.total_ms(drafts=False) - table_9.total_ms() == pytest.approx(29 * 20.42)


def test_sentences_share_the_clip(table_9: ComputedCost) -> None:
    four = compute_cost("8b", 23.0, 4, "h100")
    stages = zip(table_9.stages, four.stages, strict=True)
    one_of = {one.name: (one, other) for one, other in stages}
    for name in ("vision", "prefill"):
        one, other = one_of[name]
        assert one == other
    # 21 frames each are 46 different ones at the most, and 84 to decode.
    assert (four.clip.located_frames, four.clip.encoded_frames) == (21, 46)
    assert four.total_ms() < 4 * table_9.total_ms()


@pytest.mark.parametrize("seconds", [10.1, 131.0])
def test_clip_of_the_shipped_checkpoint_as_its_processor_makes_it(seconds: float) -> None:
    scale = scale_of("shapes", seconds)
    found = clip_counts(scale, seconds, 3)
    processor = BridgeSTGProcessor.from_pretrained("shapes")
    times = wanted_times(0.0, seconds, 2.0)
    assert found.pairs == len(frame_pairs(len(times)))
    grid = (found.pairs, found.height // 12, found.width // 12)
    assert found.clip_tokens == len(processor.clip(grid, times).input_ids)


@pytest.mark.parametrize(("seconds", "tokens"), [(0.2, 6), (12.2, 7), (131.0, 8)])
def test_digits_of_qwen_timestamps(seconds: float, tokens: int) -> None:
    scale: Scale = scale_of("2b", seconds)
    assert scale.count_tokens(timestamp_text(seconds)) == tokens


@pytest.mark.parametrize(("scale", "width", "layers"), [("2b", 2048, 28), ("4b", 2560, 36)])
def test_other_sizes(scale: str, width: int, layers: int) -> None:
    cost = compute_cost(scale, 23.0, 1, "cpu")  # type: ignore[arg-type]
    # Four bytes a number on a CPU; tied embeddings are there once and read as the head.
    assert cost.cache_bytes_per_token == 2 * layers * 8 * 128 * 4
    assert cost.parameters["lm_head"] == 0
    (answer,) = [stage for stage in cost.stages if stage.name == "answer, no drafts"]
    read = 4 * (cost.parameters["language layers"] + 151936 * width) + (4572 + 67) * cost.cache_bytes_per_token
    assert answer.bytes_read == 43 * read


def test_a_faster_device_is_faster() -> None:
    totals = [compute_cost("8b", 5.0, 1, name).total_ms(floor=True) for name in DEVICES]  # type: ignore[arg-type]
    assert totals == sorted(totals)


@pytest.mark.parametrize(
    ("seconds", "sentences"),
    [(0.0, 1), (-1.0, 1), (float("nan"), 1), (float("inf"), 1), (1e9, 1), (5.0, 0), (5.0, 10**6)],
)
def test_clips_that_no_machine_takes(seconds: float, sentences: int) -> None:
    with pytest.raises(InputError, match="must be"):
        compute_cost("8b", seconds, sentences, "h100")


def test_a_cpu_launches_and_computes_in_turn_a_card_at_once() -> None:
    # 3 ms at the floor, half of the speed reached: 6 ms; 1,000 operations of 10 and of 9 microseconds.
    assert expected_ms(DEVICES["h100"], 3.0, 0.5, 1000) == pytest.approx(10.0)
    assert expected_ms(DEVICES["h100"], 30.0, 0.5, 1000) == pytest.approx(60.0)
    assert expected_ms(DEVICES["cpu"], 3.0, 0.5, 1000) == pytest.approx(6.0 + 9.0)


def test_sentences_side_by_side_take_the_passes_of_the_slowest() -> None:
    passes = [compute_cost("shapes", 10.0, sentences, "cpu").passes["answer"] for sentences in (1, 2, 3, 1000)]
    assert passes == [9, 16, 18, 22]
    assert compute_cost("8b", 10.0, 4, "h100").passes["answer"] == 14
