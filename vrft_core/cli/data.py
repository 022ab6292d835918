"""Commands about a user's own images and annotations."""

from pathlib import Path

import click

from vrft_core.cli.app import FILE, RECIPE, Project, Several, vrft

data = vrft.section("Data")


@data.command()
@click.argument("directory", metavar="DIR", type=FILE)
def new(project: Project, directory: Path) -> None:
    """Start a project of its own in a new folder."""
    from vrft_core.commands.new import new as write

    for line in write(directory):
        click.echo(line)


@data.command()
@click.argument("folder", metavar="FOLDER")
@click.option("--name", metavar="NAME", help="The benchmark's name. Default: made from the folder's.")
@click.option("--coco", type=FILE, metavar="JSON", help="Training boxes, COCO or LVIS; then FOLDER is a name.")
@click.option("--images", type=FILE, metavar="DIR", help="With --coco: training images.")
@click.option("--eval-coco", type=FILE, metavar="JSON", help="With --coco: evaluation boxes.")
@click.option("--eval-images", type=FILE, metavar="DIR", help="With --coco: evaluation images.")
@click.option("--task", metavar="TASK", help="What is asked: a task's name. Default: what the labels are for.")
@click.option("--recipe", type=RECIPE, default="mini", help="How to train.")
@click.option("--shots", type=int, default=1, metavar="K", help="Training images a category.")
@click.option("--seeds", cls=Several, type=int, default=(0, 1, 2), metavar="N …", help="One cell each.")
@click.option(
    "--categories", cls=Several, metavar="NAME …", help="What to teach. Default: all that have enough images."
)
def init(
    project: Project,
    folder: str,
    name: str | None,
    coco: Path | None,
    images: Path | None,
    eval_coco: Path | None,
    eval_images: Path | None,
    task: str | None,
    recipe: str,
    shots: int,
    seeds: tuple[int, ...],
    categories: tuple[str, ...],
) -> None:
    """Add your own labelled images as a benchmark.

    FOLDER holds images and their labels: COCO, LVIS, YOLO, Pascal VOC, Label Studio, a folder for each class, CSV or
    JSON, parquet. The format is found out (docs/your-own-images.md).
    """
    from vrft_core.commands.init import init as add
    from vrft_core.commands.init_folder import init_folder
    from vrft_core.tasks import DEFAULT

    chosen = list(categories) or None
    if coco and images and eval_coco and eval_images:
        train, evaluation = (coco, images), (eval_coco, eval_images)
        lines = add(project.root, name or folder, train, evaluation, recipe, shots, seeds, chosen, task or DEFAULT)
    elif coco or images or eval_coco or eval_images:
        raise click.UsageError("--coco, --images, --eval-coco and --eval-images belong together: give all, or a folder")
    else:
        lines = init_folder(project.root, Path(folder), name, recipe, shots, seeds, chosen, task)
    for line in lines:
        click.echo(line)


@data.command()
@click.argument("name")
def update(project: Project, name: str) -> None:
    """Accept changed annotation files of your own benchmark."""
    from vrft_core.commands.init import update as take

    for line in take(project.root, name):
        click.echo(line)
