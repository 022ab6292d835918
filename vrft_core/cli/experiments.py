"""Commands about the cells of the grid: what they cost, running them, one stage alone."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vrft_core.cli.app import (
    CELL,
    FILE,
    Project,
    as_json,
    cell_argument,
    completions,
    dagster_pipes,
    print_json,
    vrft,
)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

experiments = vrft.section("Experiments")


class StageName(click.ParamType):
    """One of the stages in dvc.yaml."""

    name = "STAGE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from vrft_core.stage_names import OF_SOME, STAGES

        known = [*STAGES, *OF_SOME]
        if value not in known:
            self.fail(f"no stage {value!r}; known: {', '.join(known)}", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from vrft_core.stage_names import OF_SOME, STAGES

        return completions([*STAGES, *OF_SOME], incomplete)


@experiments.command()
@cell_argument
@click.option("--gpu", default="h100", help="h100, h200, a100, l40s or rtx4090.")
@click.option("--gpus", type=int, default=1, metavar="N", help="How many.")
@click.option("--sharded", is_flag=True, help="Spread weights and optimizer over the GPUs (ZeRO-3, FSDP).")
def plan(project: Project, cell: str, gpu: str, gpus: int, sharded: bool) -> int:
    """Estimate what training costs: memory, FLOPs, time. Loads nothing.

    CELL may also be a recipe's name, or a cell that the grid does not list yet. Ends with status 1 if it does not
    fit in the GPU's memory.
    """
    from vrft_core.cell import Cell
    from vrft_core.commands.plan import plan as estimate

    known = Cell.parse(cell, list(project.params.recipes))
    text, fits = estimate(project.params, known, gpu, gpus, sharded, project.root)
    click.echo(text)
    return int(not fits)


@experiments.command()
@cell_argument
@as_json
def run(project: Project, cell: str, as_json: bool) -> None:
    """Run what is stale of a cell or study; print the result.

    CELL is, for example, lvis-mini-1shot-s0, or lvis-mini-1shot for all its seeds.
    """
    from vrft_core.commands.run import run as reproduce
    from vrft_core.commands.status import result_of
    from vrft_core.commands.telling import result

    found = project.cell(cell, "cell", "study")
    report = reproduce(project.layout, project.params, found)
    if as_json:
        print_json({"cell": cell, "report": str(report / "report.html"), **(result_of(project.layout, found) or {})})
    else:
        click.echo("\n".join(result(project.layout, found)))


@experiments.command()
@click.argument("cell", metavar="[CELL]", type=CELL, required=False)
@as_json
def status(project: Project, cell: str | None, as_json: bool) -> None:
    """Show the grid: which stages are made, stale, running or failed.

    Also each report's headline metric for RFT, with its 95 % interval. CELL: only this cell, or the cells of this
    study, benchmark, recipe, or both, as lvis-mini.
    """
    from vrft_core.cli.status import table
    from vrft_core.commands.status import status as look

    params = project.params
    benchmark = cell if cell in params.benchmarks else None
    wider = project.cell(cell, "cell", "study", "setup", "recipe") if cell and not benchmark else None
    chosen = [one for one in params.cells() if wider is None or one.at(wider.scope) == wider]
    chosen = [one for one in chosen if benchmark in (None, one.benchmark)]
    studies = list(dict.fromkeys(one.at("study") for one in chosen)) if not wider or wider.scope != "cell" else []
    rows, why = look(project.layout, params, [*chosen, *studies])
    if as_json:
        print_json({"cells": [vars(row) for row in rows], "note": why})
        return
    click.echo(table(rows))
    if why:
        click.echo(f"{why}.")


@experiments.command()
@click.argument("cells", metavar="[CELL …]", type=CELL, nargs=-1)
@click.option("--out", type=FILE, help="Default: reports/overview.html.")
def overview(project: Project, cells: tuple[str, ...], out: Path | None) -> None:
    """Compare reports on one page: shots, seeds, tasks, the paper.

    CELL: cells and studies that have a report. Without any: all studies of the grid.
    """
    from vrft_core.commands.overview import overview as compare

    wanted = [project.cell(cell, "cell", "study") for cell in cells]
    click.echo("\n".join(compare(project.layout, project.params, wanted, out)))


@experiments.command()
@click.argument("stage", metavar="STAGE", type=StageName())
@click.option("--cell", required=True, metavar="CELL", type=CELL, help="For example lvis-mini-1shot-s0.")
@as_json
def stage(project: Project, stage: str, cell: str, as_json: bool) -> None:
    """Run one stage of one cell, even if it is up to date."""
    from vrft_core import warm

    again = ["--root", str(project.root), "stage", stage, "--cell", cell, *(["--json"] if as_json else [])]
    if (status := warm.stage(stage, again)) is not None:
        raise SystemExit(status)
    from vrft_core.cli.output import outlives_its_reader
    from vrft_core.commands.texts import one_line
    from vrft_core.stages import run_stage

    outlives_its_reader()
    if stage in ("sft", "rft") and "VRFT_ACCELERATE" in os.environ and "RANK" not in os.environ:
        _over_processes(project.root, stage, cell)
    found = project.cell(cell)
    if os.environ.get("RANK", "0") != "0":  # one of several processes of a training, and not the one that reports
        run_stage(stage, project.layout, project.params, found)
        return
    with dagster_pipes() as report:
        numbers = run_stage(stage, project.layout, project.params, found)
        report(numbers)
    if as_json:
        print_json({"stage": stage, "cell": cell, **numbers})
    else:
        click.echo(f"{cell} {stage}: done{one_line(numbers)}", err=True)


def _over_processes(root: Path, stage: str, cell: str) -> None:
    """Become `accelerate launch` of the same command; VRFT_ACCELERATE holds its arguments, whichever door was taken."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", *shlex.split(os.environ["VRFT_ACCELERATE"])]
    again = ["-m", "vrft_core.cli", "--root", str(root), "stage", stage, "--cell", cell]
    os.execv(sys.executable, [*launch, *again])
