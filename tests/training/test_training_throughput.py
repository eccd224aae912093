"""The count of useful operations against torch's own, and what is made of it."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_runs import TINY, source_of
from torch.utils.flop_counter import FlopCounterMode

from bridge_stg.cli.runs import recipe
from bridge_stg.losses.weights import LossWeights
from bridge_stg.model.lora import add_lora
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.shapes.model import small_config, small_tokenizer
from bridge_stg.training.data.batch import Batch
from bridge_stg.training.log import RunLog
from bridge_stg.training.settings import override
from bridge_stg.training.throughput import StepOperations, peak_memory_gb, peak_operations

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.learning


def model_and_batch(tune: str) -> tuple[BridgeSTGForVideoGrounding, BridgeSTGProcessor, Batch]:
    tokenizer = small_tokenizer()
    model_config = small_config(tokenizer)
    model_config.max_tokens_per_frame = 24  # attention, which torch does not count, stays small beside the rest
    model = BridgeSTGForVideoGrounding(model_config).train()
    if tune == "lora":
        add_lora(model)
    elif tune == "bridge":
        model.mllm.requires_grad_(False)
    processor = BridgeSTGProcessor(tokenizer, model_config)
    config = override(recipe("shapes"), [*TINY, "data.image_share=0", "data.mix.located=2"])
    return model, processor, source_of(config, processor).batch(0, slice(None))


@pytest.mark.parametrize("tune", ["all", "lora", "bridge"])
def test_operations_are_those_that_torch_counts(tune: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 15%: torch counts no attention on a CPU, we leave out small maps that few tokens meet."""
    monkeypatch.setattr("bridge_stg.model.cpu_linear.MIN_ROWS", sys.maxsize)  # torch does not count oneDNN's
    model, processor, batch = model_and_batch(tune)
    counted = StepOperations(model)(batch.work(processor))
    with FlopCounterMode(display=False) as counter:
        model(**batch.inputs(processor), weights=LossWeights()).loss.backward()
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.15)


def test_what_learns_costs_more() -> None:
    counts = []
    for tune in ("lora", "all"):
        model, processor, batch = model_and_batch(tune)
        counts.append(StepOperations(model)(batch.work(processor)))
    assert counts[1] > 1.2 * counts[0]


def test_rates_by_hand(tmp_path: Path) -> None:
    """Two processes, 3 and 5 samples in the same time; half a second of it was no training."""
    log = RunLog(tmp_path / "log.jsonl", peak_flops=1000.0)
    log.started -= 2.5
    log.leave_out(0.5)
    log.tally("samples", 3)
    log.tally("flops", 300.0)
    log.add("video/token", torch.tensor(6.0), torch.tensor(2))
    other = ({"video/token": (1.0, 5.0), "image/token": (4.0, 1.0)}, {"samples": 5.0, "flops": 500.0})
    line = log.write(7, lambda mine: [*mine, other], lr=0.5)
    assert line["seconds"] == pytest.approx(2.0, abs=0.05)
    assert line["samples_per_second"] == pytest.approx(4.0, rel=0.05)
    assert line["mfu"] == pytest.approx(0.4, rel=0.05)
    assert (line["step"], line["lr"], line["video/token"], line["image/token"]) == (7, 0.5, 1.0, 4.0)
    assert json.loads((tmp_path / "log.jsonl").read_text()) == line


def test_the_machine_is_measured() -> None:
    peak = peak_operations(torch.device("cpu"), "no")
    assert 1e8 < peak < 1e14
    before = peak_memory_gb(torch.device("cpu"))
    held = torch.ones(200, 1000, 1000)
    assert peak_memory_gb(torch.device("cpu")) >= before
    assert 0.8 < peak_memory_gb(torch.device("cpu")) < 1000
    del held


def benchmark(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *words: str,
    script: str = "training.py",
) -> Any:
    """What ``python benchmarks/SCRIPT ... --json`` prints, in this process."""
    monkeypatch.setattr(sys, "argv", [script, *words, "--json"])
    runpy.run_path(str(ROOT / "benchmarks" / script), run_name="__main__")
    return json.loads(capsys.readouterr().out)


def test_the_benchmark_prints_what_it_promises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = benchmark(monkeypatch, capsys, "--steps", "1", "--warm-up", "1", "--clips", "1")
    for name in ("samples_per_second", "tokens_per_second", "mfu", "peak_memory_gb", "operations_per_sample"):
        assert found[name] > 0
    assert found["mfu"] < 1


def test_the_8b_is_counted_without_its_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = benchmark(monkeypatch, capsys, "--scale", "8b", "--count")
    assert found["parameters"] > 8_767_123_696
    # 2 passes of 2 operations for each of the 6.9 billion weights of the language layers, and more.
    assert found["operations_per_sample"] > 4 * 6.9e9 * found["tokens_per_sample"]


def test_a_shared_clip_costs_less_at_equal_loss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--clips", "1", "--seconds", "4", "--located", "3", "--rounds", "2")
    found = benchmark(monkeypatch, capsys, *words, script="training_pair.py")
    assert found["samples per step"] == 3
    assert found["loss, shared"] == pytest.approx(found["loss, straightforward"], rel=1e-4)
    # Twice as many on a quiet machine; this only sees that sharing is no loss, on a busy one too.
    assert found["times as many, largest"] > 0.8


def test_what_the_recipe_asks_is_compared_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--clips", "1", "--seconds", "4", "--recipe", "--rounds", "1")
    found = benchmark(monkeypatch, capsys, *words, script="training_pair.py")
    mix = recipe("shapes").data.mix
    assert found["samples per step"] == sum(mix.model_dump().values()) - mix.lookups - mix.retold
    assert found["loss, shared"] == pytest.approx(found["loss, straightforward"], rel=1e-4)
