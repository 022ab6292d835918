"""Frozen weights of 4 bits under an adapter (QLoRA, arXiv 2305.14314). Not yet run: it needs a CUDA GPU."""

from importlib.util import find_spec

import torch
from transformers import BitsAndBytesConfig

from vrft_core.errors import InputError
from vrft_core.params import Recipe

WHOLE = ("visual", "lm_head")  # modules whose weights keep their 16 bits


def quantization(recipe: Recipe) -> BitsAndBytesConfig | None:
    """How to hold the weights that the recipe trains an adapter on; None: as they are stored.

    Raises InputError where 4 bits are asked for and cannot be had.
    """
    if recipe.adapter is None or recipe.adapter.base_bits == 16:
        return None
    if not torch.cuda.is_available():
        raise InputError("adapter.base_bits", "4 needs a CUDA GPU, and none is here", "take 16, or another machine")
    if find_spec("bitsandbytes") is None:
        raise InputError("adapter.base_bits", "4 needs bitsandbytes", "pip install bitsandbytes")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=list(WHOLE),
    )
