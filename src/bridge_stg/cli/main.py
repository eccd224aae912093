"""``bridge-stg``: the table of commands, and the one place where errors become exit codes.

A command lives in a file of its own and is imported only when it runs; this file and the help it prints load
neither torch nor any command. To add a command, write ``cli/<name>.py`` and add a line to ``COMMANDS``.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bridge_stg.cli import prepare
from bridge_stg.cli.extras import missing_package
from bridge_stg.errors import BridgeSTGError, InputError, did_you_mean

# Name -> (where the function or the typer app is, its line in the help).
COMMANDS: dict[str, tuple[str, str]] = {
    "ground": ("bridge_stg.cli.ground:ground", "Find sentences in a video: when, and where in each frame."),
    "batch": ("bridge_stg.cli.batch:batch", "Find sentences in many videos, on one machine or a cluster."),
    "serve": ("bridge_stg.cli.serve:serve", "Serve a page and an HTTP interface for one model."),
    "demo": ("bridge_stg.cli.demo:demo", "Draw a clip, find a sentence in it, and draw the answer."),
    "train": ("bridge_stg.cli.train:train", "Train a model from a recipe or a configuration file."),
    "ablate": ("bridge_stg.cli.ablate:ablate", "Run the paper's ablation tables again, on generated videos."),
    "merge": ("bridge_stg.cli.merge:merge", "Merge what LoRA tuning learned into one checkpoint folder."),
    "export": (
        "bridge_stg.cli.export:export",
        "Write what ground found for CVAT, Label Studio, MOTChallenge or COCO.",
    ),
    "data": ("bridge_stg.cli.data:app", "Make and inspect data sets."),
    "predict": ("bridge_stg.cli.predict:predict", "Answer every question of a benchmark."),
    "score": ("bridge_stg.cli.score:score", "Score predictions against the truth."),
    "calibrate": (
        "bridge_stg.cli.calibrate:calibrate",
        "Fit how sure a checkpoint is, on questions with known answers.",
    ),
    "compare": ("bridge_stg.cli.compare:compare", "Say which differences between two scored runs are real."),
    "report": (
        "bridge_stg.cli.report:report",
        "Make one page of what runs get right and wrong, with pictures.",
    ),
    "cost": ("bridge_stg.cli.cost:cost", "Compute what grounding a clip should cost; nothing is measured."),
    "doctor": (
        "bridge_stg.cli.doctor:doctor",
        "Say what is installed, what is missing, and what hardware there is.",
    ),
}

EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
LONGEST_LINE = 1000


class LazyGroup(TyperGroup):
    """A command group that imports a command when it is called and not before."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the help line: enough for ``--help`` and for spelling suggestions."""
        if cmd_name not in COMMANDS:
            return None
        return _as_command(cmd_name, lambda: None, COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command: this is only called when it is about to run."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}.")
        name, command, rest = super().resolve_command(ctx, args)
        if name is None or command is None:
            return name, command, rest
        place, help_line = COMMANDS[name]
        module, attribute = place.split(":")
        return name, _as_command(name, getattr(import_module(module), attribute), help_line), rest

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        """Run a command line and exit: 0, 1 after a failure, 2 after bad input."""
        given = list(sys.argv[1:] if args is None else args)
        # --debug is accepted before and after the command; what follows a bare -- belongs to the command.
        flags = given[: given.index("--")] if "--" in given else given
        debug = "--debug" in flags
        given = [word for word in flags if word != "--debug"] + given[len(flags) :]
        given = given or ["--help"]
        options["standalone_mode"] = False
        try:
            code = super().main(given, *rest, **options)
            if code == EXIT_INTERRUPTED:
                print("stopped", file=sys.stderr)
        except Exception as problem:
            if debug:
                raise
            code = _report(problem)
        sys.exit(code if isinstance(code, int) else 0)


def _as_command(name: str, target: Any, help_line: str) -> Any:
    """A function or a typer app as a command of the group."""
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    wrapper = typer.Typer(add_completion=False)
    wrapper.command(name, short_help=help_line)(target)
    return typer.main.get_command(wrapper)


def _report(problem: Exception) -> int:
    """Print one line on stderr and say with which code to exit."""
    # Typer's usage errors share no public base class; this method is what they have in common.
    usage = getattr(problem, "format_message", None)
    if usage is not None:
        where = getattr(getattr(problem, "ctx", None), "command_path", "bridge-stg")
        # Some of them say which class of error they were.
        wrong = usage().replace(": Value error, ", ": ").strip()
        end = "" if wrong.endswith((".", "?")) else "."
        message, code = f"{wrong}{end} See '{where} --help'.", EXIT_BAD_INPUT
    elif isinstance(problem, typer.Abort):
        message, code = "stopped", EXIT_FAILURE
    elif isinstance(problem, ModuleNotFoundError) and (advice := missing_package(problem)):
        message, code = advice, EXIT_BAD_INPUT
    elif isinstance(problem, InputError):
        message, code = str(problem), EXIT_BAD_INPUT
    elif isinstance(problem, OSError) and problem.errno == errno.ENAMETOOLONG:
        # Any look at such a path fails, wherever it is given.
        message, code = f"{problem.filename}: this name is too long for a file; give another", EXIT_BAD_INPUT
    elif isinstance(problem, BridgeSTGError):
        message, code = str(problem), EXIT_FAILURE
    else:
        message, code = (
            f"{type(problem).__name__}: {problem} (run again with --debug for details)",
            EXIT_FAILURE,
        )
    line = " ".join(message.split())
    # A name out of a broken file can be of any length.
    print("error: " + (line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " ..."), file=sys.stderr)
    return code


app = typer.Typer(cls=LazyGroup, add_completion=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        import bridge_stg

        print(bridge_stg.__version__)
        raise typer.Exit


@app.callback()
def bridge_stg_cli(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Bridge-STG: when and where does this sentence happen in this video?"""


def run() -> None:
    """The program ``bridge-stg``: a process that runs one command and ends."""
    prepare.one_command_process = True
    app()


if __name__ == "__main__":  # for launchers: accelerate launch -m bridge_stg.cli.main predict ...
    app()
