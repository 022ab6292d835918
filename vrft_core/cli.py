"""`vrft`: what dvc.yaml calls, what Dagster launches, what a person types.

Parsing and printing only; each command's work is a function elsewhere, imported when asked for. A user's mistake
ends in one line on standard error and exit status 2.
"""

import argparse
import contextlib
import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from vrft_core import __version__
from vrft_core.errors import InputError


@contextlib.contextmanager
def _dagster_pipes() -> Iterator[Callable[[dict], None]]:
    """Yield report(numbers); under Dagster Pipes the numbers become the asset's metadata."""
    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield lambda numbers: None
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        yield lambda numbers: pipes.report_asset_materialization(metadata=numbers)


# Our own progress lines say what a library's bars and notices would say again; nothing is sent anywhere.
# Threads that wait do not spin: on cores shared with other work that halves a training's time.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def _over_processes(args: argparse.Namespace) -> None:
    """Become `accelerate launch` of the same command; VRFT_ACCELERATE holds its arguments, whichever door was taken."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", *shlex.split(os.environ["VRFT_ACCELERATE"])]
    again = ["-m", "vrft_core.cli", "--root", str(args.root), "stage", args.name, "--cell", args.cell]
    os.execv(sys.executable, [*launch, *again])


def stage(args: argparse.Namespace) -> None:
    from vrft_core.cell import Layout
    from vrft_core.stages import run_stage
    from vrft_core.tasks import load_params

    if args.name in ("sft", "rft") and "VRFT_ACCELERATE" in os.environ and "RANK" not in os.environ:
        _over_processes(args)
    params = load_params(args.root / "params.yaml")
    cell = params.parse_cell(args.cell)
    if os.environ.get("RANK", "0") != "0":  # one of several processes of a training, and not the one that reports
        run_stage(args.name, Layout(args.root), params, cell)
        return
    with _dagster_pipes() as report:
        numbers = run_stage(args.name, Layout(args.root), params, cell)
        report(numbers)
    print(json.dumps({"stage": args.name, "cell": args.cell, **numbers}), file=sys.stderr)


def run(args: argparse.Namespace) -> None:
    from vrft_core.cell import Layout
    from vrft_core.commands.run import run as reproduce
    from vrft_core.tasks import load_params

    params = load_params(args.root / "params.yaml")
    report = reproduce(Layout(args.root), params, params.parse_cell(args.cell))
    print((report / "summary.md").read_text(encoding="utf-8"))
    print(f"Report: {report / 'report.html'}")


def plan(args: argparse.Namespace) -> None:
    from vrft_core.cell import Cell
    from vrft_core.commands.plan import plan as estimate
    from vrft_core.tasks import load_params

    params = load_params(args.root / "params.yaml")
    cell = Cell.parse(args.cell, list(params.recipes))  # it need not be in the grid yet
    print(estimate(params, cell, args.gpu, args.gpus, args.sharded))


def export(args: argparse.Namespace) -> None:
    from vrft_core.cell import Layout
    from vrft_core.commands.export import export as write
    from vrft_core.tasks import load_params

    params = load_params(args.root / "params.yaml")
    write(Layout(args.root), params, params.parse_cell(args.cell), args.method, args.directory)
    print(f"{args.directory}: merged weights, and a card in README.md")


def baseline(args: argparse.Namespace) -> None:
    from vrft_core.cell import Layout
    from vrft_core.commands.baseline import record_baseline
    from vrft_core.tasks import load_params

    params = load_params(args.root / "params.yaml")
    print(f"{record_baseline(Layout(args.root), params, params.parse_cell(args.cell))}: commit it with git")


def nightly(args: argparse.Namespace) -> None:
    from vrft_core.cell import Layout
    from vrft_core.commands.nightly import nightly as evaluate_all
    from vrft_core.tasks import load_params

    with _dagster_pipes() as report:
        night = evaluate_all(Layout(args.root), load_params(args.root / "params.yaml"), args.cells)
        report({"passed": night["passed"], "sentence": night["sentence"]})
    print(night["sentence"])
    if not night["passed"] and "DAGSTER_PIPES_CONTEXT" not in os.environ:  # there the asset's checks say it
        sys.exit(1)


def promote(args: argparse.Namespace) -> None:
    from vrft_core.cell import Layout
    from vrft_core.commands.promote import promote as judge
    from vrft_core.commands.promote import roll_back
    from vrft_core.tasks import load_params

    if bool(args.cell) == bool(args.rollback):
        raise InputError("vrft promote", "takes a cell, or --rollback MODEL", "for example lvis-mini-1shot-s0")
    if args.rollback:
        print(roll_back(Layout(args.root), args.rollback))
        return
    params = load_params(args.root / "params.yaml")
    good, lines = judge(Layout(args.root), params, params.parse_cell(args.cell))
    print("\n".join(lines))
    if not good:
        sys.exit(1)


def init(args: argparse.Namespace) -> None:
    from vrft_core.commands.init import init as add
    from vrft_core.tasks import DEFAULT

    task = args.task or DEFAULT
    train, evaluation = (args.coco, args.images), (args.eval_coco, args.eval_images)
    for line in add(
        args.root, args.name, train, evaluation, args.recipe, args.shots, args.seeds, args.categories, task
    ):
        print(line)


def update(args: argparse.Namespace) -> None:
    from vrft_core.commands.init import update as take

    for line in take(args.root, args.name):
        print(line)


def evaluate(args: argparse.Namespace) -> None:
    from vrft_core.tasks import task_of_rules

    result, table = task_of_rules(args.rules).commands.evaluate(args)
    print(json.dumps(result, allow_nan=False) if args.json else table)


def _request(args: argparse.Namespace):
    """Which model `predict` and `presence` ask about which images."""
    from vrft_core.cell import Layout
    from vrft_core.commands.predict import cell_on_files_request, cell_request, files_request
    from vrft_core.tasks import get_task, load_params

    params = load_params(args.root / "params.yaml")
    if args.cell:
        if args.adapter or args.recipe:
            option = "--adapter" if args.adapter else "--recipe"
            raise InputError(option, f"belongs to --model, and --cell {args.cell} has its own", "give one of the two")
        if args.annotations and not args.images:
            raise InputError("--annotations", "lists images that are not given", "give their folder as --images")
        cell = Layout(args.root), params, params.parse_cell(args.cell), args.method or args.default_method
        if args.images:
            return cell_on_files_request(*cell, args.images, args.annotations, args.categories)
        return cell_request(*cell, args.categories)
    if args.method:
        raise InputError("--method", "belongs to --cell", "with --model, say which weights with --adapter")
    if not args.images:
        raise InputError("--images", "is missing", "which images? Or give --cell")
    name = args.recipe or "mini"
    if name not in params.recipes:
        raise InputError("--recipe", f"no recipe {name!r}", f"known: {', '.join(params.recipes)}")
    recipe = params.recipes[name]
    task = get_task(args.task or next(iter(recipe.tasks)))
    return files_request(task, recipe, args.model, args.adapter, args.images, args.annotations, args.categories)


def predict(args: argparse.Namespace) -> None:
    from vrft_core.commands.predict import predict as answer

    request = _request(args)
    protocol = args.presence or (request.task.prompts.DEFAULT if args.cell and not args.images else None)
    print(json.dumps({"output": str(args.output), **answer(request, protocol, args.output)}))


def presence(args: argparse.Namespace) -> None:
    request = _request(args)
    print(json.dumps({"output": str(args.output), **request.task.commands.make_map(request, args.output)}))


def track(args: argparse.Namespace) -> None:
    from vrft_core.cell import Layout
    from vrft_core.tracking import resend

    for line in resend(Layout(args.root)):
        print(line)


def score(args: argparse.Namespace) -> None:
    from vrft_core.commands.score import score_log

    for line in score_log(args.file, args.task, args.rewards):
        print(line)


def parser() -> argparse.ArgumentParser:
    from vrft_core.stages import STAGES

    top = argparse.ArgumentParser(prog="vrft", description="Few-shot visual fine-tuning, SFT against RFT.")
    top.add_argument("--version", action="version", version=f"vrft {__version__}")
    top.add_argument("--root", type=Path, default=Path("."), help="project root (default: here)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = commands.add_parser("stage", help="run one stage of one cell, whether or not it is up to date")
    one.add_argument("name", choices=list(STAGES))
    one.add_argument("--cell", required=True, metavar="KEY", help="for example lvis-mini-1shot-s0")
    one.set_defaults(run=stage)

    whole = commands.add_parser("run", help="bring a cell, or a study over seeds, up to date and print the result")
    whole.add_argument("cell", metavar="KEY", help="for example lvis-mini-1shot-s0 or lvis-mini-1shot")
    whole.set_defaults(run=run)

    ahead = commands.add_parser("plan", help="what training a cell costs: weights, memory, FLOPs, time; loads nothing")
    ahead.add_argument("cell", metavar="KEY", help="for example lvis-qwen2-vl-2b-1shot-s0; or a recipe's name")
    ahead.add_argument("--gpu", default="h100", help="h100 (default), h200, a100, l40s, rtx4090")
    ahead.add_argument("--gpus", type=int, default=1, metavar="N", help="how many (default: 1)")
    ahead.add_argument("--sharded", action="store_true", help="spread weights and optimizer over them (ZeRO-3, FSDP)")
    ahead.set_defaults(run=plan)

    out = commands.add_parser("export", help="a trained model as a folder for plain transformers, with a model card")
    out.add_argument("cell", metavar="KEY", help="for example lvis-mini-1shot-s0")
    out.add_argument("directory", type=Path, metavar="DIR", help="a new folder")
    out.add_argument("--method", choices=["sft", "rft"], default="rft", help="which training (default: rft)")
    out.set_defaults(run=export)

    own = commands.add_parser("init", help="add your own images and boxes as a benchmark")
    own.add_argument("name", help="the benchmark's name, for example my-data")
    own.add_argument("--coco", type=Path, required=True, metavar="JSON", help="training boxes, COCO or LVIS")
    own.add_argument("--images", type=Path, required=True, metavar="DIR", help="training images")
    own.add_argument("--eval-coco", type=Path, required=True, metavar="JSON", help="evaluation boxes, COCO or LVIS")
    own.add_argument("--eval-images", type=Path, required=True, metavar="DIR", help="evaluation images")
    own.add_argument("--task", metavar="TASK", help="what is asked: a task's name (default: where are all objects?)")
    own.add_argument("--recipe", default="mini", help="how to train (default: mini)")
    own.add_argument("--shots", type=int, default=1, metavar="K", help="training images a category (default: 1)")
    own.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="one cell each (default: 0 1 2)"
    )
    own.add_argument("--categories", nargs="+", metavar="NAME", help="what to teach (default: all with enough images)")
    own.set_defaults(run=init)

    changed = commands.add_parser("update", help="take the changed annotation files of your own benchmark")
    changed.add_argument("name", help="the benchmark's name, for example my-data")
    changed.set_defaults(run=update)

    good = commands.add_parser("baseline", help="record a cell's RFT predictions as what the nightly run compares with")
    good.add_argument("cell", metavar="KEY", help="for example lvis-mini-1shot-s0")
    good.set_defaults(run=baseline)

    night = commands.add_parser("nightly", help="is every RFT model as good as its baseline? Exit status 1 where not")
    night.add_argument("cells", nargs="*", metavar="KEY", help="default: all cells under `nightly` in params.yaml")
    night.set_defaults(run=nightly)

    best = commands.add_parser("promote", help="make a cell's RFT model the registry's champion, if its checks pass")
    best.add_argument("cell", nargs="?", metavar="KEY", help="for example lvis-mini-1shot-s0")
    best.add_argument("--rollback", metavar="MODEL", help="go back to the champion before, for example of lvis-mini")
    best.set_defaults(run=promote)

    ask = commands.add_parser("predict", help="boxes in any images, from a cell's model or any other; resumes")
    ask.add_argument(
        "--presence", metavar="PROTOCOL", help="what to ask: oracle, self, or a presence map's file (default: every "
        "category of every image; oracle for a cell's own images)",
    )  # fmt: skip
    ask.set_defaults(run=predict)
    claims = commands.add_parser("presence", help="a presence map: which categories a model claims to see in images")
    claims.set_defaults(run=presence)
    for one, method in ((ask, "rft"), (claims, "base")):
        who = one.add_mutually_exclusive_group(required=True)
        who.add_argument("--cell", metavar="KEY", help="its model, on its evaluation images or on --images")
        who.add_argument("--model", type=Path, metavar="DIR", help="a saved policy, or any Qwen-VL model folder")
        one.add_argument(
            "--method", choices=["base", "sft", "rft"],
            help=f"with --cell: which model (default: {method})",
        )  # fmt: skip
        one.set_defaults(default_method=method)
        one.add_argument("--adapter", type=Path, metavar="DIR", help="with --model: LoRA weights, or a trained model")
        one.add_argument("--task", metavar="TASK", help="with --model: a task's name (default: the recipe's first)")
        one.add_argument("--recipe", help="with --model: prompts and sizes (default: mini)")
        one.add_argument("--images", type=Path, metavar="DIR", help="the images: a folder, or one file")
        one.add_argument("--annotations", type=Path, metavar="JSON", help="COCO or LVIS file that lists them")
        one.add_argument(
            "--categories", nargs="+", metavar="NAME", help="what to look for (default: the annotated, or the cell's)"
        )
        one.add_argument("--output", type=Path, required=True, metavar="FILE", help="JSON lines, one a question")

    late = commands.add_parser("track", help="send MLflow what did not reach it")
    late.add_argument("--resend", action="store_true", required=True, help="records that wait in runs/tracking")
    late.set_defaults(run=track)

    again = commands.add_parser("score", help="reward logged completions again, one JSON line each")
    again.add_argument(
        "file", help="JSON lines: `completion`, `solution`, optional `image_size` or `frame`; - for standard input"
    )
    again.add_argument("--task", required=True, metavar="TASK", help="what the completions answer: a task's name")
    again.add_argument("--rewards", default="strict", choices=["strict", "published"], help="default: strict")
    again.set_defaults(run=score)

    measure = commands.add_parser("evaluate", help="measure any file of predictions, or a log of answers")
    measure.add_argument("--rules", required=True, metavar="RULES", help="coco or lvis, or another task's name")
    measure.add_argument("--ground-truth", type=Path, metavar="JSON", help="COCO or LVIS annotations")
    measure.add_argument("--detections", type=Path, metavar="FILE", help="COCO results, or what `vrft predict` wrote")
    measure.add_argument(
        "--ranked-by", default="stated", metavar="RANKING",
        help="which of a prediction's scores rank its boxes: stated (default), likelihood, certainty, …",
    )  # fmt: skip
    measure.add_argument("--answers", metavar="JSONL", help="a log as `vrft score` reads it, for other tasks")
    measure.add_argument("--sam", type=Path, metavar="DIR", help="SAM's weights: makes masks of the answers' boxes")
    measure.add_argument("--images", type=Path, metavar="DIR", help="with --sam: the images that the log names")
    measure.add_argument("--categories", nargs="+", metavar="NAME", help="only these (default: all)")
    measure.add_argument(
        "--split", metavar="NAME", help="only images whose `split` in the ground truth is this (default: the one that "
        "all detections are of; all images where there is none)",
    )  # fmt: skip
    measure.add_argument(
        "--published-lvis", action="store_true", help="also the number as Visual-RFT's notebook counted it"
    )
    measure.add_argument("--json", action="store_true", help="one object instead of the table")
    measure.set_defaults(run=evaluate)
    return top


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)  # PEFT's, not ours
    try:
        args.run(args)
    except InputError as error:
        print(f"vrft: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
