"""Qwen-VL models of their published shapes with random weights, made on the device: no hub, no network.

Random weights say nothing of quality; a step costs what it costs with trained ones.
"""

import json
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForImageTextToText, GenerationConfig, PreTrainedTokenizerFast

from vrft_core.architectures import PUBLISHED
from vrft_core.policy.processor import ImageProcessor, build_processor
from vrft_core.policy.tokenizer import END_OF_TEXT, IMAGE, SPECIAL, TURN_END, VIDEO, VISION_END, VISION_START

PIXELS = (3136, 401_408)
_ROPE_2 = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
_ROPE_3 = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}

# name → model type, text, vision, whether head and embedding are tied, patch size, family
SHAPES: dict[str, tuple[str, dict, dict, bool, int, str]] = {
    "Qwen2-VL-2B": (*PUBLISHED["Qwen/Qwen2-VL-2B-Instruct"], 14, "qwen2-vl"),
    "Qwen2.5-VL-3B": (*PUBLISHED["Qwen/Qwen2.5-VL-3B-Instruct"], 14, "qwen2.5-vl"),
    "Qwen3-VL-2B": (*PUBLISHED["Qwen/Qwen3-VL-2B-Instruct"], 16, "qwen3-vl"),
}
WEIGHTS = {"Qwen2-VL-2B": 2_208_985_600, "Qwen2.5-VL-3B": 3_754_622_976}  # as published
# The same families small enough for a CPU: heads keep their 128 numbers, so that the rotary sections fit
_TOY_TEXT = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2,
             "num_key_value_heads": 1, "vocab_size": 2048}  # fmt: skip
_TOY_VISION = {
    "qwen2_vl": {"depth": 2, "embed_dim": 64, "hidden_size": 256, "num_heads": 2, "mlp_ratio": 2},
    "qwen2_5_vl": {"depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "out_hidden_size": 256,
                   "fullatt_block_indexes": [1]},
    "qwen3_vl": {"depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "out_hidden_size": 256,
                 "deepstack_visual_indexes": [0]},
}  # fmt: skip


def build(name: str, question: str, device: str, toy: bool) -> tuple[Any, ImageProcessor]:
    """(model, processor), in bfloat16. The tokenizer knows the question's words and spells all else."""
    kind, text, vision, tied, patch, _ = SHAPES[name]
    text = text | {"rope_parameters": _ROPE_3 if kind == "qwen3_vl" else _ROPE_2}
    if toy:
        text, vision = text | _TOY_TEXT, vision | _TOY_VISION[kind]
    tokenizer = tokenizer_for(question, text["vocab_size"])
    number = tokenizer.convert_tokens_to_ids
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    config = AutoConfig.for_model(
        kind, text_config=text | ends | {"tie_word_embeddings": tied}, vision_config=vision, tie_word_embeddings=tied,
        image_token_id=number(IMAGE), video_token_id=number(VIDEO), vision_start_token_id=number(VISION_START),
        vision_end_token_id=number(VISION_END),
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return model, build_processor(tokenizer, patch, *PIXELS)


def tokenizer_for(text: str, size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE learned from one text, filled up to `size` with words that no text encodes to.

    So whatever a random model says can be read.
    """
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        [text] * 20 + ["system user assistant"] * 5,
        trainers.BpeTrainer(
            vocab_size=1024, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
        ),
    )
    state = json.loads(words.to_str())
    known = state["model"]["vocab"]
    known |= {f"\u0120x{number}": number for number in range(len(known), size)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), eos_token=TURN_END, pad_token=END_OF_TEXT,
        padding_side="left", additional_special_tokens=list(SPECIAL),
    )  # fmt: skip


def pictures(count: int, width: int, height: int) -> list[Image.Image]:
    """Noise: no image resembles another."""
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)) for _ in range(count)]
