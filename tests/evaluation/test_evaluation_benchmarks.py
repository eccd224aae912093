"""The paper's tables against values read from it again by eye, and the table of benchmarks."""

from __future__ import annotations

import pytest

from bridge_stg.errors import InputError
from bridge_stg.evaluation.benchmarks import BENCHMARKS, benchmark_by_name
from bridge_stg.evaluation.reported import all_reported, reported_analysis, reported_rows
from bridge_stg.evaluation.task_scores import rule_of, score_queries
from bridge_stg.records.record import TruthRecord

# (table, models, rows = models x column blocks without the dashes, values, their sum): added up from the text
# of the paper by a program that knows nothing of the file under test.
SHAPE_OF_TABLES = [
    (2, 7, 14, 54, 1799.8),
    (3, 7, 7, 28, 1123.66),
    (4, 10, 10, 20, 829.5),
    (5, 5, 5, 15, 1175.9),
    (6, 7, 51, 51, 4448.6),
    (7, 5, 10, 10, 580.8),
]
SPOTS = [
    (2, "TubeDETR", "declarative", "m_tIoU", 48.1),
    (2, "CG-STVG", "interrogative", "vIoU@0.5", 27.5),
    (2, "TA-STVG", "interrogative", "m_tIoU", 50.2),
    (2, "LLaVA-ST", "declarative", "vIoU@0.3", 18.5),
    (2, "VideoMolmo", "interrogative", "vIoU@0.3", 15.2),
    (2, "SpaceVLLM", "declarative", "m_vIoU", 27.4),
    (2, "Bridge-STG", "declarative", "m_vIoU", 37.2),
    (2, "Bridge-STG", "interrogative", "m_vIoU", 31.3),
    (3, "TubeDETR", "val", "m_tIoU", 53.96),
    (3, "LLaVA-ST", "val", "vIoU@0.5", 0.6),
    (3, "Bridge-STG", "val", "vIoU@0.3", 67.5),
    (4, "EaTR", "test", "R1@0.5", 68.4),
    (4, "HawkEye", "test", "R1@0.7", 28.8),
    (4, "Bridge-STG", "test", "R1@0.7", 49.3),
    (5, "R1-Track", "not stated", "SR@0.7", 63.7),
    (5, "Bridge-STG", "not stated", "AO", 79.3),
    (6, "G-DINO", "test", "Acc@0.5", 87.0),
    (6, "Elysium", "testB", "Acc@0.5", 85.0),
    (6, "Bridge-STG", "testA", "Acc@0.5", 94.6),
    (7, "Video-LLaVA", "test", "accuracy", 39.9),
    (7, "LLaVA-OV", "test", "accuracy", 58.2),
]


@pytest.mark.parametrize(("number", "models", "rows", "values", "total"), SHAPE_OF_TABLES)
def test_size_and_sum_of_a_table(number: int, models: int, rows: int, values: int, total: float) -> None:
    table = [row for row in all_reported() if row.table == number]
    numbers = [value for row in table for value in row.metrics.values()]
    assert len({row.model for row in table}) == models
    assert (len(table), len(numbers)) == (rows, values)
    assert sum(numbers) == pytest.approx(total)


@pytest.mark.parametrize(("number", "model", "split", "metric", "value"), SPOTS)
def test_spot_values(number: int, model: str, split: str, metric: str, value: float) -> None:
    rows = [row for row in all_reported() if (row.table, row.model, row.split) == (number, model, split)]
    # RefCOCO and RefCOCO+, and the two settings of Video-MME, have splits of one name: the first is meant.
    assert rows[0].metrics[metric] == value


def test_the_differences_that_the_text_names() -> None:
    """Section 4.2 and 4.3 repeat some cells as differences: an independent reading of the same tables."""

    def value(benchmark: str, split: str, model: str, metric: str) -> float:
        (row,) = [r for r in reported_rows(benchmark) if (r.split, r.model) == (split, model)]
        return row.metrics[metric]

    for benchmark, split, other, metric, gain in [
        ("vidstg", "declarative", "SpaceVLLM", "m_vIoU", 9.8),
        ("vidstg", "interrogative", "SpaceVLLM", "m_vIoU", 5.9),
        ("vidstg", "declarative", "TA-STVG", "m_vIoU", 2.8),
        ("hcstvg-v2", "val", "SpaceVLLM", "m_tIoU", 6.1),
        ("hcstvg-v2", "val", "SpaceVLLM", "m_vIoU", 7.5),
        ("hcstvg-v2", "val", "SpaceVLLM", "vIoU@0.5", 13.9),
        ("hcstvg-v2", "val", "LLaVA-ST", "m_tIoU", 42.9),
        ("hcstvg-v2", "val", "LLaVA-ST", "m_vIoU", 33.9),
        ("hcstvg-v2", "val", "TA-STVG", "m_tIoU", 3.7),
        ("hcstvg-v2", "val", "TA-STVG", "m_vIoU", 1.3),
        ("charades-sta", "test", "SpaceVLLM", "R1@0.5", 6.7),
        ("charades-sta", "test", "SpaceVLLM", "R1@0.7", 10.8),
        ("charades-sta", "test", "TimeSuite", "R1@0.5", 3.2),
        ("charades-sta", "test", "EaTR", "R1@0.5", 1.9),
    ]:
        ours = value(benchmark, split, "Bridge-STG", metric)
        assert ours - value(benchmark, split, other, metric) == pytest.approx(gain)
    mean = [
        sum(value("vidstg", kind, model, "m_vIoU") for kind in ("declarative", "interrogative")) / 2
        for model in ("Bridge-STG", "SpaceVLLM")
    ]
    assert mean == pytest.approx([34.25, 26.4])


def test_ten_benchmarks_and_every_reported_row_has_one() -> None:
    names = [benchmark.name for benchmark in BENCHMARKS]
    assert len(names) == len(set(names)) == 10
    assert {row.benchmark for row in all_reported()} == set(names) - {"hcstvg-v1"}
    for benchmark in BENCHMARKS:
        for row in benchmark.reported:
            assert set(row.metrics) <= set(benchmark.metrics)
            assert row.split in benchmark.splits or row.split == "not stated"
        assert len(benchmark.reported) == (len(benchmark.splits) if benchmark.name != "hcstvg-v1" else 0)


def test_protocols_and_metrics_are_those_of_score() -> None:
    """What the table promises is what scoring one record of the task gives."""
    for benchmark in BENCHMARKS:
        assert benchmark.task is not None
        rule = rule_of(benchmark.task, benchmark.protocol)
        record = TruthRecord(
            id="a",
            task=benchmark.task,
            video="a.mp4",
            fps=10.0,
            frame_count=20,
            clip=(0, 20),
            width=64,
            height=64,
            query="x",
            window=(2, 9),
            boxes={5: (1, 2, 3, 4)}
            if benchmark.task == "rec"
            else dict.fromkeys(range(2, 9), (1.0, 2.0, 3.0, 4.0)),
            choices=("a", "b"),
            choice="A",
        )
        assert set(benchmark.metrics) <= set(score_queries(rule, [record], [None]).names)


@pytest.mark.parametrize(
    ("name", "prompt", "n"),
    [
        ("vidstg", "When and where does this happen? {query}", 10303),
        ("charades-sta", "When does this happen? {query}", 3720),
        ("got10k", "Track this object. {query}", 180),
        ("refcoco+", "Where is this? {query}", 21373),
        ("video-mme-subs", "{query}", 2700),
        ("shapes", None, None),
    ],
)
def test_prompt_and_number_of_queries(name: str, prompt: str | None, n: int | None) -> None:
    benchmark = benchmark_by_name(name)
    assert (benchmark.prompt, benchmark.n) == (prompt, n)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r" hcstvg-v2\?.* shapes, vidstg, .*video-mme-subs$"):
        benchmark_by_name("HCSTVG_v2")


def test_the_task_of_a_benchmark() -> None:
    assert benchmark_by_name("shapes").task_for(None) is None
    assert benchmark_by_name("shapes").task_for("vot") == "vot"
    assert benchmark_by_name("got10k").task_for(None) == "vot"
    with pytest.raises(InputError, match="vot, not rec"):
        benchmark_by_name("got10k").task_for("rec")
    with pytest.raises(InputError, match="'tracking'"):
        benchmark_by_name("shapes").task_for("tracking")


def test_the_closer_looks_are_the_numbers_of_the_paper() -> None:
    cost = reported_analysis(9)
    assert dict(cost.rows)["Bridge-STG"][cost.columns.index("tokens of the answer")] == 42.83
    assert dict(cost.rows)["LLaVA-ST"][cost.columns.index("frames with a box")] is None
    assert dict(reported_analysis(14).rows)["true window given"] == (None, 65.2, 73.2, 59.3)
    bins = [values for name, values in reported_analysis(15).rows if name.startswith("[")]
    assert sum(values[0] or 0 for values in bins) == 4609
    assert dict(reported_analysis(16).rows)["event under 1 s"] == (366, 0.7, 36.7, 29.9, 39.8, 20.1)
    for number in (9, 14, 15, 16):
        found = reported_analysis(number)
        assert all(len(values) == len(found.columns) for _, values in found.rows)
    with pytest.raises(InputError, match="9, 14, 15, 16"):
        reported_analysis(10)
