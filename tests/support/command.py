"""The command line in the process of the tests; what differs in a process of its own is tested there."""

from __future__ import annotations

from click.testing import Result
from typer.testing import CliRunner

from bridge_stg.cli import main


def run(*words: object) -> Result:
    return CliRunner().invoke(main.app, [str(word) for word in words])


def refused(result: Result, part: str) -> None:
    """Exit code 2, nothing on stdout, and one line that says what is wrong."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert part in result.stderr
