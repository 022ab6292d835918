"""Commands about which cells there are, and a look at one before it is trained."""

from pathlib import Path

import click

from vrft_core.cli.app import BENCHMARK, FILE, RECIPE, Project, Several, as_json, cell_argument, print_json, vrft

experiments = vrft.section("Experiments")


@experiments.command()
@click.argument("benchmark", type=BENCHMARK)
@click.option("--recipe", type=RECIPE, help="How to train. Default: mini.")
@click.option("--shots", cls=Several, type=int, metavar="K …", help="Training images a category. Default: 1.")
@click.option("--seeds", cls=Several, type=int, default=(0, 1, 2), metavar="N …", help="One cell each.")
def add(project: Project, benchmark: str, recipe: str | None, shots: tuple[int, ...], seeds: tuple[int, ...]) -> None:
    """Put cells into the grid of params.yaml.

    BENCHMARK is one that params.yaml describes, or `paper`: the cells of all its tables; or `comparisons`: the cells of
    recipes that are compared with those in the grid.
    """
    from vrft_core.commands.add import add as put

    for line in put(project.root, benchmark, recipe, shots or None, seeds):
        click.echo(line)


@experiments.command()
@click.argument("name", type=BENCHMARK)
@click.option("--recipe", type=RECIPE, help="Only cells of this recipe.")
@click.option("--shots", cls=Several, type=int, metavar="K …", help="Only these.")
@click.option("--seeds", cls=Several, type=int, metavar="N …", help="Only these.")
def remove(project: Project, name: str, recipe: str | None, shots: tuple[int, ...], seeds: tuple[int, ...]) -> None:
    """Take cells out of the grid; their files stay.

    NAME is a benchmark, the key of a cell or study, `paper` or `comparisons`. A benchmark of your own data goes with
    its cells, as if `vrft init` had not been run.
    """
    from vrft_core.commands.add import remove as take

    for line in take(project.root, name, recipe, shots or None, seeds or None):
        click.echo(line)


@experiments.command()
@cell_argument
@as_json
def doctor(project: Project, cell: str, as_json: bool) -> int:
    """Say what will go wrong with a cell, before training.

    Ends with status 1 if a check fails. Data checks want the stage raw, the first answers the stage policy.
    """
    from vrft_core.commands.doctor import doctor as examine
    from vrft_core.commands.doctor import failed, table

    key = project.cell(cell, "cell")
    rows = examine(project.layout, project.params, key)
    if as_json:
        print_json({"cell": cell, "checks": rows})
    else:
        click.echo("\n".join(table(rows, key)))
    return int(failed(rows))


@experiments.command()
@cell_argument
@click.option("--n", "count", type=int, default=9, metavar="N", help="How many examples.")
@click.option("--out", type=FILE, metavar="FILE", help="An image (.png) or a page (.html). Default: in reports/.")
def show(project: Project, cell: str, count: int, out: Path | None) -> None:
    """Show training examples of a cell: question, answer, boxes."""
    from vrft_core.commands.show import show as draw

    for line in draw(project.layout, project.params, project.cell(cell, "cell"), count, out):
        click.echo(line)
