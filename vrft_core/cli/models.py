"""Commands that ask models, measure what they answered, and hand models on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vrft_core.cli.app import CELL, FILE, RECIPE, Project, Several, as_json, cell_argument, print_json, vrft
from vrft_core.errors import InputError

if TYPE_CHECKING:
    from vrft_core.commands.predict import Request

models = vrft.section("Models")

DEFAULT_METHOD = {"predict": "rft", "presence": "base"}


def asking(function):
    """Options that `predict` and `presence` share: which model is asked about which images."""
    method = f"With --cell: which of its models. Default: {DEFAULT_METHOD[function.__name__]}."
    for option in reversed((
        click.option("--cell", metavar="CELL", type=CELL, help="Its model, on its evaluation images or --images."),
        click.option("--model", type=FILE, metavar="DIR", help="A saved policy, or any Qwen-VL model folder."),
        click.option("--method", type=click.Choice(["base", "sft", "rft"]), help=method),
        click.option("--adapter", type=FILE, metavar="DIR", help="With --model: LoRA weights, or a trained model."),
        click.option("--task", metavar="TASK", help="With --model: a task's name. Default: the recipe's first."),
        click.option("--recipe", type=RECIPE, help="With --model: prompts and sizes. Default: mini."),
        click.option("--images", type=FILE, metavar="PATH", help="The images: a folder, or one file."),
        click.option("--annotations", type=FILE, metavar="JSON", help="COCO or LVIS file that lists them."),
        click.option(
            "--categories", cls=Several, metavar="NAME …",
            help="What to look for. Default: what is annotated, or the cell's categories.",
        ),
    )):  # fmt: skip
        function = option(function)
    return function


@models.command()
@click.argument("words", nargs=-1, metavar="[CELL] [IMAGES] [CATEGORY]...")
@asking
@click.option(
    "--out", "--output", "output", type=FILE, metavar="PATH",
    help="An image file: boxes drawn on it. A folder: an image each. Else: JSON lines. Default: print.",
)  # fmt: skip
@click.option(
    "--presence", metavar="PROTOCOL",
    help="What to ask: oracle, self, or a presence map's file. Default: every category of every image; oracle for a "
    "cell's own images.",
)  # fmt: skip
@as_json
def predict(
    project: Project, words: tuple[str, ...], presence: str | None, output: Path | None, as_json: bool, **asked
) -> None:
    """Ask a model about images, and draw what it finds.

    \b
    vrft predict lvis-mini-1shot-s0 photo.jpg cat dog --out boxed.png
    vrft predict lvis-mini-1shot-s0 photos/ --out boxed/
    vrft predict --model models/mini/policy photo.jpg cat --out found.jsonl

    IMAGES is one file or a folder; without it, a cell's evaluation images. Resumes after an interruption.
    """
    if words:
        asked = _with_words(asked, list(words))
    request = _request(project, "predict", **asked)
    from vrft_core.commands import predict as answer

    own = asked["cell"] and not asked["images"]
    protocol = presence or (request.task.prompts.DEFAULT if own else None)
    if output is None:
        if as_json:
            raise InputError("--json", "needs --out", "name the file of answers")
        click.echo("\n".join(answer.predict_lines(request, protocol)))
        return
    drawn = answer.is_image(output) or output.is_dir() or not output.suffix
    found = (answer.predict_boxed if drawn else answer.predict)(request, protocol, output)
    if as_json:
        print_json({"output": str(output), **found})
    else:
        about = f"{_counted(found['questions'], 'question')} about {_counted(found['images'], 'image')}"
        click.echo(
            "\n".join([f"{output}: {_drawn(found) if drawn else 'answers to'} {about}", *found.get("undrawn", [])])
        )


def _drawn(found: dict) -> str:
    if not found["marks"]:
        return "nothing found, nothing drawn on the copy:"
    others = found["marks"] - found["boxes"]
    parts = [(found["boxes"], "box", "boxes"), (others, "answer without a box", "answers without a box")]
    named = " and ".join(_counted(count, one, several) for count, one, several in parts if count)
    return f"{named} drawn, of answers to"


def _counted(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def _with_words(asked: dict, words: list[str]) -> dict:
    """Options from `CELL IMAGES CATEGORY …`; what an option has said already is not expected among them."""
    cell = asked["cell"] or (None if asked["model"] else words.pop(0))
    images = asked["images"] or (Path(words.pop(0)) if words else None)
    return asked | {"cell": cell, "images": images, "categories": (*asked["categories"], *words)}


@models.command()
@asking
@click.option("--output", "--out", type=FILE, required=True, metavar="FILE", help="JSON: image id → categories.")
@as_json
def presence(project: Project, output: Path, as_json: bool, **asked) -> None:
    """Write a map of the categories a model claims to see."""
    request = _request(project, "presence", **asked)
    found = request.task.commands.make_map(request, output)
    if as_json:
        print_json({"output": str(output), **found})
    else:
        click.echo(
            f"{output}: {found['present']} of {found['questions']} answered yes, {found['unclear']} unclear, "
            f"{found['images']} images"
        )


def _request(
    project: Project,
    command: str,
    cell: str | None,
    model: Path | None,
    method: str | None,
    adapter: Path | None,
    task: str | None,
    recipe: str | None,
    images: Path | None,
    annotations: Path | None,
    categories: tuple[str, ...],
) -> "Request":
    """Which model is asked about which images. What is wrong already by itself is said before imports of seconds."""
    if cell and model:
        raise InputError("--model", f"and --cell {cell} each name a model", "give one of the two")
    if cell:
        _refuse_ignored(cell, adapter, recipe)
    if annotations and not images:
        raise InputError("--annotations", "lists images that are not given", "give their folder as --images")
    for path in (images, annotations, adapter):
        if path and not path.exists():
            raise InputError(path, "no such file or folder", "check the path")
    from vrft_core.commands.predict import cell_on_files_request, cell_request, files_request, trained_by
    from vrft_core.tasks import get_task

    names = list(categories) or None
    if model and not adapter and (owner := trained_by(project.layout, project.params, model)):
        (cell, method), model = owner, None
        _refuse_ignored(cell, adapter, recipe)
    if cell:
        method = method or DEFAULT_METHOD[command]
        found = project.cell(cell, "cell", *(("study", "setup") if method == "base" else ()))
        which = project.layout, project.params, found, method
        return cell_on_files_request(*which, images, annotations, names) if images else cell_request(*which, names)
    if not model:
        raise InputError("--cell, --model", "are missing", "give one of the two: whose answers?")
    if method:
        raise InputError("--method", "belongs to --cell", "with --model, say which weights with --adapter")
    if not images:
        raise InputError("--images", "is missing", "which images? Or give --cell")
    name = recipe or "mini"
    if name not in project.params.recipes:
        raise InputError("--recipe", f"no recipe {name!r}", f"known: {', '.join(project.params.recipes)}")
    settings = project.params.recipes[name]
    return files_request(
        get_task(task or next(iter(settings.tasks))), settings, model, adapter, images, annotations, names
    )


def _refuse_ignored(cell: str, adapter: Path | None, recipe: str | None) -> None:
    if adapter or recipe:
        option = "--adapter" if adapter else "--recipe"
        raise InputError(option, f"belongs to --model, and --cell {cell} has its own", "give one of the two")


@models.command()
@click.option("--rules", help="coco or lvis, or another task's name; or else --cell.")
@click.option("--ground-truth", type=FILE, metavar="JSON", help="COCO or LVIS annotations.")
@click.option("--detections", type=FILE, metavar="FILE", help="COCO results, or what `vrft predict` wrote.")
@click.option(
    "--ranked-by", default="stated", metavar="RANKING",
    help="Which of a prediction's scores rank its boxes: stated, likelihood, certainty, …",
)  # fmt: skip
@click.option("--answers", metavar="JSONL", help="A log as `vrft score` reads it, for other tasks.")
@click.option("--sam", type=FILE, metavar="DIR", help="SAM's weights: makes masks of the answers' boxes.")
@click.option("--images", type=FILE, metavar="DIR", help="With --sam: the images that the log names.")
@click.option("--categories", cls=Several, metavar="NAME …", help="Only these. Default: all.")
@click.option(
    "--split", metavar="NAME",
    help="Only images whose `split` in the ground truth is this. Default: the one that all detections are of; all "
    "images where there is none.",
)  # fmt: skip
@click.option("--published-lvis", is_flag=True, help="Also the number as Visual-RFT's notebook counted it.")
@click.option(
    "--cell", metavar="CELL", type=CELL,
    help="Beside the models of this cell or study, on its evaluation images; with --detections or --presence alone.",
)  # fmt: skip
@click.option(
    "--presence", metavar="NAME",
    help="With --cell: score its own models' answers again, those to the questions of this protocol, such as oracle.",
)  # fmt: skip
@click.option("--name", metavar="TEXT", help="With --cell: keep the result for `vrft overview`, under this name.")
@as_json
def evaluate(
    project: Project, categories: tuple[str, ...], as_json: bool, cell: str | None, name: str | None, **asked
) -> None:
    """Measure a file of predictions, or a log of answers.

    \b
    vrft evaluate --rules coco --ground-truth instances_val.json --detections found.json
    vrft evaluate --cell lvis-mini-1shot --detections detector.json --name "tuned detector"
    vrft evaluate --cell lvis-mini-1shot --presence oracle
    """
    from vrft_core.commands.evaluate import Measurement
    from vrft_core.tasks import task_of_rules

    if cell:
        _beside(project, cell, name, as_json, {**asked, "categories": categories})
        return
    for option, value in (("--name", name), ("--presence", asked.pop("presence"))):
        if value:
            raise InputError(option, "needs --cell", "give the cell")
    if not asked["rules"]:
        raise InputError("--rules, --cell", "are missing", "give one of the two")
    wanted = Measurement(categories=list(categories) or None, **asked)
    result, table = task_of_rules(wanted.rules).commands.evaluate(wanted)
    if as_json:
        print_json(result)
    else:
        click.echo(table)


def _beside(project: Project, cell: str, name: str | None, as_json: bool, asked: dict[str, Any]) -> None:
    from vrft_core.commands import outside, rescored

    detections, presence = asked.pop("detections"), asked.pop("presence")
    if asked.pop("ranked_by") != "stated" or any(asked.values()):
        option = next((one for one, value in asked.items() if value), "ranked_by")
        raise InputError(
            f"--{option.replace('_', '-')}", "belongs to --rules, and a cell has its own", "give one of the two"
        )
    if bool(detections) == bool(presence) or (presence and name):
        problem = "are there together" if presence else "are both missing"
        raise InputError("--detections, --presence", problem, "name a file of answers to measure, or a protocol")
    found = project.cell(cell, "cell", "study")
    if presence:
        rescore = rescored.measure(project.layout, project.params, found, presence)
        if as_json:
            print_json(rescore)
        else:
            click.echo("\n".join(rescored.lines(rescore)))
        return
    result = outside.measure(project.layout, project.params, found, detections, name)
    if as_json:
        print_json(result)
        return
    click.echo("\n".join(outside.lines(result)))
    if name:
        click.echo(f"Kept: {outside.kept_as(project.layout, found, name)}\nNext: vrft overview {cell}")


@models.command()
@click.argument("file")
@click.option("--task", required=True, metavar="TASK", help="What the completions answer: a task's name.")
@click.option("--rewards", default="strict", type=click.Choice(["strict", "published"]), help="Which rewards.")
def score(project: Project, file: str, task: str, rewards: str) -> None:
    """Reward logged completions again, one JSON line each.

    FILE holds JSON lines: `completion`, `solution`, optional `image_size` or `frame`; - for standard input.
    """
    from vrft_core.commands.score import score_log

    for line in score_log(file, task, rewards):
        click.echo(line)


@models.command()
@cell_argument
@click.argument("directory", type=FILE, metavar="DIR")
@click.option("--method", type=click.Choice(["sft", "rft"]), default="rft", help="Which training.")
def export(project: Project, cell: str, directory: Path, method: str) -> None:
    """Write a trained model for plain transformers.

    DIR is a new folder: merged weights and a model card.
    """
    from vrft_core.commands.export import export as write

    write(project.layout, project.params, project.cell(cell, "cell"), method, directory)
    click.echo(f"{directory}: merged weights, and a card in README.md")


@models.command()
@cell_argument
@click.option("--port", type=click.IntRange(1, 65535), default=8600, help="On 127.0.0.1.")
def serve(project: Project, cell: str, port: int) -> None:
    """Try a cell's models in the browser, side by side.

    A page on this machine alone: drop an image, type categories, see boxes, confidence and thinking of base, SFT and
    RFT. Ctrl-C ends it.
    """
    click.echo(f"{cell}: starting the page", err=True)
    from vrft_core.commands.serve import serve as answer

    answer(project.layout, project.params, project.cell(cell, "cell"), port)


@models.command()
@click.argument("model", metavar="MODEL")
@click.option("--scenes", "count", type=int, default=12, metavar="N", help="How many to draw; more settle a tie.")
def probe(project: Project, model: str, count: int) -> None:
    """Find out which coordinates a model writes.

    That is their frame, the order of the axes, and the form. MODEL is a model folder, or a cell whose policy is made.
    Prints a table, and a line to paste into params.yaml.
    """
    from vrft_core.commands.probe import probe as find
    from vrft_core.commands.probe import table

    click.echo(table(find(project.layout, project.params, model, count)))
