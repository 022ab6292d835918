"""The architecture of the small policy: Qwen3-VL, 1.5 million parameters.

Qwen3-VL because its vision tower learns absolute positions, which localising from few images needs. How it is taught
belongs to `pretraining`.
"""

from typing import cast

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from vrft_core.policy.tokenizer import END_OF_TEXT, IMAGE, VIDEO, VISION_END, VISION_START

PATCH_SIZE = 14
MERGED = 2 * PATCH_SIZE  # pixels a visual token covers, each way


def build_model(
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    *,
    hidden_size: int = 128,
    layers: int = 3,
    heads: int = 4,
    vision_size: int = 96,
    vision_layers: int = 3,
    vision_heads: int = 3,
    positions: int = 64,
) -> Qwen3VLForConditionalGeneration:
    """Fresh weights from `seed`. `positions` is the vision tower's position grid, a square number of patches."""
    head_size = hidden_size // heads
    third = head_size // 2 * 3 // 8
    text = {
        "vocab_size": -(-len(tokenizer) // 16) * 16,
        "hidden_size": hidden_size,
        "intermediate_size": 3 * hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": head_size,
        "max_position_embeddings": 2048,
        "bos_token_id": tokenizer.convert_tokens_to_ids(END_OF_TEXT),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [head_size // 2 - 2 * third, third, third],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": vision_layers,
        "hidden_size": vision_size,
        "intermediate_size": 3 * vision_size,
        "num_heads": vision_heads,
        "patch_size": PATCH_SIZE,
        "out_hidden_size": hidden_size,
        "num_position_embeddings": positions,
        "deepstack_visual_indexes": [vision_layers // 2],
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=True,
        image_token_id=token_id(tokenizer, IMAGE),
        video_token_id=token_id(tokenizer, VIDEO),
        vision_start_token_id=token_id(tokenizer, VISION_START),
        vision_end_token_id=token_id(tokenizer, VISION_END),
    )
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        bos_token_id=text["bos_token_id"],
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def token_id(tokenizer: PreTrainedTokenizerBase, word: str) -> int:
    return cast(int, tokenizer.convert_tokens_to_ids(word))  # a list only for a list of words
