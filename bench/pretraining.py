"""What a step of the small policy's pre-training costs, beside the same step through the library's own forward.

    python bench/pretraining.py [--steps 15]

Model, scenes and batches as in recipe mini; one thread. The ways take turns, batch by batch; medians of CPU seconds,
with the optimizer's step. Run it on an idle machine: another process on the same core makes each CPU second longer.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from vrft_core.policy import curriculum
from vrft_core.policy.language import AnswerLoss
from vrft_core.policy.lessons import examples
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.optimizer import Optimizer
from vrft_core.policy.processor import build_processor
from vrft_core.policy.vision import Features, encode, patches
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


def compare(ways: dict[str, Callable], batches: list, after: Callable[[], None]) -> dict[str, float]:
    """Median CPU milliseconds of each way; the first batch warms up."""
    cost = {name: [] for name in ways}
    for batch in batches:
        for name, way in ways.items():
            began = time.process_time()
            way(batch)
            after()
            cost[name].append(1000 * (time.process_time() - began))
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

    optimizer = Optimizer(visual.named_parameters(), 1e-6, 1e-6, 1)
    vision = compare(
        {
            "library": lambda rows: library_features(visual, pool.images[rows], images).square().mean().backward(),
            "here": lambda rows: encode(visual, pool.images[rows], images)[0].square().mean().backward(),
        },
        [torch.randint(len(pool), (settings.batch_size,)).numpy() for _ in range(args.steps + 1)],
        optimizer.step,
    )
    loss = AnswerLoss(model, processor, Features(visual, pool.images, images))
    optimizer = Optimizer([(n, p) for n, p in model.named_parameters() if "visual" not in n], 1e-6, 1e-6, 1)
    language = compare(
        {"library": lambda batch: library_language_step(loss, batch), "here": loss.backward},
        [list(islice(drawn, settings.batch_size)) for _ in range(args.steps + 1)],
        optimizer.step,
    )
    print(f"batch {settings.batch_size}, one thread, torch {torch.__version__}; CPU ms a step, median of {args.steps}")
    for name, cost in (("vision", vision), ("language", language)):
        ratio = cost["here"] / cost["library"]
        print(f"{name:9} library's forward {cost['library']:6.0f}   here {cost['here']:6.0f}   ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
