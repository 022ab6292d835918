"""What a step of the small policy's pre-training costs, beside the same step through the library's own forward, and how
much sooner it ends on two cores.

    python bench/pretraining.py [--steps 15]

Model, scenes and batches as in recipe mini. The ways take turns, batch by batch, with the optimizer's step: medians of
CPU seconds on one core, then of seconds on one core and on two. Run it on an idle machine: another process on the same
core makes each second longer.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from vrft_core.policy import curriculum
from vrft_core.policy.language import AnswerLoss
from vrft_core.policy.lessons import examples
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.optimizer import Optimizer
from vrft_core.policy.parts import Tower
from vrft_core.policy.processor import build_processor
from vrft_core.policy.vision import Features, patches
from vrft_core.tasks import load_params

SCENES = 250


def library_language_step(loss: AnswerLoss, batch: list) -> None:
    """The whole batch padded to its longest row, all positions through all layers."""
    model, tokenizer, grid = loss.model, loss.processor.tokenizer, loss.features.grid
    rows = [(loss.prompt(example.question), loss.reply(example.answer)) for example in batch]
    length = max(len(prompt) + len(reply) for prompt, reply in rows)
    padding = [length - len(prompt) - len(reply) for prompt, reply in rows]
    ids = [p + r + [tokenizer.pad_token_id] * n for (p, r), n in zip(rows, padding, strict=True)]
    labels = [[-100] * len(p) + r + [-100] * n for (p, r), n in zip(rows, padding, strict=True)]
    ids, labels = torch.tensor(ids), torch.tensor(labels)[:, 1:].flatten()
    image, deepstack = loss.features.rows([example.row for example in batch])
    logits = model(
        input_ids=ids,
        mm_token_type_ids=(ids == model.config.image_token_id).long(),
        image_grid_thw=grid.expand(len(ids), -1),
        mm_encoder_outputs={"image": BaseModelOutputWithDeepstackFeatures(
            pooler_output=list(image), deepstack_features=[list(layer) for layer in deepstack]
        )},
        logits_to_keep=length - min(len(prompt) for prompt, _ in rows) + 1,
    ).logits[:, :-1]  # fmt: skip
    labels = labels.view(len(ids), -1)[:, -logits.shape[1] :].flatten()
    losses = F.cross_entropy(logits.flatten(0, 1), labels, reduction="none")
    counted = labels != -100
    (losses[counted].mean() + losses[counted & loss.is_coordinate[labels.clamp(min=0)]].mean()).backward()


def library_features(visual, images, processor) -> Tensor:
    """The tower with its convolution over two equal frames, one attention an image."""
    single = patches(images, processor).flatten(0, 1).unflatten(1, (3, 1, PATCH_SIZE**2))
    grid = torch.tensor([[1, images.shape[1] // PATCH_SIZE, images.shape[2] // PATCH_SIZE]] * len(images))
    return visual(single.expand(-1, -1, 2, -1).flatten(1), grid_thw=grid).pooler_output


def compare(
    ways: dict[str, Callable], batches: list, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """Median milliseconds of each way; the first batch warms up."""
    cost = {name: [] for name in ways}
    for batch in batches:
        for name, way in ways.items():
            began = clock()
            way(batch)
            cost[name].append(1000 * (clock() - began))
    return {name: statistics.median(times[1:]) for name, times in cost.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each way")
    args = parser.parse_args()
    torch.set_num_threads(1)
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    recipe = params.recipes["mini"]
    policy, settings = recipe.policy, recipe.policy.pretraining.model_copy(update={"images": SCENES})
    recipe = recipe.model_copy(update={"policy": policy.model_copy(update={"pretraining": settings})})
    taught = curriculum.subjects(params, recipe)
    tokenizer = curriculum.tokenizer(taught, recipe)
    processor = build_processor(tokenizer, PATCH_SIZE, policy.min_pixels, policy.max_pixels)
    model = build_model(tokenizer, settings.seed).train()
    visual, images = model.model.visual, processor.image_processor
    pool, _, lessons = curriculum.lessons(taught, recipe)
    drawn = examples(lessons, settings)

    batches = [torch.randint(len(pool), (settings.batch_size,)).numpy() for _ in range(args.steps + 1)]
    optimizer = Optimizer(visual.named_parameters(), 1e-6, 1e-6, 1)

    def see_all(rows: np.ndarray) -> None:
        library_features(visual, pool.images[rows], images).square().mean().backward()
        optimizer.step()

    def see(rows: np.ndarray, tower: Tower) -> None:
        features = tower.forward(pool.images[rows])
        features.square().mean().backward()
        tower.backward(features.grad)
        optimizer.step()

    with ThreadPoolExecutor(2) as executor:
        one, two = (partial(see, tower=Tower(visual, images, executor, parts)) for parts in (1, 2))
        cpu = {"vision": compare({"library": see_all, "here": one}, batches)}
        wall = {"vision": compare({"one": one, "two": two}, batches, time.perf_counter)}

    batches = [list(islice(drawn, settings.batch_size)) for _ in range(args.steps + 1)]
    features = Features(visual, pool.images, images)
    named = [(name, parameter) for name, parameter in model.named_parameters() if "visual" not in name]
    with ThreadPoolExecutor(2) as executor:
        one = AnswerLoss(model, processor, features), Optimizer(named, 1e-6, 1e-6, 1)
        two = AnswerLoss(model, processor, features, executor), Optimizer(named, 1e-6, 1e-6, 1, executor=executor)

        def answer(batch: list, backward: Callable, optimizer: Optimizer) -> None:
            backward(batch)
            optimizer.step()

        def backward(loss: AnswerLoss) -> Callable:
            return lambda batch: loss.backward(loss.rows(batch))

        ways = {
            "library": partial(answer, backward=partial(library_language_step, one[0]), optimizer=one[1]),
            "here": partial(answer, backward=backward(one[0]), optimizer=one[1]),
        }
        cpu["language"] = compare(ways, batches)
        ways = {name: partial(answer, backward=backward(way[0]), optimizer=way[1]) for name, way in
                (("one", one), ("two", two))}  # fmt: skip
        wall["language"] = compare(ways, batches, time.perf_counter)
    print(f"batch {settings.batch_size}, torch {torch.__version__}; milliseconds a step, median of {args.steps}")
    for name in cpu:
        library, ours, alone, both = cpu[name]["library"], cpu[name]["here"], wall[name]["one"], wall[name]["two"]
        print(
            f"{name:9} CPU: library's forward {library:6.0f}   here {ours:6.0f}   ratio {ours / library:.2f}"
            f"      one core {alone:6.0f}   two {both:6.0f}   ratio {both / alone:.2f}"
        )


if __name__ == "__main__":
    main()
