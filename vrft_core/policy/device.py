"""Where a policy runs and in which numbers: the first GPU, or the CPU; 32 bits, or products in bfloat16.

Training's own placement is the trainer's; what is computed belongs to the callers.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata

import torch

from vrft_core.errors import InputError
from vrft_core.params import Recipe

TRANSFORMERS = (5, 23)  # has `mm_encoder_outputs` in its models and `activation_checkpointing` in its trainer
RENAMED = (5, 24)  # calls `past_key_values` `cache`


def device() -> torch.device:
    """The GPU that this process uses, where there is one; else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def hardware(processor: str) -> str:
    """What this process computes on, in words: its GPUs, or the `processor` with its threads."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name()}"
    threads = torch.get_num_threads()
    return f"{processor}, {threads} {'thread' if threads == 1 else 'threads'}"


def in_16_bits(recipe: Recipe) -> bool:
    """Whether passes compute in bfloat16. `auto`: on a GPU that can, and nowhere else."""
    if recipe.precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return recipe.precision == "bf16"


def autocast(recipe: Recipe) -> AbstractContextManager:
    """What every pass of a policy runs in: training, generation, validation and evaluation alike.

    Entered once around many passes, it casts each weight once; entered by each pass, it casts them again every time.
    """
    return torch.autocast(device().type, dtype=torch.bfloat16) if in_16_bits(recipe) else nullcontext()


def loaded_dtype(recipe: Recipe, trained: bool = False) -> torch.dtype | None:
    """The number format to load weights in; None: as they are stored.

    32 bits where passes compute in 32 bits, and for whole weights that are `trained`: 16 are too coarse for an update
    of 1e-6.
    """
    return torch.float32 if not in_16_bits(recipe) or (trained and recipe.adapter is None) else None


def prepare(recipe: Recipe) -> None:
    """Threads, and what PyTorch is to be told once before anything is computed.

    `deterministic`: the same numbers in every run on the same type of GPU; an operation that has no such form raises.
    """
    torch.set_num_threads(recipe.threads)
    if not torch.cuda.is_available():
        return
    if not in_16_bits(recipe):  # convolutions would round to 10 bits
        torch.backends.cudnn.allow_tf32 = False
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)


def check_transformers(found: Callable[[str], str] = metadata.version) -> None:
    """Raises InputError where the installed transformers gives wrong numbers, or cannot generate as it is asked to."""
    version = found("transformers")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    wanted, renamed = (".".join(map(str, one)) for one in (TRANSFORMERS, RENAMED))
    remedy = f"pip install 'transformers>={wanted},<{renamed}'"
    if numbers < TRANSFORMERS:
        problem = f"is {version}; image features and checkpointing need {wanted} or newer"
        raise InputError("transformers", problem, remedy)
    if numbers >= RENAMED:
        problem = f"is {version}; {renamed} renames an argument that generation needs, use one before it"
        raise InputError("transformers", problem, remedy)
