"""Ablations: rows become runs once each, claims get their verdicts, and two rows really run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from support.processes import start_command
from support.small_runs import TINY
from typer.testing import CliRunner

from bridge_stg.ablations.jobs import AblationJob, AblationPlan, jobs_for, run_name
from bridge_stg.ablations.pages import as_markdown, as_page
from bridge_stg.ablations.tables import TABLES, AblationRow, AblationTable
from bridge_stg.ablations.verdicts import collect, judge
from bridge_stg.ablations.work import jobs_left, work_on
from bridge_stg.cli import main
from bridge_stg.cli.runs import recipe
from bridge_stg.errors import BridgeSTGError
from bridge_stg.records.record import read_truth
from bridge_stg.training.settings import override

ALL = list(TABLES.values())


def test_what_only_finished_runs_need_is_not_made_again(tmp_path: Path) -> None:
    """Scores alone give the tables; a row more is prepared for, and nothing else is."""
    tables, plan = [TABLES["13"], TABLES["11"]], AblationPlan(tmp_path, seeds=1)
    jobs = jobs_for(tables, plan)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "truth.jsonl").write_text("")
    for row in [*TABLES["13"].rows, *TABLES["11"].rows]:
        folder = tmp_path / "runs" / run_name(row, 0)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scores.json").write_text("{}")
    begun: list[str] = []
    work_on(jobs, tmp_path, begun.append)
    assert begun == []

    (tmp_path / "runs" / "num_encoder_layers=2-seed0" / "scores.json").unlink()
    assert [job.name for job in jobs_left(jobs)] == [
        "vision",
        "pretrain",
        "detector-n2",
        "num_encoder_layers=2-seed0",
    ]


@pytest.mark.parametrize("start", [None, Path("shapes")])
def test_every_row_is_a_valid_configuration_and_runs_once(start: Path | None) -> None:
    jobs = jobs_for(ALL, AblationPlan(Path("out"), seeds=2, start=start))
    assert {job.name for job in jobs if job.name.startswith("detector")} == {
        f"detector-n{n}" for n in (2, 4, 6, 8)
    }
    assert len({job.name for job in jobs}) == len(jobs)
    tunings = [job for job in jobs if job.folder.parent.name == "runs"]
    different = {row.settings for table in ALL for row in table.rows}
    assert len(tunings) == 2 * len(different)
    assert "spatial=0.02-seed1" in {job.name for job in tunings}
    known = {job.name for job in jobs}
    for place, job in enumerate(jobs):
        assert set(job.needs) <= {earlier.name for earlier in jobs[:place]} <= known
        for command in job.commands:
            if command[0] == "train":
                settings = [word for before, word in pairwise(command) if before == "--set"]
                override(recipe(command[1]), settings)


def test_ten_to_zero_is_ten_to_zero() -> None:
    (row,) = [row for row in TABLES["8-frames"].rows if row.name == "10:0"]
    (job,) = [job for job in jobs_for(ALL, AblationPlan(Path("out"), seeds=1)) if job.name == run_name(row, 0)]
    settings = [word for before, word in pairwise(job.commands[0]) if before == "--set"]
    data = override(recipe("shapes"), settings).data
    assert (data.num_positive, data.num_negative) == (10, 0)


def write_answers(folder: Path, data: Path, shift: float) -> None:
    """Answers that are right but for ``shift`` seconds, scored as a run's."""
    folder.mkdir(parents=True)
    lines = []
    for record in read_truth(data / "truth.jsonl"):
        if record.task == "stvg" and record.window is not None:
            start, end = (frame / record.fps + shift for frame in record.window)
            line = {"id": record.id, "status": "ok", "text": "", "boxes": []}
            lines.append(json.dumps(line | {"windows": [{"start": start, "end": end, "score": 1.0}]}))
    (folder / "predictions.jsonl").write_text("\n".join(lines) + "\n")
    words = ["score", "--truth", str(data / "truth.jsonl"), "--predictions", str(folder / "predictions.jsonl")]
    done = CliRunner().invoke(main.app, [*words, "--task", "stvg", "--out", str(folder / "scores.json")])
    assert done.exit_code == 0, done.output


def test_verdicts_follow_from_the_answers(shapes_data: Path, tmp_path: Path) -> None:
    """A row that is 0.8 s late is worse, one that is the same cannot be told, and the other way round."""
    (tmp_path / "data").symlink_to(shapes_data)
    late, same = AblationRow("late", ("a=1",), claim="m_tIoU"), AblationRow("same", ("b=2",), claim="m_tIoU")
    table = AblationTable("t", "T", (AblationRow("default"), late, same))
    plan = AblationPlan(tmp_path, seeds=1)
    for row, shift in ((table.rows[0], 0.0), (late, 0.8), (same, 0.0)):
        write_answers(tmp_path / "runs" / run_name(row, 0), shapes_data, shift)
    found = {claim.row: claim for claim in judge([table], plan)}
    assert (found["late"].verdict, found["same"].verdict) == ("holds here", "cannot tell")
    assert found["same"].difference == 0.0
    assert 0 < found["late"].ci95[0] <= found["late"].difference <= found["late"].ci95[1]

    turned = AblationTable("t", "T", (late, AblationRow("default", claim="m_tIoU")))
    assert [claim.verdict for claim in judge([turned], plan)] == ["does not hold here"]
    entries = collect([table], plan)
    assert [(entry.row, entry.seed) for entry in entries] == [("default", 0), ("late", 0), ("same", 0)]
    assert entries[0].metrics["m_tIoU"] > 99
    markdown = as_markdown([table], entries, judge([table], plan), plan)
    assert "| t | late | m_tIoU | - |" in markdown
    assert as_page(markdown).count("<tr>") == 1 + 3 + 1 + 2


def test_seeds_that_disagree_give_no_verdict(shapes_data: Path, tmp_path: Path) -> None:
    """One seed is much worse and one a little better: the interval is above zero, but not every seed."""
    (tmp_path / "data").symlink_to(shapes_data)
    late = AblationRow("late", ("a=1",), claim="m_tIoU")
    table, plan = AblationTable("t", "T", (AblationRow("default"), late)), AblationPlan(tmp_path, seeds=2)
    shifts = {(0, "default"): 0.0, (0, "late"): 0.8, (1, "default"): 0.1, (1, "late"): 0.0}
    for (seed, name), shift in shifts.items():
        row = late if name == "late" else table.rows[0]
        write_answers(tmp_path / "runs" / run_name(row, seed), shapes_data, shift)
    (claim,) = judge([table], plan)
    assert claim.ci95[0] > 0, claim
    assert claim.verdict == "cannot tell"
    (first,) = judge([table], replace(plan, seeds=1))
    assert first.verdict == "holds here"


def test_a_failed_run_is_said_and_others_can_be_listed(tmp_path: Path) -> None:
    command = ("ground", str(tmp_path / "nowhere.mp4"), "a circle")
    run = AblationJob("default-seed0", tmp_path, (command,), tmp_path / "scores.json")
    with pytest.raises(BridgeSTGError, match=r"default-seed0: .*nowhere.mp4"):
        work_on([run], tmp_path, lambda line: None)
    assert "bridge-stg ground" in (tmp_path / "logs" / "default-seed0.commands").read_text()
    listed = CliRunner().invoke(main.app, ["ablate", "--list"])
    assert listed.exit_code == 0
    assert all(table.key in listed.output for table in ALL)
    wrong = CliRunner().invoke(main.app, ["ablate", "8-part"])
    assert wrong.exit_code == 2
    assert " 8-parts?" in wrong.stderr


def ended(process: int) -> bool:
    """Whether a process is gone, or a zombie that nobody has asked about."""
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for the children of a process")
def test_a_killed_ablate_takes_its_command_along(tmp_path: Path) -> None:
    worker = start_command("ablate", "13", "--out", tmp_path, "--seeds", 1, "--videos", 400)
    children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")
    deadline = time.monotonic() + 240
    while not (tmp_path / "logs" / "data.log").is_file():
        assert worker.poll() is None, worker.stderr
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # The command, and what Python starts beside it.
    begun = [int(number) for number in children.read_text().split()]
    assert begun
    worker.kill()
    while not all(map(ended, begun)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (tmp_path / "data" / "truth.jsonl").exists()


@pytest.mark.slow
def test_two_rows_from_the_first_stage_to_the_page(tmp_path: Path) -> None:
    """Two processes share the work; what is done is not done again."""
    out = tmp_path / "out"
    words = ["ablate", "13", "--out", str(out), "--seeds", "1", "--steps", "2", "--prepare-steps", "2"]
    words += ["--videos", "2", *(word for setting in TINY for word in ("--set", setting))]
    command = [str(Path(sys.executable).with_name("bridge-stg")), *words]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    begun = [line for text in said for line in text.splitlines() if "/" in line and "wrote" not in line]
    assert len(begun) == len({line.split()[-1] for line in begun}) == 6
    entries = json.loads((out / "ablations.json").read_text())
    assert [(entry["table"], entry["row"], entry["seed"]) for entry in entries] == [
        ("13", "with", 0),
        ("13", "without", 0),
    ]
    assert entries[1]["settings"] == ["weights.alignment=0"]
    assert (
        set(entries[1]["metrics"]) == set(entries[1]["paper"]) == {"m_tIoU", "m_vIoU", "vIoU@0.3", "vIoU@0.5"}
    )
    assert (
        json.loads((out / "runs" / "alignment=0-seed0" / "config.json").read_text())["weights"]["alignment"]
        == 0
    )
    assert "cannot tell" in (out / "ablations.md").read_text()
