"""What a step of training costs on a GPU: memory by part, FLOPs, seconds. Estimates from the model's shape.

Held against a GPU by `bench/gpu.py`; docs/gpu.md has both numbers side by side.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from vrft_core import flops
from vrft_core.errors import InputError
from vrft_core.params import Recipe
from vrft_core.policy.quantized import WHOLE

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
# What it takes to start a layer's operations, seconds: with the next token of all rows played back from a recording,
# in a pass without a gradient (or for a token that is not recorded), forward with one, and backward. They hold where
# starting takes longer than computing, as in small models. From one machine, an H200 beside a Xeon (docs/gpu.md).
STARTING = {"played": 0.35e-3, "plain": 2.2e-3, "forward": 4e-3, "backward": 4e-3}
RECORDING = 4  # passes that a recording takes
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


def trained_weights(model: PreTrainedModel, recipe: Recipe) -> int:
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


def memory(
    model: PreTrainedModel,
    recipe: Recipe,
    method: str,
    sizes: Sizes,
    total: int,
    trained: int,
    gpus: int,
    sharded: bool,
) -> dict[str, float]:
    """GiB of one GPU, by part; activations and KV cache are not held at the same time (`at_once`).

    Adam, mixed precision: whole weights are trained in 32 bits, frozen ones held in 16.
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
    rft = method == "rft"
    apart = rft and _shares(recipe)  # a group's prompt is run once
    groups = math.ceil(micro / settings.num_generations) if apart else micro
    activations = (groups * (sizes.total - sizes.completion) + micro * sizes.completion) * held
    if full:
        vision = model.config.vision_config
        wide = getattr(vision, "embed_dim", vision.hidden_size)
        depth = 2 if settings.gradient_checkpointing else vision.depth
        activations += micro * 4 * sizes.image * 2 * (6 + 4 * 4) * wide * depth
    activations += micro * sizes.completion * text.vocab_size * 4 * 2  # logits and their gradient
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    if not settings.gradient_checkpointing:  # keys and values, repeated for all heads
        activations += micro * sizes.total * 2 * flops.attending(text) * text.num_attention_heads * head_size * 2
    cache = share * sizes.total * 2 * flops.attending(text) * text.num_key_value_heads * head_size * 2
    reference = total * (2 if sharded else 4) if rft and full and settings.beta else 0
    parts = (weights / spread, trained * 4 / spread, trained * 8 / spread, reference / spread, activations, rft * cache)
    return dict(zip(PARTS, (part / 2**30 for part in parts), strict=True))


def _shares(recipe: Recipe) -> bool:
    return recipe.rft.reuse.shared_prompt and not recipe.rft.gradient_checkpointing


def at_once(parts: dict[str, float]) -> float:
    """GiB, of what `memory` says by part: completions are written before anything is kept for a gradient."""
    return sum(parts.values()) - min(parts["activations"], parts["KV cache"])


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
    them; for who compares them with what a GPU shows."""
    total, trained = sum(parameter.numel() for parameter in model.parameters()), trained_weights(model, recipe)
    held = {name: memory(model, recipe, name, sizes[name], total, trained, gpus, sharded) for name in sizes}
    return {"memory": held, "seconds": work(model, recipe, sizes, gpu, gpus, total)[2]}


def work(
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
    layers, start = model.config.text_config.num_hidden_layers, STARTING

    def batches(name: str) -> int:
        settings = getattr(recipe, name)
        share = settings.batch_size // gpus
        return layers * math.ceil(share / min(settings.micro_batch_size or share, share))

    learning = start["forward"] + start["backward"]
    seconds["sft"] = max(each["sft"], batches("sft") * learning)
    passes = batches("rft") * (2 if _shares(recipe) else 1)  # of prompts, and of what follows them
    tokens, settings = sizes["rft"].completion, recipe.rft
    writing = tokens * total * 2 / (speed * BANDWIDTH)
    recorded = flops.attending(model.config.text_config) == layers and settings.generation == "transformers"
    if recorded and settings.reuse.shared_prompt:
        starting = layers * (tokens * start["played"] + (RECORDING + 1) * start["plain"])
    else:
        starting = layers * tokens * start["plain"]
    generation = max(each["generation"], max(writing, starting) / settings.num_iterations)
    reference = max(each["reference"], passes * start["plain"] * bool(each["reference"]))
    seconds["rft"] = generation + reference + max(each["update"], passes * learning)
    return loads, done, seconds
