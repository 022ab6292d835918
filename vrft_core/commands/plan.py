"""`vrft plan`: what a cell's trainings will cost, before anything is loaded, and whether they can be run at all.

What a step costs is estimated by `step_costs`. Nothing is decided here.
"""

import re
import shutil
from pathlib import Path

from vrft_core import flops
from vrft_core.architectures import outline
from vrft_core.cell import Cell, Layout
from vrft_core.commands.cpu_time import on_cpus
from vrft_core.commands.step_costs import BANDWIDTH, GPUS, PARTS, UTILISATION, Sizes, at_once, trained_weights, work
from vrft_core.commands.step_costs import memory as memory_of
from vrft_core.commands.texts import seconds as duration
from vrft_core.errors import InputError
from vrft_core.families import registry
from vrft_core.families.family import SMALL_CELL
from vrft_core.families.form import Form
from vrft_core.params import Params, Recipe, Rft, Sft
from vrft_core.policy import curriculum
from vrft_core.report.text import brief
from vrft_core.tasks import Task, get_task

LETTERS_A_TOKEN = 3.5  # of the question, where no tokenizer is at hand
TEMPLATE_TOKENS = 24  # the chat template with its default system turn
TURNS = "<|im_start|>user\n<|vision_start|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"


def plan(params: Params, cell: Cell, gpu: str, gpus: int, sharded: bool, root: Path = Path()) -> tuple[str, bool]:
    """Markdown, and whether the GPU's memory suffices.

    `sharded`: weights, gradients and optimizer are spread over the GPUs (ZeRO-3, FSDP). `root`: the project whose disk
    takes the checkpoints.

    Raises InputError for what cannot be run: uneven batches, a row longer than the model's context.
    """
    if gpu not in GPUS:
        raise InputError("--gpu", f"no {gpu!r}", f"known: {', '.join(GPUS)}")
    recipe = params.recipe(cell)
    task = get_task(params.task(cell) if cell.benchmark in params.benchmarks else next(iter(recipe.tasks)))
    model = outline(params, recipe)
    config = model.config.text_config
    for settings, name in ((recipe.sft, "sft"), (recipe.rft, "rft")):
        _check(recipe, settings, name, cell, gpus)
    sizes = {
        "sft": _sizes(params, recipe, task, None),
        "rft": _sizes(params, recipe, task, recipe.rft.max_completion_length),
    }
    evaluation = _sizes(params, recipe, task, recipe.evaluation.max_new_tokens)
    for longest, where in ((sizes["rft"], "rft.max_completion_length"), (evaluation, "evaluation.max_new_tokens")):
        if longest.total > config.max_position_embeddings:
            raise InputError(
                f"recipes.{cell.recipe}",
                f"a prompt of {longest.text} text and {longest.image} image tokens with {longest.completion} new ones "
                f"is longer than the model's {config.max_position_embeddings}, and would be cut",
                f"lower policy.max_pixels or {where}",
            )
    total = sum(parameter.numel() for parameter in model.parameters())
    trained = trained_weights(model, recipe)
    lines = [
        f"# {cell.key} on {gpus} × {gpu}{', sharded' if sharded else ''}",
        "",
        f"{brief(total)} weights, {brief(trained)} of them trained"
        f" ({_kind(recipe)}). A row holds at most {sizes['rft'].image} image tokens, "
        f"{'about ' if recipe.policy.hub else ''}{sizes['rft'].text} of text, {sizes['rft'].completion} new ones.",
        "",
        on_cpus(Layout(root), params, cell),
        "",
        "Estimates from the model's shape; docs/gpu.md holds some against a GPU. Activations and KV cache take turns.",
        "",
        "| a GPU's memory, GiB | SFT | RFT |",
        "|---|---|---|",
    ]
    memory = {name: memory_of(model, recipe, name, sizes[name], total, trained, gpus, sharded) for name in sizes}
    lines += [f"| {part} | {memory['sft'][part]:.1f} | {memory['rft'][part]:.1f} |" for part in PARTS]
    sums = {name: at_once(parts) for name, parts in memory.items()}
    room = GPUS[gpu][2]
    costs = work(model, recipe, sizes, gpu, gpus, total)
    lines += [
        f"| at once, of {room} | {sums['sft']:.1f} | {sums['rft']:.1f} |",
        "",
        *(f"**{name.upper()} does not fit.** {_advice(recipe, name, sharded)}" for name in sums if sums[name] > room),
        "",
        "| | SFT | RFT |",
        "|---|---|---|",
        *_work_table(recipe, *costs),
        "",
        *_waits(recipe, costs, GPUS[gpu][0] * UTILISATION * gpus, gpus),
        f"Time assumes {UTILISATION:.0%} of {GPUS[gpu][0] / 1e12:.0f} TFLOP/s in training and {BANDWIDTH:.0%} of "
        f"{GPUS[gpu][1] / 1e12:.2f} TB/s in generation, or what starting the operations takes, where that is longer. "
        "FLOPs count every completion with its own prompt and image; sharing them costs less.",
        "",
        *_disk(total, trained, recipe.adapter is not None, root),
    ]
    fits = all(held <= room for held in sums.values())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)), fits


def _waits(recipe: Recipe, costs: tuple, speed: float, gpus: int) -> list[str]:
    """A line where SFT's time is that of starting operations: other than its FLOPs let one expect."""
    _, done, seconds = costs
    rows = recipe.sft.batch_size // gpus
    micro = min(recipe.sft.micro_batch_size or rows, rows)
    if seconds["sft"] < 2 * done["sft"] / speed or micro == rows:
        return []
    several = f"{rows // micro} passes of {micro} row{'s' * (micro > 1)}"
    return [f"Most of SFT's time goes into starting operations, for {several} a step: raise sft.micro_batch_size.", ""]


def _kind(recipe: Recipe) -> str:
    if recipe.adapter is None:
        return "full"
    return "LoRA" if recipe.adapter.base_bits == 16 else "LoRA on weights of 4 bits"


def needed(params: Params, cell: Cell) -> dict[str, float]:
    """GiB that `sft` and `rft` each hold at once on one device; the numbers of `weights`, and of those `trained`."""
    recipe, model = params.recipe(cell), outline(params, params.recipe(cell))
    task, trained = get_task(params.task(cell)), trained_weights(model, recipe)
    total = sum(parameter.numel() for parameter in model.parameters())
    found: dict[str, float] = {"weights": total, "trained": trained}
    for name, completion in (("sft", None), ("rft", recipe.rft.max_completion_length)):
        sizes = _sizes(params, recipe, task, completion)
        found[name] = at_once(memory_of(model, recipe, name, sizes, total, trained, 1, False))
    return found


def _check(recipe: Recipe, settings: Sft | Rft, name: str, cell: Cell, gpus: int) -> None:
    where, rows = f"recipes.{cell.recipe}.{name}", settings.batch_size
    unit = settings.num_generations if isinstance(settings, Rft) else 1
    if rows % unit:
        raise InputError(where, f"batch_size {rows} is not a multiple of num_generations {unit}", "change one of them")
    if rows % (gpus * unit):
        whole = f" in groups of {unit}" if unit > 1 else ""
        raise InputError(where, f"batch_size {rows} cannot be divided over {gpus} GPUs{whole}", "change --gpus")
    share = rows // gpus
    if settings.micro_batch_size and share % min(settings.micro_batch_size, share):
        raise InputError(
            where, f"micro_batch_size {settings.micro_batch_size} does not divide {share} rows", "change it"
        )
    if recipe.policy.min_pixels > recipe.policy.max_pixels:
        raise InputError(f"recipes.{cell.recipe}.policy", "min_pixels is larger than max_pixels", "swap them")


def _sizes(params: Params, recipe: Recipe, task: Task, completion: int | None) -> Sizes:
    """Tokens of the longest row; without `completion`, of a target as the task would have it."""
    policy, taught = recipe.policy, curriculum.subjects(params, recipe)
    pixels = min([policy.max_pixels, *(one.scenes.image_size**2 for one in taught)])
    name = "x" * 12
    text, target = task.prompts.longest(Form.of(recipe, recipe.tasks.get(task.name)), name)
    if taught:
        tokenizer, known = curriculum.tokenizer(taught, recipe), curriculum.names(taught)[0]

        def count(words: str) -> int:
            return len(tokenizer(words.replace(name, known))["input_ids"])

        extra = count(TURNS)
    else:

        def count(words: str) -> int:
            return round(len(words) / LETTERS_A_TOKEN)

        extra = TEMPLATE_TOKENS
    cell = SMALL_CELL if taught else registry.get(policy.family).cell or SMALL_CELL
    return Sizes(pixels // cell**2, count(text) + extra, completion or count(target))


def _work_table(
    recipe: Recipe, loads: dict[str, flops.Load], done: dict[str, float], seconds: dict[str, float]
) -> list[str]:
    steps = {name: getattr(recipe, name).steps for name in loads}

    def row(label: str, text) -> str:
        return f"| {label} | {text('sft')} | {text('rft')} |"

    return [
        row("steps", lambda m: f"{steps[m]:,}"),
        row("rows a step", lambda m: f"{loads[m].rows:,}"),
        row("tokens, in all", lambda m: brief(loads[m].tokens * steps[m])),
        row("FLOPs a step", lambda m: brief(done[m])),
        row("FLOPs, in all", lambda m: brief(done[m] * steps[m])),
        row("time a step, about", lambda m: duration(seconds[m])),
        row("time in all, about", lambda m: duration(seconds[m] * steps[m])),
        f"| SFT steps with RFT's FLOPs | {round(done['rft'] * steps['rft'] / done['sft']):,} | |",
    ]


def _disk(total: int, trained: int, adapter: bool, root: Path) -> list[str]:
    """What a training keeps on the disk at once, and whether there is room; nothing is written."""
    each, kept = checkpoint_bytes(trained), trained * 4 if adapter else total * 4
    need = 2 * each + kept
    place = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    lines = [
        f"On the disk, a training: a checkpoint takes {_gigabytes(each)} (weights and Adam's two moments in 32 bits); "
        f"two are kept, the last and the best, and the weights chosen: {_gigabytes(need)}. "
        f"{_gigabytes(free)} are free in {place}.",
    ]
    if free < need:
        lines += ["", f"**The disk is too small.** Free {_gigabytes(need - free)}, or put `runs/` on another one."]
    return lines


def checkpoint_bytes(trained: int) -> int:
    """Of a checkpoint: each trained weight and Adam's two moments, in 32 bits."""
    return trained * 12


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.0f} GB" if count >= 1e10 else f"{count / 1e9:.2g} GB"


def _advice(recipe: Recipe, method: str, sharded: bool) -> str:
    settings = getattr(recipe, method)
    ways = [] if sharded or recipe.adapter else ["several GPUs (--gpus 8 --sharded)"]
    ways += [] if settings.gradient_checkpointing else ["gradient_checkpointing: true"]
    ways += [] if settings.micro_batch_size == 1 else ["a smaller micro_batch_size"]
    ways += ["fewer pixels"] + ([] if recipe.adapter else ["an adapter"])
    return f"What helps: {', '.join(ways)}."
