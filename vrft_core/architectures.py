"""The shapes of the models that recipes name, so that a plan needs no download: published hyper-parameters as data.

Source: the `config.json` of each repository. A model that is fetched brings its own; nothing is trained from these.
"""

from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from vrft_core.errors import InputError
from vrft_core.params import Params, Recipe
from vrft_core.policy import curriculum
from vrft_core.policy.model import build_model

_LARGE = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
          "num_key_value_heads": 4, "vocab_size": 152064}  # fmt: skip
_2B = {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
       "num_key_value_heads": 2, "vocab_size": 151936}  # fmt: skip
_3B = {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
       "num_key_value_heads": 2, "vocab_size": 151936}  # fmt: skip
_VISION_2 = {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16}
_VISION_25 = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}

# Qwen3-VL
_VISION_3 = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 16}
_VISION_3_LARGE = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "patch_size": 16}
_DEEP, _DEEP_LARGE = {"deepstack_visual_indexes": [5, 11, 17]}, {"deepstack_visual_indexes": [8, 16, 24]}
_3 = {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 262144}
_3_2B = _3 | {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16}
_3_4B = _3 | {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32}
_3_8B = _3 | {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32}
# Qwen3.5: three of four layers hold a recurrent state
_35 = {"head_dim": 256, "vocab_size": 248320, "max_position_embeddings": 262144, "linear_num_key_heads": 16,
       "linear_key_head_dim": 128, "linear_value_head_dim": 128}  # fmt: skip
_35_08B = _35 | {"hidden_size": 1024, "intermediate_size": 3584, "num_hidden_layers": 24, "num_attention_heads": 8,
                 "num_key_value_heads": 2, "linear_num_value_heads": 16}  # fmt: skip
_35_2B = _35 | {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 24, "num_attention_heads": 8,
                "num_key_value_heads": 2, "linear_num_value_heads": 16}  # fmt: skip
_35_4B = _35 | {"hidden_size": 2560, "intermediate_size": 9216, "num_hidden_layers": 32, "num_attention_heads": 16,
                "num_key_value_heads": 4, "linear_num_value_heads": 32}  # fmt: skip
_VISION_35_SMALL = _VISION_3 | {"depth": 12, "hidden_size": 768, "intermediate_size": 3072, "num_heads": 12}

# repository → model type, text, vision, whether the head shares the embedding's weights
PUBLISHED = {
    "Qwen/Qwen2-VL-2B-Instruct": ("qwen2_vl", _2B, _VISION_2 | {"hidden_size": 1536}, True),
    "Qwen/Qwen2-VL-7B-Instruct": ("qwen2_vl", _LARGE, _VISION_2 | {"hidden_size": 3584}, False),
    "Qwen/Qwen2.5-VL-3B-Instruct": ("qwen2_5_vl", _3B, _VISION_25 | {"out_hidden_size": 2048}, True),
    "Qwen/Qwen2.5-VL-7B-Instruct": ("qwen2_5_vl", _LARGE, _VISION_25 | {"out_hidden_size": 3584}, False),
    "Qwen/Qwen3-VL-2B-Instruct": ("qwen3_vl", _3_2B, _VISION_3 | _DEEP | {"out_hidden_size": 2048}, True),
    "Qwen/Qwen3-VL-4B-Instruct": ("qwen3_vl", _3_4B, _VISION_3 | _DEEP | {"out_hidden_size": 2560}, True),
    "Qwen/Qwen3-VL-8B-Instruct": ("qwen3_vl", _3_8B, _VISION_3_LARGE | _DEEP_LARGE | {"out_hidden_size": 4096}, False),
    "Qwen/Qwen3.5-0.8B": ("qwen3_5", _35_08B, _VISION_35_SMALL | {"out_hidden_size": 1024}, True),
    "Qwen/Qwen3.5-2B": ("qwen3_5", _35_2B, _VISION_3 | {"out_hidden_size": 2048}, True),
    "Qwen/Qwen3.5-4B": ("qwen3_5", _35_4B, _VISION_3 | {"out_hidden_size": 2560}, True),
}


def outline(params: Params, recipe: Recipe) -> PreTrainedModel:
    """The recipe's model without weights (on the meta device). Raises InputError for a model not listed here."""
    if recipe.policy.pretraining:
        tokenizer = curriculum.tokenizer(curriculum.subjects(params, recipe), recipe)
        model = build_model(tokenizer, 0)
        cast(Any, model).to("meta")  # in place; the annotation of a model's own `to` takes no argument
        model.tie_weights()  # moving them has parted the embedding and the head
        return model
    assert recipe.policy.hub  # a policy has one or the other
    repo = recipe.policy.hub.repo
    if repo not in PUBLISHED:
        raise InputError("params.yaml", f"no plan for {repo}", f"its shape is not known; known: {', '.join(PUBLISHED)}")
    kind, text, vision, tied = PUBLISHED[repo]
    config = AutoConfig.for_model(
        kind, text_config=text | {"tie_word_embeddings": tied}, vision_config=vision, tie_word_embeddings=tied
    )
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)
