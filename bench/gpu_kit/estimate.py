"""What `vrft plan` says of the very step that is measured."""

import re
from pathlib import Path
from typing import Any

import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from gpu_kit.models import PIXELS, SHAPES
from gpu_kit.settings import TARGETS, Settings
from vrft_core.commands.plan import GPUS, Sizes
from vrft_core.commands.plan import estimate as planned
from vrft_core.params import Adapter
from vrft_core.tasks import load_params

PARAMS = Path(__file__).parents[2] / "params.yaml"
TEXT = 175  # tokens of the question in the chat template, about


def estimate(name: str, model: Any, settings: Settings, checkpointing: bool) -> dict:
    """{"gpu", "memory" (GiB by part), "peak_gib", "seconds" (a step)} of GRPO with an adapter on one such GPU.

    `model` is without its adapter.
    """
    recipe = load_params(PARAMS).recipes["qwen2-vl-2b-lora"]
    changes = {
        "batch_size": settings.group * settings.groups,
        "micro_batch_size": settings.group,
        "num_generations": settings.group,
        "max_completion_length": settings.tokens,
        "gradient_checkpointing": checkpointing,
    }
    adapter = Adapter(r=settings.rank, alpha=settings.rank, target_modules=TARGETS)
    recipe = recipe.model_copy(update={"adapter": adapter, "rft": recipe.rft.model_copy(update=changes)})
    patch = SHAPES[name][4]
    height, width = smart_resize(settings.height, settings.width, 2 * patch, *PIXELS)
    sizes = {"rft": Sizes(height * width // (2 * patch) ** 2, TEXT, settings.tokens)}
    gpu = nearest(torch.cuda.get_device_name() if torch.cuda.is_available() else "")
    found = planned(model, recipe, {"sft": sizes["rft"], **sizes}, gpu, 1, False)
    memory = found["memory"]["rft"]
    return {"gpu": gpu, "memory": memory, "peak_gib": sum(memory.values()), "seconds": found["seconds"]["rft"]}


def nearest(device: str) -> str:
    """The planned type of GPU that a device's name holds; H100 where none is known."""
    plain = re.sub(r"[^a-z0-9]", "", device.lower())
    return next((gpu for gpu in GPUS if gpu in plain), "h100")
