"""The command line as a person meets it: exit codes, and what is printed where."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.command import refused, run

from bridge_stg.cli import main
from bridge_stg.errors import BridgeSTGError, DataError
from bridge_stg.records.record import letters_of, read_truth

COMMAND = Path(sys.executable).with_name("bridge-stg")
ENVIRONMENT = os.environ | {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    box = [0, 0, 8, 8]
    record = {
        "id": "q1",
        "task": "stvg",
        "video": "a.mp4",
        "fps": 10.0,
        "frame_count": 50,
        "clip": [0, 50],
        "width": 32,
        "height": 32,
        "query": "?",
        "window": [10, 20],
        "boxes": {str(frame): box for frame in range(10, 20)},
    }
    answer = {"id": "q1", "windows": [{"start": 1.0, "end": 2.0}], "boxes": [{"time": 1.0, "box": box}]}
    truth, predictions = tmp_path / "truth.jsonl", tmp_path / "model.jsonl"
    truth.write_text(json.dumps(record) + "\n")
    predictions.write_text(json.dumps(answer) + "\n")
    return truth, predictions


def loaded_by(code: str, heavy: set[str]) -> list[str]:
    """Which of ``heavy`` a process has loaded when it has run ``code``."""
    code = f"import sys\n{code}\nprint([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    found: list[str] = json.loads(done.stderr.splitlines()[-1].replace("'", '"'))
    return found


def test_importing_loads_nothing_heavy() -> None:
    """Nor does the list of the commands: a shell waits for it."""
    imports = "import bridge_stg, bridge_stg.types, bridge_stg.errors, bridge_stg.cli.main"
    assert loaded_by(imports, {"torch", "transformers", "av", "supervision"}) == []


def test_asking_for_help_loads_no_torch() -> None:
    every = [["--help"], ["score", "--help"], ["data", "shapes", "--help"], ["doctor", "--help"], ["--version"]]
    code = f"""
from bridge_stg.cli.main import app
for words in {every!r}:
    try:
        app(words)
    except SystemExit as stop:
        assert not stop.code, (words, stop.code)
"""
    assert loaded_by(code, {"torch"}) == []


def test_the_installed_command() -> None:
    """A process: its help names every command, and bad input is one line and exit code 2 there too."""
    helped = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert all(name in helped.stdout for name in main.COMMANDS)
    assert helped.stderr == ""
    done = subprocess.run([COMMAND, "scores"], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_command_of_the_table_can_be_loaded(name: str) -> None:
    module = main.COMMANDS[name][0].split(":")[0]
    assert find_spec(module) is not None
    done = run(name, "--help")
    assert done.exit_code == 0, done.output


def test_score_prints_a_table_and_writes_the_file(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    done = run("score", "--truth", files[0], "--predictions", files[1], "--beside", files[1], "--out", out)
    assert done.exit_code == 0, done.stderr
    assert "vIoU@R counts vIoU > R" in done.stdout
    assert "1 queries, 0 missing, 0 failed" in done.stdout
    assert "model" in done.stdout
    assert json.loads(out.read_text())["metrics"]["m_vIoU"] == 100.0


def test_score_json_prints_nothing_but_json(files: tuple[Path, Path]) -> None:
    done = run("score", "--truth", files[0], "--predictions", files[1], "--protocol", "paper", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["operator"] == ">="


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score", "--truth", "{missing}", "--predictions", "{predictions}"], "missing.jsonl"),
        (["score", "--truth", "{predictions}", "--predictions", "{predictions}"], "'q1'"),
        (["score", "--truth", "{truth}", "--predictions", "{truth}"], "'q1'"),
        (
            ["score", "--truth", "{truth}", "--predictions", "{predictions}", "--protocol", "x"],
            "'x'",
        ),
        (["score", "--truth", "{truth}"], "'--predictions'"),
        (
            ["score", "--truth", "{truth}", "--predictions", "{predictions}", "--out", "{missing}/s.json"],
            "missing.jsonl/s.json",
        ),
        (["scores"], " score?"),
        (["grund"], " ground?"),
        (["--nonsense"], "--nonsense"),
        (["cost", "--scale", "7b"], "'--scale': '7b' is not one of"),
        (["data", "shaps"], "'shapes'? See"),
        (["cost", "--scales", "8b"], "). See"),
        (["data"], "data --help"),
        (["data", "shapes", "--out", "x", "--videos", "0"], "'--videos'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    files: tuple[Path, Path], tmp_path: Path, words: list[str], message: str
) -> None:
    names = {"truth": files[0], "predictions": files[1], "missing": tmp_path / "missing.jsonl"}
    refused(run(*(word.format(**names) for word in words)), message)


@pytest.mark.parametrize("place", [0, 5])
def test_debug_raises_the_error_wherever_it_stands(files: tuple[Path, Path], place: int) -> None:
    words = ["score", "--truth", str(files[1]), "--predictions", str(files[1])]
    done = run(*words[:place], "--debug", *words[place:])
    assert done.exit_code != 0
    assert isinstance(done.exception, DataError)


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (BridgeSTGError("the disk\nis full"), "error: the disk is full\n"),
        (RuntimeError("odd"), "error: RuntimeError: odd (run again with --debug for details)\n"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_one(
    problem: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise problem

    monkeypatch.setitem(main.COMMANDS, "doctor", (f"{__name__}:fail", ""))
    monkeypatch.setattr(sys.modules[__name__], "fail", fail, raising=False)
    with pytest.raises(SystemExit) as stop:
        main.app(["doctor"])
    assert stop.value.code == 1
    assert capsys.readouterr().err == line


def test_doctor_reports_versions_and_hardware() -> None:
    done = run("doctor", "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, dict[str, Any]] = {item["name"]: item for item in json.loads(done.stdout)}
    assert found["torch"]["section"] == "package"
    assert found["tensorboard"]["section"] == "extra [train]"
    assert found["H.264 encoder"]["value"] == "libx264"
    assert {"cores", "memory", "torch threads"} <= found.keys()


def test_doctor_does_not_count_what_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extra that is absent is no fault; a requirement that is absent is one."""
    from importlib import metadata

    from bridge_stg.cli.doctor import package_findings

    wanted = ["no-such-package>=1", "no-such-extra; extra == 'serve'"]
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    needed, optional = package_findings()[2:]
    assert not needed.ok
    assert "no-such-package" in needed.value
    assert (optional.section, optional.ok) == ("extra [serve]", True)
    assert "bridge-stg[serve]" in optional.value


def test_doctor_looks_at_the_checkpoint(tmp_path: Path) -> None:
    from bridge_stg.cli.doctor import checkpoint_finding

    folder = tmp_path / "shapes"
    assert not checkpoint_finding(folder).ok
    assert all(name in checkpoint_finding(folder).value for name in ("config.json", "model.safetensors"))
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert not checkpoint_finding(folder).ok
    (folder / "model.safetensors").write_bytes(bytes(3 * 2**20))
    assert checkpoint_finding(folder).ok
    assert checkpoint_finding(folder).value == f"3.0 MiB in {folder}"


def test_doctor_table_names_the_extra() -> None:
    done = run("doctor")
    assert done.exit_code == 0, done.stderr
    assert "extra [train]" in done.stdout


def test_data_shapes_writes_what_score_reads(tmp_path: Path) -> None:
    out = tmp_path / "shapes"
    done = run(
        "data",
        "shapes",
        "--out",
        out,
        "--videos",
        1,
        "--seed",
        3,
        "--width",
        96,
        "--height",
        64,
        "--workers",
        1,
    )
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{out / 'truth.jsonl'}\n"
    assert (out / "videos" / "000000.mp4").stat().st_size > 0
    empty = tmp_path / "none.jsonl"
    empty.touch()
    scored = run("score", "--truth", out / "truth.jsonl", "--predictions", empty, "--json")
    assert scored.exit_code == 0, scored.stderr
    found = json.loads(scored.stdout)
    assert found["missing"] == found["n"] > 0
    assert found["beside"]["best constant answer"]["m_tIoU"] > 0
    again = run("data", "shapes", "--out", out, "--videos", 1)
    assert again.exit_code == 2
    assert str(out) in again.stderr


def test_data_shapes_draws_as_many_objects_as_asked_for(tmp_path: Path) -> None:
    """One object is asked for by "how many": all shapes together are one."""
    words = ("--videos", 2, "--seed", 3, "--width", 96, "--height", 64, "--workers", 1, "--questions", 40)
    done = run("data", "shapes", "--out", tmp_path / "one", *words, "--min-objects", 1, "--max-objects", 1)
    assert done.exit_code == 0, done.stderr
    records = read_truth(tmp_path / "one" / "truth.jsonl")
    counted = [record for record in records if record.query.startswith("how many")]
    answers = {record.choices[letters_of(record.choices).index(record.choice or "")] for record in counted}
    assert answers == {"0", "1"}
    turned = ("--min-objects", 3, "--max-objects", 2)
    refused(run("data", "shapes", "--out", tmp_path / "two", *words, *turned), "3..2")


def test_outputs_never_take_the_place_of_inputs(files: tuple[Path, Path], tmp_path: Path) -> None:
    truth, predictions = files
    words = ("score", "--truth", str(truth), "--predictions", str(predictions))
    scores = tmp_path / "scores.json"
    assert run(*words, "--out", str(scores)).exit_code == 0
    for command in (
        (*words, "--out", str(truth)),
        (*words, "--out", str(predictions)),
        ("compare", str(scores), str(scores), "--out", str(scores)),
    ):
        before = Path(command[-1]).read_bytes()
        refused(run(*command), command[-1])
        assert Path(command[-1]).read_bytes() == before


def test_a_long_name_does_not_flood_the_terminal(files: tuple[Path, Path]) -> None:
    truth, predictions = files
    predictions.write_text(json.dumps({"id": "q" * 100_000}) + "\n")
    done = run("score", "--truth", str(truth), "--predictions", str(predictions))
    assert done.exit_code == 2
    assert len(done.stderr) < 1100
    assert done.stderr.count("\n") == 1


def test_the_demo_needs_nothing_and_can_be_run_again(tmp_path: Path) -> None:
    for _ in range(2):
        done = run("demo", "--out", tmp_path / "demo")
        assert done.exit_code == 0, done.stderr
        (answer,) = json.loads((tmp_path / "demo" / "out" / "tube.json").read_text())
        assert answer["status"] == "ok"
        assert answer["notes"]  # that it knows drawn shapes only
    files = sorted(file.name for file in (tmp_path / "demo").rglob("*") if file.is_file())
    assert files == ["annotated.mp4", "clip.mp4", "tube.json"]

    # The sentence that it offers happens in the clip.
    last = shlex.split(done.stdout.splitlines()[-1].partition(": ")[2])
    assert last[:2] == ["bridge-stg", "ground"]
    (other,) = json.loads(run(*last[1:], "--no-video", "--json").stdout)
    assert other["status"] == "ok"
    assert other["window"]["start"] == pytest.approx(4.8, abs=0.5)
