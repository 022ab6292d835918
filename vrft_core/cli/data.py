"""Commands about a user's own images and annotations."""

from pathlib import Path

import click

from vrft_core.cli.app import FILE, Project, Several, vrft

data = vrft.section("Data")


@data.command()
@click.argument("name")
@click.option("--coco", type=FILE, required=True, metavar="JSON", help="Training boxes, COCO or LVIS.")
@click.option("--images", type=FILE, required=True, metavar="DIR", help="Training images.")
@click.option("--eval-coco", type=FILE, required=True, metavar="JSON", help="Evaluation boxes, COCO or LVIS.")
@click.option("--eval-images", type=FILE, required=True, metavar="DIR", help="Evaluation images.")
@click.option("--task", metavar="TASK", help="What is asked: a task's name. Default: where are all objects?")
@click.option("--recipe", default="mini", help="How to train.")
@click.option("--shots", type=int, default=1, metavar="K", help="Training images a category.")
@click.option("--seeds", cls=Several, type=int, default=(0, 1, 2), metavar="N …", help="One cell each.")
@click.option(
    "--categories", cls=Several, metavar="NAME …", help="What to teach. Default: all that have enough images."
)
def init(
    project: Project,
    name: str,
    coco: Path,
    images: Path,
    eval_coco: Path,
    eval_images: Path,
    task: str | None,
    recipe: str,
    shots: int,
    seeds: tuple[int, ...],
    categories: tuple[str, ...],
) -> None:
    """Add your own images and boxes as a benchmark.

    NAME is the benchmark's name, for example my-data.
    """
    from vrft_core.commands.init import init as add
    from vrft_core.tasks import DEFAULT

    train, evaluation = (coco, images), (eval_coco, eval_images)
    for line in add(
        project.root, name, train, evaluation, recipe, shots, seeds, list(categories) or None, task or DEFAULT
    ):
        click.echo(line)


@data.command()
@click.argument("name")
def update(project: Project, name: str) -> None:
    """Accept changed annotation files of your own benchmark."""
    from vrft_core.commands.init import update as take

    for line in take(project.root, name):
        click.echo(line)
