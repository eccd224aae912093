"""``bridge-stg ablate``: the paper's ablation tables, run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge_stg.ablations.tables import AblationTable


def ablate(
    tables: Annotated[
        list[str] | None, typer.Argument(help="Tables by key (ablate --list), or all.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of all runs; several processes may share it.")] = Path(
        "runs/ablations"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Runs per row.")] = 2,
    base: Annotated[
        str | None,
        typer.Option(
            help="A checkpoint that every row is tuned from; default: prepared here, which takes hours."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of every row.")] = 150,
    prepare_steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of every stage before the rows; default: the recipes'.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", help="A checkpoint that the preparation goes on from, instead of from nothing."),
    ] = None,
    videos: Annotated[int, typer.Option(min=1, help="Held-out videos to answer.")] = 60,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a value of every training run; may be repeated.")
    ] = None,
    list_tables: Annotated[bool, typer.Option("--list", help="Say which tables and rows there are.")] = False,
) -> None:
    """Train, answer and score every row of the paper's ablation tables; run it again to go on."""
    from bridge_stg.ablations.tables import TABLES
    from bridge_stg.errors import InputError

    if list_tables:
        for table in TABLES.values():
            print(f"{table.key:10} {table.title}")
            for row in table.rows:
                print(f"{'':10}   {row.name:16} {' '.join(row.settings)}".rstrip())

        return

    chosen = _chosen(tables or [])
    if base is not None and start is not None:
        raise InputError("give --base or --from: what is tuned, or what the preparation goes on from")
    begin, tuned = (None if given is None else _folder(given) for given in (start, base))

    from bridge_stg.ablations.jobs import AblationPlan, jobs_for
    from bridge_stg.ablations.pages import as_markdown, as_page
    from bridge_stg.ablations.verdicts import collect, judge, write_json
    from bridge_stg.ablations.work import work_on
    from bridge_stg.cli.prepare import check_writable
    from bridge_stg.cli.runs import named_or_read
    from bridge_stg.files.output_files import write_whole

    check_writable(out)
    plan = AblationPlan(out, seeds, steps, prepare_steps, tuned, begin, videos, tuple(settings or ()))
    jobs = jobs_for(chosen, plan)
    # A setting that means nothing is refused now, and not by the first run that has it.
    for job in jobs:
        for recipe, changes in job.trainings:
            named_or_read(recipe, changes)

    work_on(jobs, out, lambda line: print(line, flush=True))

    write_json(out / "ablations.json", collect(chosen, plan))
    markdown = as_markdown(chosen, collect(chosen, plan), judge(chosen, plan), plan)
    write_whole(out / "ablations.md", markdown)
    write_whole(out / "ablations.html", as_page(markdown))
    print(f"wrote {out / 'ablations.json'}, ablations.md and ablations.html")


def _folder(checkpoint: str) -> Path:
    """The folder of a checkpoint, which may be a shipped name.

    Raises:
        InputError: what the first training could not begin with, said before its videos are drawn.
    """
    from bridge_stg.errors import InputError
    from bridge_stg.model.configuration import BridgeSTGConfig
    from bridge_stg.weights.locate import checkpoint_folder
    from bridge_stg.weights.qwen3_vl import MODEL_TYPE, model_type

    folder = Path(checkpoint_folder(checkpoint))
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: holds no config.json; give the folder of a checkpoint")
    kind = model_type(str(folder))
    if kind not in (BridgeSTGConfig.model_type, MODEL_TYPE):
        raise InputError(f"{folder}: holds a {kind} model; give the folder of a Bridge-STG or a Qwen3-VL")
    return folder


def _chosen(keys: list[str]) -> list[AblationTable]:
    """The tables of these keys; a number alone means all tables that begin with it."""
    from bridge_stg.ablations.tables import TABLES
    from bridge_stg.errors import InputError, did_you_mean

    if not keys:
        raise InputError(f"give tables: all, {', '.join(TABLES)}; ablate --list says what they compare")
    found: dict[str, AblationTable] = {}

    for key in keys:
        fitting = [name for name in TABLES if key in ("all", name, name.partition("-")[0])]
        if not fitting:
            hint = did_you_mean(key, TABLES)
            raise InputError(f"no table {key!r}{hint}; there are: all, {', '.join(TABLES)}")

        found |= {name: TABLES[name] for name in fitting}

    return list(found.values())
