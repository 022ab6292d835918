"""Inputs of the library's models where families differ, and which of their work may be computed only once.

All else follows from the model itself: which arguments it takes, whether its positions depend on images, what its
layers keep (`policy.states`).
"""

import inspect
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from vrft_core.policy.states import new_cache

# `model_type` of the models that tests/test_reuse_families.py shows to take kept features with the same numbers.
TRIED = frozenset({
    "gemma3", "gemma4", "glm4v", "idefics3", "internvl", "lfm2_vl", "llava_next", "llava_onevision", "minicpmv4_6",
    "mistral3", "ovis2", "paligemma", "qwen2_5_vl", "qwen2_vl", "qwen3_5", "qwen3_vl", "smolvlm",
})  # fmt: skip
# Models whose prompt cannot be run without its last token, and why.
WHOLE_PROMPTS = {"paligemma": "a prompt's tokens attend to those behind them"}


def obstacle(model: PreTrainedModel) -> str | None:
    """Why prompts of this model cannot be run once for all their completions; None where they can."""
    kind, text = model.config.model_type, model.config.get_text_config()
    if kind not in TRIED:
        return f"{kind} was not tried"
    if kind in WHOLE_PROMPTS:
        return f"{kind}: {WHOLE_PROMPTS[kind]}"
    if getattr(text, "use_bidirectional_attention", None) in (True, "all"):
        return f"{kind}: its tokens attend to those behind them"
    dropout = any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules())
    if dropout or getattr(text, "attention_dropout", 0):
        return "completions of a group would share dropout"
    try:
        new_cache(model.config)
    except ValueError as error:
        return str(error)
    return None


def token_types(model: PreTrainedModel, types: Tensor) -> dict[str, Tensor]:
    """types [rows, P] (1: image) under the name that the model takes, if it takes them."""
    taken = inspect.signature(model.forward).parameters
    return {name: types for name in ("mm_token_type_ids", "token_type_ids") if name in taken}


def positions(model: Any, ids: Tensor, mask: Tensor, types: Tensor, grid: Tensor | None) -> Tensor:
    """Rotary positions of prompts that are padded on the left, [rows, P], or [3, rows, P] where images take part."""
    if hasattr(model.model, "get_rope_index"):
        return model.model.get_rope_index(ids, mm_token_type_ids=types, image_grid_thw=grid, attention_mask=mask)[0]
    return (mask.cumsum(-1) - 1).clamp(min=0)
