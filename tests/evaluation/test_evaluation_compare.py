"""Two scores files: the paired interval by hand and in theory, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bridge_stg.cli.main import app
from bridge_stg.errors import DataError, InputError
from bridge_stg.evaluation.compare import compare_files, write_comparison
from bridge_stg.metrics.bootstrap import clustered_interval


def write(path: Path, values: dict[str, list[float]], **changes: Any) -> Path:
    """A scores.json over queries q0, q1, ... each about a video of its own, unless told otherwise."""
    count = len(next(iter(values.values())))
    queries: dict[str, Any] = {
        "id": [f"q{i}" for i in range(count)],
        "video": [f"v{i}" for i in range(count)],
        "weight": [1.0] * count,
        **values,
    }
    queries |= changes.pop("queries", {})
    weights = np.array(queries["weight"])
    content = {
        "schema": "bridge-stg/scores/1",
        "task": "stvg",
        "protocol": "stcat",
        "operator": ">",
        "n": count,
        "missing": 0,
        "failed": 0,
        "metrics": {name: float(weights @ column / weights.sum()) for name, column in values.items()},
        "queries": queries,
    }
    path.write_text(json.dumps(content | changes))
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


def test_a_constant_gain_is_real_however_much_the_queries_differ(place: Path) -> None:
    """Pairing is the point: each query gains 5, while queries lie between 0 and 95."""
    base = [float(value) for value in range(0, 95, 5)]
    a = write(place / "a.json", {"m_tIoU": base})
    b = write(place / "b.json", {"m_tIoU": [value + 5 for value in base]})
    found = compare_files(a, b).metrics["m_tIoU"]
    assert (found.a, found.b) == pytest.approx((45, 50))
    assert found.difference == pytest.approx(5)
    assert found.ci95 == pytest.approx((5, 5))
    assert found.real
    back = compare_files(b, a).metrics["m_tIoU"]
    assert (back.difference, back.real) == (pytest.approx(-5), True)


def test_a_run_does_not_differ_from_itself(place: Path) -> None:
    a = write(place / "a.json", {"m_tIoU": [10, 60, 20], "m_vIoU": [0, 50, 10]})
    for found in compare_files(a, a).metrics.values():
        assert (found.difference, found.ci95, found.real) == (0, (0, 0), False)


def test_as_many_losses_as_gains_are_not_real(place: Path) -> None:
    a = write(place / "a.json", {"m_tIoU": [50.0] * 20})
    b = write(place / "b.json", {"m_tIoU": [40.0, 60.0] * 9 + [50.0, 70.0]})
    found = compare_files(a, b).metrics["m_tIoU"]
    assert found.difference == pytest.approx(1)
    assert found.ci95[0] < 0 < found.ci95[1]
    assert not found.real


def test_the_interval_is_that_of_the_paired_differences(place: Path) -> None:
    """400 independent differences: the textbook interval, within a tenth of its width."""
    rng = np.random.default_rng(1)
    base = rng.uniform(0, 100, 400)
    gains = rng.normal(1, 10, 400)
    a = write(place / "a.json", {"m": base.tolist()})
    b = write(place / "b.json", {"m": (base + gains).tolist()})
    found = compare_files(a, b, resamples=4000).metrics["m"]
    half = 1.96 * gains.std() / 20
    assert found.ci95 == pytest.approx((gains.mean() - half, gains.mean() + half), abs=0.2 * half)
    # Two intervals side by side would be about four times as wide and call nothing real.
    apart = clustered_interval(base[:, None], [str(i) for i in range(400)])[0]
    assert apart[1] - apart[0] > 2 * (found.ci95[1] - found.ci95[0])


def test_videos_are_drawn_and_not_queries(place: Path) -> None:
    """One video of ten queries gains, one loses: ten queries each are no evidence."""
    videos = {"video": ["x"] * 10 + ["y"] * 10}
    a = write(place / "a.json", {"m": [50.0] * 20}, queries=videos)
    b = write(place / "b.json", {"m": [60.0] * 10 + [48.0] * 10}, queries=videos)
    comparison = compare_files(a, b)
    assert comparison.videos == 2
    assert comparison.metrics["m"].ci95 == pytest.approx((-2, 10))
    assert not comparison.metrics["m"].real


def test_one_video_proves_nothing(place: Path) -> None:
    videos = {"video": ["x"] * 3}
    a = write(place / "a.json", {"m": [1.0, 2.0, 3.0]}, queries=videos)
    b = write(place / "b.json", {"m": [11.0, 12.0, 13.0]}, queries=videos)
    found = compare_files(a, b).metrics["m"]
    assert (found.difference, found.real) == (pytest.approx(10), False)


def test_pooled_frames_weigh(place: Path) -> None:
    weight = {"weight": [9.0, 1.0]}
    a = write(place / "a.json", {"AO": [50.0, 50.0]}, queries=weight)
    b = write(place / "b.json", {"AO": [60.0, 10.0]}, queries=weight)
    found = compare_files(a, b).metrics["AO"]
    # (9 * 10 - 40) / 10; the mean over videos would say -15.
    assert found.difference == pytest.approx(5)
    assert found.b - found.a == pytest.approx(5)
    assert found.ci95 == pytest.approx((-40, 10))


def test_the_order_of_the_queries_does_not_matter(place: Path) -> None:
    a = write(place / "a.json", {"m": [10.0, 20.0, 90.0]})
    turned = {"id": ["q2", "q1", "q0"], "video": ["v2", "v1", "v0"]}
    b = write(place / "b.json", {"m": [90.0, 20.0, 10.0]}, queries=turned)
    assert compare_files(a, b).metrics["m"].ci95 == (0, 0)


@pytest.mark.parametrize(
    ("values", "changes", "message"),
    [
        ({"m": [1, 2]}, {}, r"query 'q2' is in .*a\.json and not in .*b\.json \(1 such\)"),
        ({"m": [1, 2, 3, 4]}, {}, r"query 'q3' is in .*b\.json and not in .*a\.json \(1 such\)"),
        ({"m": [1, 2, 3]}, {"task": "vtg"}, r"task differs: stvg in .*a\.json, vtg in .*b\.json"),
        ({"m": [1, 2, 3]}, {"protocol": "paper"}, "protocol differs: stcat in .*, paper in"),
        ({"m": [1, 2, 3]}, {"operator": ">="}, "operator differs"),
        ({"k": [1, 2, 3]}, {}, r"has the metrics \['m'\], .* has \['k'\]"),
        (
            {"m": [1, 2, 3]},
            {"queries": {"video": ["v0", "v1", "x"]}},
            "'q2' .* v2 ",
        ),
        ({"m": [1, 2, 3]}, {"queries": {"weight": [1, 5, 1]}}, "'q1' .* v1 .* 1 "),
        ({"m": [1, 2, 3]}, {"schema": "bridge-stg/tube/1"}, r"b\.json: .*scores\.json"),
        ({"m": [1, 2, 3]}, {"n": 4}, r"b\.json: .* n = 4"),
        ({"m": [1, 2, 3]}, {"queries": {"id": ["q0", "q1", "q1"]}}, r"b\.json: .*'q1'"),
        ({"m": [1, float("nan"), 3]}, {}, r"b\.json: .*not a number"),
        ({"m": [1, 2, 3]}, {"queries": {"weight": [1, 0, 1]}}, "weight"),
        ({"m": [1, 2, 3]}, {"queries": {"m": "abc"}}, r"b\.json: .*field"),
        ({"m": [1, 2, 3]}, {"queries": {"weight": [1, float("inf"), 1]}}, "weight"),
        ({"m": [1, 2, 3]}, {"queries": {"id": ["q0", ["q1"], "q2"]}}, "texts"),
        ({"m": [1, 2, 3]}, {"queries": {"m": ["1", "2", "3"]}}, "numbers"),
        ({"m": [1, 2, 3]}, {"n": float("inf")}, r"b\.json: .*field"),
        ({"m": [1, 2, 3]}, {"metrics": {"m": 2.5}}, r"m .*2\.5.* 2\.0000"),
        ({"m": [1, 2, 3]}, {"metrics": {"m": float("nan")}}, r"m .*nan.* 2\.0000"),
        ({"m": [1, 2, 3]}, {"metrics": {"other": 1}}, r"b\.json: .*'other'"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    place: Path, values: dict[str, list[float]], changes: dict[str, Any], message: str
) -> None:
    a = write(place / "a.json", {"m": [1, 2, 3]})
    b = write(place / "b.json", values, **changes)
    with pytest.raises(DataError, match=message) as caught:
        compare_files(a, b)
    assert "\n" not in str(caught.value)


def test_a_file_of_before_queries_says_what_to_do(place: Path) -> None:
    a = write(place / "a.json", {"m": [1, 2]})
    content = json.loads(a.read_text())
    del content["queries"]
    a.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"a\.json: .* queries"):
        compare_files(a, a)
    a.write_text("{")
    with pytest.raises(DataError, match=r"a\.json: .*JSON"):
        compare_files(a, a)
    with pytest.raises(DataError, match=r"missing\.json: "):
        compare_files(place / "missing.json", a)


def test_comparison_json_has_the_documented_fields(place: Path) -> None:
    a = write(place / "a.json", {"m": [10.0, 20.0]}, missing=1)
    b = write(place / "b.json", {"m": [20.0, 30.0]}, failed=2)
    out = place / "comparison.json"
    write_comparison(out, compare_files(a, b))
    assert json.loads(out.read_text()) == {
        "schema": "bridge-stg/comparison/1",
        "task": "stvg",
        "protocol": "stcat",
        "operator": ">",
        "n": 2,
        "videos": 2,
        "a": {"path": str(a), "missing": 1, "failed": 0},
        "b": {"path": str(b), "missing": 0, "failed": 2},
        "metrics": {"m": {"a": 15.0, "b": 25.0, "difference": 10.0, "ci95": [10.0, 10.0], "real": True}},
    }
    with pytest.raises(InputError, match="written"):
        write_comparison(place / "none" / "c.json", compare_files(a, b))


def test_the_terminal_says_which_run_is_better(place: Path) -> None:
    a = write(place / "a.json", {"m": [10.0, 20.0], "k": [10.0, 20.0]}, missing=1)
    b = write(place / "b.json", {"m": [20.0, 30.0], "k": [20.0, 10.0]})
    out = place / "comparison.json"
    done = CliRunner().invoke(app, ["compare", str(a), str(b), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "task stvg, protocol stcat (operator >)" in done.output
    cells = [[cell.strip() for cell in line.split("\u2502")[1:-1]] for line in done.output.splitlines()]
    assert ["m", "15.0", "25.0", "+10.0", "+10.0 to +10.0", "yes: B is better"] in cells
    assert ["k", "15.0", "15.0", "+0.0", "-10.0 to +10.0", "no"] in cells
    assert "2 queries about 2 videos" in done.output
    assert "a.json (1 missing, 0 failed" in done.output
    printed = CliRunner().invoke(app, ["compare", str(a), str(b), "--json"])
    assert json.loads(printed.output) == json.loads(out.read_text())
