"""Which parts of `reuse` are exact for a trainer's model and settings; the others are switched off, with a line.

What can be shared by a model's own nature is known to `model_inputs` and `drafting`; the work itself is done in `grpo`.
"""

import sys
from typing import Any, cast

from transformers import PreTrainedModel
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from vrft_core.params import Reuse
from vrft_core.training import drafting
from vrft_core.training.model_inputs import TRIED, obstacle
from vrft_core.training.vision_cache import frozen


def without_obstacles(trainer: GRPOTrainer, reuse: Reuse) -> Reuse:
    """Switch off what is not exact here; say why on stderr."""
    model = bare_model(trainer.model)
    off: dict[str, str] = {}
    if model.config.model_type not in TRIED:
        off = dict.fromkeys(Reuse.model_fields, f"{model.config.model_type} is not a model it knows")
    elif trainer.tools or trainer.environment_factories is not None or trainer.rollout_func is not None:
        off = dict.fromkeys(Reuse.model_fields, "prompts grow with tools, environments or a rollout function")
    else:
        if is_sharded(trainer):
            off["vision_features"] = "a process that skips the tower would leave the others waiting for its parameters"
        elif not frozen(model):
            off["vision_features"] = "the vision tower is trained"
        elif cast(GRPOConfig, trainer.args).sync_ref_model:
            off["vision_features"] = "the reference model changes"
        if why := obstacle(model):
            off["shared_prompt"] = why
        if why := off.get("shared_prompt") or _writes_otherwise(trainer) or drafting.obstacle(model.config):
            off["drafting"] = why
        if not hasattr(model.model, "get_rope_index") and ("vision_features" in off or not reuse.vision_features):
            off = dict.fromkeys(Reuse.model_fields, off.get("vision_features", "its images go in together, as pixels"))
    off = {name: why for name, why in off.items() if getattr(reuse, name)}
    for why in dict.fromkeys(off.values()):
        _say(f"without {', '.join(name for name in off if off[name] == why)}, as TRL does it: {why}")
    reuse = reuse.model_copy(update=dict.fromkeys(off, False))
    if reuse.shared_prompt and trainer.args.activation_checkpointing:
        _say("shared_prompt only where there is no gradient: checkpointing keeps no keys and values")
    return reuse


def _writes_otherwise(trainer: GRPOTrainer) -> str | None:
    """Who writes the completions, if not the loop that starts from a shared prompt."""
    if trainer.use_vllm:
        return "vLLM writes the completions"
    if is_sharded(trainer) or cast(GRPOConfig, trainer.args).cache_implementation is not None:
        return "the library's own loop writes the completions"
    return None


def _say(line: str) -> None:
    print(f"grpo: {line}", file=sys.stderr, flush=True)


def is_sharded(trainer: GRPOTrainer) -> bool:
    """Whether a forward pass gathers parameters from other processes."""
    return trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled


def bare_model(model: Any) -> PreTrainedModel:
    """The library's own model under an adapter."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
