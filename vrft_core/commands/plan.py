"""`vrft plan`: what a cell's trainings will cost, before anything is loaded, and whether they can be run at all.

Memory, FLOPs and time are estimates from the model's shape; none was measured on a GPU. Nothing is decided here.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from vrft_core import flops
from vrft_core.architectures import outline
from vrft_core.cell import Cell
from vrft_core.commands.texts import seconds as duration
from vrft_core.errors import InputError
from vrft_core.families import registry
from vrft_core.families.family import SMALL_CELL
from vrft_core.families.form import Form
from vrft_core.params import Params, Recipe, Rft, Sft
from vrft_core.policy import curriculum
from vrft_core.policy.quantized import WHOLE
from vrft_core.report.text import brief
from vrft_core.tasks import Task, get_task

# name → (dense bfloat16 FLOP/s, bytes a second from memory, GiB of memory), from the makers' data sheets
GPUS = {
    "h100": (989e12, 3.35e12, 80),
    "h200": (989e12, 4.8e12, 141),
    "a100": (312e12, 2.04e12, 80),
    "l40s": (362e12, 0.864e12, 48),
    "rtx4090": (165e12, 1.008e12, 24),
}
UTILISATION = 0.35  # share of the peak that training reaches
BANDWIDTH = 0.3  # share of the memory's speed that generation reaches: every new token reads all weights once
NF4_BYTES = 0.5 + 1 / 64 + 4 / 64 / 256  # a weight; a scale of 8 bits for 64, one of 32 bits for 256 of those
LETTERS_A_TOKEN = 3.5  # of the question, where no tokenizer is at hand
TEMPLATE_TOKENS = 24  # the chat template with its default system turn
TURNS = "<|im_start|>user\n<|vision_start|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"
PARTS = ("weights", "gradients", "optimizer", "reference", "activations", "KV cache")


@dataclass(frozen=True)
class Sizes:
    """Tokens of one row at most."""

    image: int
    text: int
    completion: int

    @property
    def total(self) -> int:
        return self.image + self.text + self.completion


def plan(params: Params, cell: Cell, gpu: str, gpus: int, sharded: bool, root: Path = Path()) -> str:
    """Markdown. `sharded`: weights, gradients and optimizer are spread over the GPUs (ZeRO-3, FSDP). `root`: the
    project whose disk takes the checkpoints.

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
    trained = _trained(model, recipe)
    lines = [
        f"# {cell.key} on {gpus} × {gpu}{', sharded' if sharded else ''}",
        "",
        f"{brief(total)} weights, {brief(trained)} of them trained"
        f" ({_kind(recipe)}). A row holds at most {sizes['rft'].image} image tokens, "
        f"{'about ' if recipe.policy.hub else ''}{sizes['rft'].text} of text, {sizes['rft'].completion} new ones.",
        "",
        "Estimates from the model's shape; none was measured on a GPU.",
        "",
        "| a GPU's memory, GiB | SFT | RFT |",
        "|---|---|---|",
    ]
    memory = {name: _memory(model, recipe, name, sizes[name], total, trained, gpus, sharded) for name in sizes}
    lines += [f"| {part} | {memory['sft'][part]:.1f} | {memory['rft'][part]:.1f} |" for part in PARTS]
    sums = {name: sum(parts.values()) for name, parts in memory.items()}
    room = GPUS[gpu][2]
    lines += [
        f"| all, of {room} | {sums['sft']:.1f} | {sums['rft']:.1f} |",
        "",
        *(f"**{name.upper()} does not fit.** {_advice(recipe, name, sharded)}" for name in sums if sums[name] > room),
        "",
        "| | SFT | RFT |",
        "|---|---|---|",
        *_work_table(recipe, *_work(model, recipe, sizes, gpu, gpus, total)),
        "",
        f"Time assumes {UTILISATION:.0%} of {GPUS[gpu][0] / 1e12:.0f} TFLOP/s in training and {BANDWIDTH:.0%} of "
        f"{GPUS[gpu][1] / 1e12:.2f} TB/s in generation. Every completion is counted with its own prompt and "
        "image; sharing them costs less.",
        "",
        *_disk(total, trained, recipe.adapter is not None, root),
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _kind(recipe: Recipe) -> str:
    if recipe.adapter is None:
        return "full"
    return "LoRA" if recipe.adapter.base_bits == 16 else "LoRA on weights of 4 bits"


def needed(params: Params, cell: Cell) -> dict[str, float]:
    """GiB that `sft` and `rft` each hold at once on one device; the numbers of `weights`, and of those `trained`."""
    recipe, model = params.recipe(cell), outline(params, params.recipe(cell))
    task, trained = get_task(params.task(cell)), _trained(model, recipe)
    total = sum(parameter.numel() for parameter in model.parameters())
    found: dict[str, float] = {"weights": total, "trained": trained}
    for name, completion in (("sft", None), ("rft", recipe.rft.max_completion_length)):
        sizes = _sizes(params, recipe, task, completion)
        found[name] = sum(_memory(model, recipe, name, sizes, total, trained, 1, False).values())
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


def _trained(model: PreTrainedModel, recipe: Recipe) -> int:
    """Weights that training changes; an adapter adds its own beside each layer whose name matches, as PEFT does."""
    if recipe.adapter is None:
        return sum(parameter.numel() for parameter in model.parameters())
    chosen = [
        module for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and re.fullmatch(recipe.adapter.target_modules, name)
    ]  # fmt: skip
    if not chosen:
        raise InputError("adapter.target_modules", "matches no layer of the model", "see the model's module names")
    return sum(recipe.adapter.r * (module.in_features + module.out_features) for module in chosen)


def _memory(
    model: PreTrainedModel,
    recipe: Recipe,
    method: str,
    sizes: Sizes,
    total: int,
    trained: int,
    gpus: int,
    sharded: bool,
) -> dict[str, float]:
    """GiB of one GPU, by part. Adam, mixed precision: whole weights are trained in 32 bits, frozen ones held in 16.

    A pass computes with copies of 16 bits; of whole weights they stay for the backward pass.
    """
    settings, text, full = getattr(recipe, method), model.config.text_config, recipe.adapter is None
    spread = gpus if sharded else 1
    share = settings.batch_size // gpus
    micro = min(settings.micro_batch_size or share, share)
    weights = total * 6 if full else frozen_bytes(model, recipe, total) + trained * 4
    layer = 2 * (6 * text.hidden_size + 4 * text.intermediate_size)  # bytes a token leaves in a layer for its gradient
    layers = text.num_hidden_layers
    held = 2 * text.hidden_size * layers + layer if settings.gradient_checkpointing else layer * layers
    activations = micro * sizes.total * held
    if full:
        vision = model.config.vision_config
        wide = getattr(vision, "embed_dim", vision.hidden_size)
        depth = 2 if settings.gradient_checkpointing else vision.depth
        activations += micro * 4 * sizes.image * 2 * (6 + 4 * 4) * wide * depth
    activations += micro * sizes.completion * text.vocab_size * 4 * 2  # logits and their gradient
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    cache = share * sizes.total * 2 * flops.attending(text) * text.num_key_value_heads * head_size * 2
    rft = method == "rft"
    reference = total * (2 if sharded else 4) if rft and full and settings.beta else 0
    parts = (weights / spread, trained * 4 / spread, trained * 8 / spread, reference / spread, activations, rft * cache)
    return dict(zip(PARTS, (part / 2**30 for part in parts), strict=True))


def frozen_bytes(model: PreTrainedModel, recipe: Recipe, total: int) -> float:
    """Bytes of the weights under an adapter: 16 bits each, or 4 and their scales in the linear layers of the blocks.

    Embeddings, norms, the vision tower and the head stay whole (`policy.quantized`).
    """
    if recipe.adapter is None or recipe.adapter.base_bits == 16:
        return total * 2
    held = sum(
        module.weight.numel() for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not set(WHOLE) & set(name.split("."))
    )  # fmt: skip
    return (total - held) * 2 + held * NF4_BYTES


def estimate(
    model: PreTrainedModel, recipe: Recipe, sizes: dict[str, Sizes], gpu: str, gpus: int, sharded: bool
) -> dict[str, dict[str, Any]]:
    """{"memory": {method: {part: GiB of a GPU}}, "seconds": {method: of a step}} for `sft` and `rft`, as `plan` prints
    them; to be compared with what a GPU shows."""
    total, trained = sum(parameter.numel() for parameter in model.parameters()), _trained(model, recipe)
    memory = {name: _memory(model, recipe, name, sizes[name], total, trained, gpus, sharded) for name in sizes}
    return {"memory": memory, "seconds": _work(model, recipe, sizes, gpu, gpus, total)[2]}


def _work(
    model: PreTrainedModel, recipe: Recipe, sizes: dict[str, Sizes], gpu: str, gpus: int, total: int
) -> tuple[dict[str, flops.Load], dict[str, float], dict[str, float]]:
    """By method: what a step runs, its FLOPs, its seconds."""
    shape, adapter = flops.Shape.of(model), recipe.adapter is not None
    peak, speed, _ = GPUS[gpu]
    loads, done, seconds = {}, {}, {}
    for name, size in sizes.items():
        rows = getattr(recipe, name).batch_size
        loads[name] = flops.Load(rows, rows * size.total, rows * size.completion, rows * size.image * shape.merge)
    done["sft"] = flops.supervised(shape, loads["sft"], adapter)
    parts = flops.reinforced(shape, loads["rft"], adapter, recipe.rft.beta != 0, recipe.rft.num_iterations)
    done["rft"] = sum(parts.values())
    each = {name: value / gpus / (peak * UTILISATION) for name, value in (("sft", done["sft"]), *parts.items())}
    seconds["sft"] = each["sft"]
    writing = sizes["rft"].completion * total * 2 / (speed * BANDWIDTH) / recipe.rft.num_iterations
    seconds["rft"] = max(each["generation"], writing) + each["reference"] + each["update"]
    return loads, done, seconds


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
    ways = [] if sharded or recipe.adapter else ["spread it (--sharded)"]
    ways += [] if settings.gradient_checkpointing else ["gradient_checkpointing: true"]
    ways += ["a smaller micro_batch_size", "fewer pixels"] + ([] if recipe.adapter else ["an adapter"])
    return f"What helps: {', '.join(ways)}."
