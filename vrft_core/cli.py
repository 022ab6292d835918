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
    from vrft_core.params import Params
    from vrft_core.stages import run_stage

    if args.name in ("sft", "rft") and "VRFT_ACCELERATE" in os.environ and "RANK" not in os.environ:
        _over_processes(args)
    params = Params.load(args.root / "params.yaml")
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
    from vrft_core.params import Params
    from vrft_core.run import run as reproduce

    params = Params.load(args.root / "params.yaml")
    report = reproduce(Layout(args.root), params, params.parse_cell(args.cell))
    print((report / "summary.md").read_text(encoding="utf-8"))
    print(f"Report: {report / 'report.html'}")


def plan(args: argparse.Namespace) -> None:
    from vrft_core.cell import Cell
    from vrft_core.params import Params
    from vrft_core.plan import plan as estimate

    params = Params.load(args.root / "params.yaml")
    cell = Cell.parse(args.cell, list(params.recipes))  # it need not be in the grid yet
    print(estimate(params.recipe(cell), cell, args.gpu, args.gpus, args.sharded))


def export(args: argparse.Namespace) -> None:
    from vrft_core.cell import Layout
    from vrft_core.export import export as write
    from vrft_core.params import Params

    params = Params.load(args.root / "params.yaml")
    write(Layout(args.root), params, params.parse_cell(args.cell), args.method, args.directory)
    print(f"{args.directory}: merged weights, and a card in README.md")


def baseline(args: argparse.Namespace) -> None:
    from vrft_core.cell import Layout
    from vrft_core.params import Params
    from vrft_core.stages.nightly import record_baseline

    params = Params.load(args.root / "params.yaml")
    print(f"{record_baseline(Layout(args.root), params.parse_cell(args.cell))}: commit it with git")


def nightly(args: argparse.Namespace) -> None:
    from vrft_core.cell import Layout
    from vrft_core.params import Params
    from vrft_core.stages.nightly import nightly as compare

    params = Params.load(args.root / "params.yaml")
    with _dagster_pipes() as report:
        numbers = compare(Layout(args.root), params, params.parse_cell(args.cell))
        report(numbers)
    print(json.dumps({"cell": args.cell, **numbers}))


def init(args: argparse.Namespace) -> None:
    from vrft_core.init import init as add

    train, evaluation = (args.coco, args.images), (args.eval_coco, args.eval_images)
    for line in add(args.root, args.name, train, evaluation, args.recipe, args.shots, args.seeds, args.categories):
        print(line)


def update(args: argparse.Namespace) -> None:
    from vrft_core.init import update as take

    for line in take(args.root, args.name):
        print(line)


def evaluate(args: argparse.Namespace) -> None:
    from vrft_core.evaluation.command import evaluate as measure
    from vrft_core.evaluation.command import evaluate_answers

    if args.protocol in ("classification", "grounding"):
        if not args.answers:
            raise InputError("--answers", "is missing", f"--protocol {args.protocol} needs a log of answers")
        if (args.sam or args.images) and not (args.sam and args.images and args.protocol == "grounding"):
            raise InputError("--sam, --images", "belong together", "and to --protocol grounding")
        result, table = evaluate_answers(args.protocol, args.answers, args.sam, args.images)
    elif not (args.ground_truth and args.detections):
        raise InputError("--ground-truth, --detections", "are missing", f"--protocol {args.protocol} needs both")
    else:
        result, table = measure(
            args.protocol, args.ground_truth, args.detections, args.categories, args.published_lvis, args.ranked_by
        )
    print(json.dumps(result, allow_nan=False) if args.json else table)


def _job(args: argparse.Namespace):
    """Whom `predict` and `presence` ask about what."""
    from vrft_core.cell import Layout
    from vrft_core.params import Params
    from vrft_core.stages.predict import cell_job, files_job

    params = Params.load(args.root / "params.yaml")
    if args.cell:
        return cell_job(Layout(args.root), params, params.parse_cell(args.cell), args.method, args.categories)
    if not args.images:
        raise InputError("--images", "is missing", "which images? Or give --cell")
    if args.recipe not in params.recipes:
        raise InputError("--recipe", f"no recipe {args.recipe!r}", f"known: {', '.join(params.recipes)}")
    recipe = params.recipes[args.recipe]
    return files_job(recipe, args.model, args.adapter, args.images, args.annotations, args.categories)


def predict(args: argparse.Namespace) -> None:
    from vrft_core.stages.predict import predict as answer

    job = _job(args)
    protocol = args.presence or ("oracle" if args.cell else None)
    print(json.dumps({"output": str(args.output), **answer(job, protocol, args.output)}))


def presence(args: argparse.Namespace) -> None:
    from vrft_core.stages.predict import make_map

    print(json.dumps({"output": str(args.output), **make_map(_job(args), args.output)}))


def track(args: argparse.Namespace) -> None:
    from vrft_core.cell import Layout
    from vrft_core.tracking import resend

    for line in resend(Layout(args.root)):
        print(line)


def score(args: argparse.Namespace) -> None:
    from vrft_core.scoring import score_log

    for line in score_log(args.file, args.task, args.rewards):
        print(line)


def parser() -> argparse.ArgumentParser:
    from vrft_core.stages import STAGES

    top = argparse.ArgumentParser(prog="vrft", description="Few-shot visual fine-tuning, SFT against RFT.")
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

    night = commands.add_parser("nightly", help="evaluate a cell's RFT model again and compare with the baseline")
    night.add_argument("cell", metavar="KEY", help="for example lvis-mini-1shot-s0")
    night.set_defaults(run=nightly)

    ask = commands.add_parser("predict", help="boxes in any images, from a cell's model or any other; resumes")
    ask.add_argument(
        "--presence", metavar="PROTOCOL", help="what to ask: oracle, self, or a presence map's file (default: every "
        "category of every image; oracle for a cell)",
    )  # fmt: skip
    ask.set_defaults(run=predict)
    claims = commands.add_parser("presence", help="a presence map: which categories a model claims to see in images")
    claims.set_defaults(run=presence)
    for one in (ask, claims):
        who = one.add_mutually_exclusive_group(required=True)
        who.add_argument("--cell", metavar="KEY", help="its model and evaluation images")
        who.add_argument("--model", type=Path, metavar="DIR", help="a saved policy, or any Qwen-VL model folder")
        one.add_argument(
            "--method", choices=["base", "sft", "rft"], default="rft" if one is ask else "base",
            help="with --cell: which model (default: %(default)s)",
        )  # fmt: skip
        one.add_argument("--adapter", type=Path, metavar="DIR", help="with --model: LoRA weights, or a trained model")
        one.add_argument("--recipe", default="mini", help="with --model: prompts and sizes (default: mini)")
        one.add_argument("--images", type=Path, metavar="DIR", help="with --model: the images")
        one.add_argument("--annotations", type=Path, metavar="JSON", help="COCO or LVIS file that lists them")
        one.add_argument("--categories", nargs="+", metavar="NAME", help="what to look for (default: all annotated)")
        one.add_argument("--output", type=Path, required=True, metavar="FILE", help="JSON lines, one a question")

    late = commands.add_parser("track", help="send MLflow what did not reach it")
    late.add_argument("--resend", action="store_true", required=True, help="records that wait in runs/tracking")
    late.set_defaults(run=track)

    again = commands.add_parser("score", help="reward logged completions again, one JSON line each")
    again.add_argument(
        "file", help="JSON lines: `completion`, `solution`, optional `image_size` or `frame`; - for standard input"
    )
    again.add_argument("--task", required=True, choices=["detection", "classification", "grounding"])
    again.add_argument("--rewards", default="strict", choices=["strict", "published"], help="default: strict")
    again.set_defaults(run=score)

    measure = commands.add_parser(
        "evaluate", help="average precision of any detections file; accuracy or overlap of answers"
    )
    measure.add_argument("--protocol", choices=["coco", "lvis", "classification", "grounding"], required=True)
    measure.add_argument("--ground-truth", type=Path, metavar="JSON", help="COCO or LVIS annotations")
    measure.add_argument("--detections", type=Path, metavar="FILE", help="COCO results, or what `vrft predict` wrote")
    measure.add_argument(
        "--ranked-by", default="stated", choices=["stated", "likelihood", "certainty", "combined", "consistency"],
        help="which of a prediction's scores rank its boxes (default: stated)",
    )  # fmt: skip
    measure.add_argument("--answers", metavar="JSONL", help="a log as `vrft score` reads it: classification, grounding")
    measure.add_argument("--sam", type=Path, metavar="DIR", help="SAM's weights: makes masks of the answers' boxes")
    measure.add_argument("--images", type=Path, metavar="DIR", help="with --sam: the images that the log names")
    measure.add_argument("--categories", nargs="+", metavar="NAME", help="only these (default: all)")
    measure.add_argument("--published-lvis", action="store_true", help="also AP as Visual-RFT's notebook counted it")
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
