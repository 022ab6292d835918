"""What `vrft plan` says of the very step that is measured."""

import re
from pathlib import Path
from typing import Any

from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from gpu_kit.models import PIXELS, SHAPES
from gpu_kit.settings import TARGETS, Settings
from vrft_core.commands.step_costs import GPUS, Sizes, at_once
from vrft_core.commands.step_costs import estimate as planned
from vrft_core.params import Adapter, Reuse
from vrft_core.tasks import load_params

PARAMS = Path(__file__).parents[2] / "params.yaml"
TEXT = 175  # tokens of the question in the chat template, about


def estimate(name: str, model: Any, settings: Settings, checkpointing: bool, ours: bool, gpu: str) -> dict:
    """{"gpu", "memory" (GiB by part), "peak_gib", "seconds" (a step)} of GRPO with an adapter on one GPU of that name.

    `model` is without its adapter. `ours`: a prompt is run once for its group, as this project does it.
    """
    recipe = load_params(PARAMS).recipes["qwen2-vl-2b-lora"]
    changes = {
        "batch_size": settings.group * settings.groups,
        "micro_batch_size": settings.group,
        "num_generations": settings.group,
        "max_completion_length": settings.tokens,
        "gradient_checkpointing": checkpointing,
        "reuse": Reuse(shared_prompt=ours),
    }
    adapter = Adapter(r=settings.rank, alpha=settings.rank, target_modules=TARGETS)
    recipe = recipe.model_copy(update={"adapter": adapter, "rft": recipe.rft.model_copy(update=changes)})
    patch = SHAPES[name][4]
    height, width = smart_resize(settings.height, settings.width, 2 * patch, *PIXELS)
    sizes = {"rft": Sizes(height * width // (2 * patch) ** 2, TEXT, settings.tokens)}
    gpu = nearest(gpu)
    found = planned(model, recipe, {"sft": sizes["rft"], **sizes}, gpu, 1, False)
    memory = found["memory"]["rft"]
    return {"gpu": gpu, "memory": memory, "peak_gib": at_once(memory), "seconds": found["seconds"]["rft"]}


def nearest(device: str) -> str:
    """The planned type of GPU that a device's name holds; H100 where none is known."""
    plain = re.sub(r"[^a-z0-9]", "", device.lower())
    return next((gpu for gpu in GPUS if gpu in plain), "h100")
