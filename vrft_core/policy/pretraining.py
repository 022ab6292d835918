"""How the small policy is made, in two phases of a minute or three each on two cores.

A. The vision tower is aligned with the vocabulary, square by square: each visual token must point at the embedding of
   its object's name and of its box's four coordinates. End to end, a model this small never gets there in minutes.
B. The language model learns to answer from the tower's features, which are computed once: nothing in the tower moves.

What is asked and answered belongs to `lessons`; the architecture to `model`.
"""

import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, Qwen3VLForConditionalGeneration, Qwen3VLVisionModel

from vrft_core.params import Policy, Pretraining
from vrft_core.policy.cores import at_once, workers
from vrft_core.policy.language import AnswerLoss, Row
from vrft_core.policy.lessons import Lesson, Pool, dense_targets, in_order
from vrft_core.policy.model import MERGED
from vrft_core.policy.optimizer import Optimizer
from vrft_core.policy.parts import Tower
from vrft_core.policy.processor import ImageProcessor
from vrft_core.policy.tokenizer import LIMIT
from vrft_core.policy.unfinished import Unfinished, load, save
from vrft_core.policy.vision import Features, encode
from vrft_core.progress import Progress

ADAM_LEARNING_RATE = 0.003  # embeddings, norms, biases; the matrices' rate is a parameter
LOG_EVERY = 10  # steps
VISION = "vision.safetensors"  # all weights after phase A
NORM_IMAGES = 256  # of the pool, on which the features' size is measured

Log = Callable[[int, dict[str, float]], object]


def pretrain(
    model: Qwen3VLForConditionalGeneration,
    processor: ImageProcessor,
    policy: Policy,
    pool: Pool,
    categories: list[str],
    lessons: Sequence[Lesson],
    kept: Path,
    log: Log = lambda step, numbers: None,
    opening: Sequence[Lesson] = (),
) -> dict[str, float]:
    """Both phases, in place. `kept`: a folder in which they note how far they are; called again they go on from there,
    and end in the same weights.

    `categories` are those of the pool's objects, which phase A learns to see; `lessons` ask about the pool's images in
    phase B, `opening` in its first `settings.opening` steps. `log` gets some steps' numbers, named by phase. Returns
    the last losses.
    """
    settings = policy.pretraining
    assert settings, "this policy comes from the Hub"
    kept.mkdir(parents=True, exist_ok=True)
    features = _features(model, processor, policy, pool, categories, kept, log)
    return teach_language(model, processor, settings, features, lessons, kept, log, opening)


def _features(
    model: Qwen3VLForConditionalGeneration,
    processor: ImageProcessor,
    policy: Policy,
    pool: Pool,
    categories: list[str],
    kept: Path,
    log: Log,
) -> Features:
    """Phase A, or what is kept of it, and what the tower then gives for the pool."""
    parameters = dict(model.named_parameters())
    if done := load(kept / VISION):
        with torch.no_grad():
            for name, value in done.items():
                parameters[name].copy_(value)
    else:
        with workers(at_once(model.device)) as executor:
            align_vision(model, processor, policy, pool, categories, kept, log, executor)
        save(kept / VISION, parameters)
    with workers(at_once(model.device)) as executor:
        rescale(model.model.visual, pool.images[:NORM_IMAGES], processor)
        return Features(model.model.visual, pool.images, processor.image_processor, executor)


def align_vision(
    model: Qwen3VLForConditionalGeneration,
    processor: ImageProcessor,
    policy: Policy,
    pool: Pool,
    categories: list[str],
    kept: Path,
    log: Log,
    executor: Executor,
) -> None:
    """Phase A: trains the vision tower and the token embeddings. `executor` is one of `cores.workers`."""
    settings, tokenizer, visual = policy.pretraining, processor.tokenizer, model.model.visual
    assert settings, "this policy comes from the Hub"
    embeddings = cast(nn.Embedding, model.get_input_embeddings()).weight
    size = embeddings.shape[1]
    values = range(0, LIMIT + 1, policy.coordinate_step)
    device = embeddings.device
    name_tokens = _single_tokens(tokenizer, categories).to(device)
    number_tokens = [_single_tokens(tokenizer, [f"{v}, " for v in values]).to(device)] * 3
    number_tokens.append(_single_tokens(tokenizer, [str(v) for v in values]).to(device))
    labels, boxes = (torch.from_numpy(squares).to(device) for squares in dense_targets(pool, categories, MERGED))
    background = len(categories)
    class_weight = torch.ones(background + 1, device=device)
    class_weight[background] = 0.4
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        with torch.no_grad():  # drawn on the CPU: the same on every machine
            embeddings.copy_(torch.empty(embeddings.shape).normal_(std=0.05))
        heads = nn.ModuleList(nn.Linear(size, size) for _ in range(5)).to(device)  # the name's, and one a coordinate
    no_object = nn.Parameter(torch.zeros(1, device=device))
    named = [*visual.named_parameters(), ("embed", embeddings), ("no_object_embed", no_object)]
    named += [(f"head_embed.{name}", parameter) for name, parameter in heads.named_parameters()]
    optimizer = Optimizer(
        named, settings.vision_learning_rate, ADAM_LEARNING_RATE, settings.vision_steps, executor=executor
    )
    tower = Tower(visual, processor.image_processor, executor, parts=at_once(device))
    bins = torch.arange(len(values), device=device)
    unfinished = Unfinished(
        kept / "vision-unfinished.safetensors", dict(named), optimizer, settings.vision_steps, generator
    )
    begun = unfinished.resume()
    progress = Progress("policy: vision (then language)", settings.vision_steps, begun)
    for step in range(begun + 1, settings.vision_steps + 1):
        rows = torch.randint(len(pool), (settings.batch_size,), generator=generator)
        merged = tower.forward(pool.images[rows.numpy()])
        features = F.normalize(merged, dim=-1) * size**0.5
        classes = heads[0](features) @ F.embedding(name_tokens, embeddings).T
        classes = torch.cat([classes, no_object.expand(*classes.shape[:2], 1)], -1)
        rows = rows.to(device)
        target = labels[rows]
        inside = target != background
        class_loss = F.cross_entropy(classes.flatten(0, 1), target.flatten(), weight=class_weight)
        numbers = torch.stack(
            [
                head(features[inside]) @ F.embedding(tokens, embeddings).T
                for head, tokens in zip(heads[1:], number_tokens, strict=True)
            ],
            1,
        )
        # soft bins around the true coordinate: a neighbour on the grid is nearly right
        distance = bins - (boxes[rows][inside] * (len(values) - 1)).unsqueeze(-1)
        near = torch.softmax(-0.5 * (distance / 1.2) ** 2, -1)
        number_loss = -(near * F.log_softmax(numbers, -1)).sum(-1).mean()
        (class_loss + number_loss).backward()
        assert merged.grad is not None
        tower.backward(merged.grad)
        optimizer.step()
        right = (classes[inside].argmax(-1) == target[inside]).float().mean().item()
        losses = {"loss": class_loss.item() + number_loss.item(), "category_right": right}
        progress.step(**losses)
        if step % LOG_EVERY == 0:
            log(step, {f"vision/{name}": value for name, value in losses.items()})
        unfinished.done(step)


@torch.no_grad()
def rescale(visual: Qwen3VLVisionModel, images: np.ndarray, processor: ImageProcessor) -> None:
    """Give the tower's features the root mean square 1, on `images` uint8 [N, H, W, 3].

    Phase A looks at directions alone, and the longer it lasts, the longer the features grow: after 800 steps a layer of
    the language model hardly changes them. What this does to the answers alone was not measured.
    """
    features, _ = encode(visual, images, processor.image_processor)
    last = visual.merger.linear_fc2
    size = features.square().mean().sqrt()
    for parameter in last.parameters():
        parameter /= size


def teach_language(
    model: Qwen3VLForConditionalGeneration,
    processor: ImageProcessor,
    settings: Pretraining,
    features: Features,
    lessons: Sequence[Lesson],
    kept: Path,
    log: Log,
    opening: Sequence[Lesson] = (),
) -> dict[str, float]:
    """Phase B: trains everything but the vision tower. Returns the last losses."""
    named = [(name, p) for name, p in model.named_parameters() if "visual" not in name]
    drawn = in_order(opening, lessons, settings)
    model.train()
    with workers(at_once(model.device)) as executor:
        optimizer = Optimizer(named, settings.learning_rate, ADAM_LEARNING_RATE, settings.steps, executor=executor)
        answer_loss = AnswerLoss(model, processor, features, executor)
        unfinished = Unfinished(kept / "language-unfinished.safetensors", dict(named), optimizer, settings.steps)
        begun = unfinished.resume()
        deque(islice(drawn, begun * settings.batch_size), maxlen=0)
        progress = Progress("policy: language", settings.steps, begun)

        def following() -> list[Row]:
            return answer_loss.rows(list(islice(drawn, settings.batch_size)))

        coming = executor.submit(following)
        for step in range(begun + 1, settings.steps + 1):
            rows, coming = coming.result(), executor.submit(following)
            if opening and step == settings.opening + 1:
                print("policy: language: now all kinds of questions; the loss rises for a while", file=sys.stderr)
            losses = answer_loss.backward(rows)
            optimizer.step()
            progress.step(**losses)
            if step % LOG_EVERY == 0:
                log(step, {f"language/{name}": value for name, value in losses.items()})
            unfinished.done(step)
    model.eval()
    return losses


def _single_tokens(tokenizer: PreTrainedTokenizerBase, words: list[str]) -> Tensor:
    ids = [tokenizer(word)["input_ids"] for word in words]
    assert all(len(row) == 1 for row in ids), "the vocabulary must know each of these whole"
    return torch.tensor([row[0] for row in ids])
