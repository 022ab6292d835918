"""A policy of a few thousand weights that has just learned to answer in sentences, and what it is trained on.

For tests that really train: its answers differ, so that rewards, gradients and weights do.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast

from vrft_core import policy
from vrft_core.examples import write_examples
from vrft_core.families.form import Form
from vrft_core.params import Adapter, Recipe
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.processor import build_processor
from vrft_core.policy.tokenizer import build_tokenizer
from vrft_core.tasks import load_params
from vrft_core.tasks.detection.prompts.questions import answer, question, thought
from vrft_core.tasks.detection.supervision import pieces
from vrft_core.tasks.task import Example

FORM = Form.of(load_params(Path(__file__).parents[1] / "params.yaml").recipes["mini"])
BOXES = {"cat": [[10, 10, 50, 60]], "hog": [[40, 30, 100, 100]], "tiger": [[5, 5, 30, 40], [60, 50, 110, 90]]}
PLACES = [[0, 0, 500, 500], [100, 100, 460, 540], [80, 80, 440, 520], [300, 200, 900, 900], [340, 240, 880, 880]]
STEPS = 4


def small_recipe(adapter: bool = True) -> Recipe:
    recipe = load_params(Path(__file__).parents[1] / "params.yaml").recipes["mini"]
    changes = {"steps": STEPS, "save_steps": 2, "warmup_steps": 1, "learning_rate": 1e-2}
    names = r".*language_model.*\.(q_proj|v_proj)"
    update = {
        "threads": 1,
        "adapter": Adapter(r=2, alpha=4, target_modules=names) if adapter else None,
        "sft": recipe.sft.model_copy(update={**changes, "batch_size": 2}),
        "rft": recipe.rft.model_copy(
            update={**changes, "batch_size": 8, "num_generations": 4, "max_completion_length": 24}
        ),
        "evaluation": recipe.evaluation.model_copy(update={"max_new_tokens": 24, "batch_size": 4}),
        "tasks": {name: task.model_copy(update={"sft": {}, "rft": {}}) for name, task in recipe.tasks.items()},
    }
    return recipe.model_copy(update=update)


def detection_tokenizer(categories: Sequence[str]) -> PreTrainedTokenizerFast:
    """The vocabulary that the small policy has for questions about these categories."""
    return build_tokenizer(categories, pieces(FORM), 20)


def taught_policy(weights: Path, prompts: Path, categories: tuple[str, ...] = tuple(BOXES)) -> None:
    """Write the policy to `weights` and an example of each category to `prompts`, train and val alike."""
    torch.set_num_threads(1)
    model, processor, examples = _taught(categories)
    prompts.mkdir(parents=True)
    for split in ("train", "val"):
        write_examples(prompts / split, examples)
    weights.mkdir(parents=True)
    policy.save(weights, model, processor)


@cache
def _taught(categories: tuple[str, ...]) -> tuple:
    """Once a process: the model, its processor, the examples."""
    recipe = small_recipe()
    examples = [example(recipe, name, number) for number, name in enumerate(categories, 1)]
    tokenizer = detection_tokenizer(list(BOXES))
    processor = build_processor(tokenizer, PATCH_SIZE, 784, 12544)
    model = build_model(
        tokenizer, 0, hidden_size=32, layers=1, heads=2, vision_size=24, vision_layers=1, vision_heads=2
    )
    teach(model, processor, examples)
    return model, processor, examples


def random_policy(directory: Path, categories: Sequence[str]) -> Path:
    """Write a policy of random weights: what it answers means nothing, but it answers."""
    tokenizer = detection_tokenizer(categories)
    size = {"hidden_size": 32, "layers": 1, "heads": 2, "vision_size": 24, "vision_layers": 2, "vision_heads": 2}
    policy.save(directory, build_model(tokenizer, 0, **size), build_processor(tokenizer, PATCH_SIZE, 784, 12544))
    return directory


def example(recipe: Recipe, category: str, number: int) -> Example:
    pixels = np.random.default_rng(number).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    frame = Form.of(recipe).frame(112, 112)
    boxes, category_id = BOXES[category], 101 + list(BOXES).index(category)
    return Example(
        id=f"{number}-{category_id}",
        image_id=number,
        width=112,
        height=112,
        image=Image.fromarray(pixels),
        label=category,
        question=question(category, thinking=True, family="qwen3-vl"),
        answer=answer([frame.to_answer(box) for box in boxes], [1.0] * len(boxes), thought(category, len(boxes))),
        truth=json.dumps({"category_id": category_id, "boxes": [frame.scale(box) for box in boxes]}),
    )


def teach(model, processor, examples: list[Example]) -> None:
    """Some steps of plain supervised learning: enough for the right form, not for the right boxes."""
    turns = [
        [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": one.question}]},
            {"role": "assistant", "content": one.answer},
        ]
        for one in examples
    ]
    texts = [processor.apply_chat_template(turn) for turn in turns]
    batch = processor(text=texts, images=[[one.image] for one in examples], padding=True, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def drawn_by_question(self, prompt_ids, images, fields, num_generations, **_):
    """In place of a GRPO trainer's `_generate_single_turn`, since processes draw differently.

    Completions follow from question, step and place in the group.
    """
    drawn = []
    for place, prompt in enumerate(prompt_ids):
        key = f"{self.state.global_step}/{place % num_generations}/{hashlib.md5(str(prompt).encode()).hexdigest()}"
        lot = random.Random(key)
        text = answer([lot.choice(PLACES)], [lot.random()], thought("cat", 1)) if lot.random() < 0.8 else "No Objects"
        drawn.append([*self._tokenizer(text)["input_ids"], self._tokenizer.eos_token_id])
    return drawn, None
