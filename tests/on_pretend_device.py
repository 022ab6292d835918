"""A program for `test_device.py`: real parts of this project on the device `pretend`, and once more on the CPU.

python on_pretend_device.py PART FOLDER      # prints one JSON line with both results
"""

import json
import sys
from pathlib import Path
from typing import Any

import pretend_device
import torch
from small_policy import BOXES, example, small_recipe, taught_policy

from vrft_core.evaluation.predict import predict
from vrft_core.families.form import Form
from vrft_core.params import Recipe
from vrft_core.policy import loading
from vrft_core.tasks import get_task

DEVICES = {"cpu": torch.device("cpu"), "pretend": torch.device(pretend_device.NAME, 0)}


def moved(model: Any, place: torch.device) -> Any:
    """As `Module.to` on a GPU, which keeps the head tied to the embedding."""
    model.to(place)
    model.tie_weights()
    return model


def prediction(folder: Path) -> dict:
    """Rows of a taught policy, greedy."""
    taught_policy(folder / "policy", folder / "prompts")
    recipe: Recipe = small_recipe()
    asked = [example(recipe, name, number) for number, name in enumerate(BOXES, 1)]
    found = {}
    for name, place in DEVICES.items():
        model, processor = loading.load(folder / "policy")
        with pretend_device.in_use():
            model = moved(model, place)
            limits = {"batch_size": 2, "max_new_tokens": 24}
            rows = predict(model, processor, asked, get_task("detection"), Form.of(recipe), **limits)
        found[name] = [row["completion"] for row in rows]
        found[f"{name} holds"] = sorted({parameter.device.type for parameter in model.parameters()})
    return found


def pretraining(folder: Path) -> dict:
    """Losses of some steps of both phases, and a few weights."""
    import numpy as np
    from small_policy import detection_tokenizer

    from vrft_core.policy.lessons import Lesson, Pool
    from vrft_core.policy.model import PATCH_SIZE, build_model
    from vrft_core.policy.pretraining import pretrain
    from vrft_core.policy.processor import build_processor

    tokenizer = detection_tokenizer(list(BOXES))
    processor = build_processor(tokenizer, PATCH_SIZE, 784, 12544)
    images = np.random.default_rng(0).integers(0, 255, (12, 112, 112, 3), dtype=np.uint8)
    pool = Pool(images, [[("cat", (0.0, 0.0, 60.0, 60.0))]] * 12, [None] * 12)
    lessons = [Lesson(lambda rng, row: ("cat", f"cat {rng.randrange(9)}"), range(12))]
    settings = small_recipe().policy
    assert settings.pretraining
    few = settings.pretraining.model_copy(update={"steps": 2, "batch_size": 6, "vision_steps": 2})
    found = {}
    for name, place in DEVICES.items():
        size = {"hidden_size": 32, "layers": 2, "heads": 2, "vision_size": 24, "vision_layers": 2, "vision_heads": 2}
        model = build_model(tokenizer, 0, **size)
        policy = settings.model_copy(update={"pretraining": few})
        with pretend_device.in_use():
            model = moved(model, place)
            pretrain(model, processor, policy, pool, list(BOXES), lessons, folder / name)
        weights = [parameter.detach().cpu().flatten()[:3].tolist() for parameter in model.parameters()]
        found[name] = [number for row in weights for number in row]
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({"prediction": prediction, "pretraining": pretraining}[sys.argv[1]](Path(sys.argv[2]))))
