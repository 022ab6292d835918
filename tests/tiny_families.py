"""A random model of two layers and an image processor for each family of the library that a test names.

Built from configurations, nothing is loaded. Token ids are numbers below `VOCABULARY`; `IMAGE` stands for an image.
"""

from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

VOCABULARY, IMAGE = 128, 100
PINPOINTS = [[56, 112], [112, 56], [112, 112]]
ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
PART_ROPE = {**ROPE, "partial_rotary_factor": 1.0}
INTERLEAVED = {**PART_ROPE, "mrope_interleaved": True}
LINEAR = {"num_hidden_layers": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2,
          "linear_num_value_heads": 4}  # fmt: skip
SQUARE = {"height": 56, "width": 56}


def text(kind: str, **others: Any) -> dict[str, Any]:
    return {"model_type": kind, "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "head_dim": 8,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0,
            "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 4096, **others}  # fmt: skip


def tower(kind: str | None = None, **others: Any) -> dict[str, Any]:
    named = {"model_type": kind} if kind else {}
    return {**named, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "patch_size": 14, "image_size": 56, **others}  # fmt: skip


def qwen_tower(**others: Any) -> dict[str, Any]:
    return {"depth": 2, "num_heads": 2, "hidden_size": 16, "intermediate_size": 32, "out_hidden_size": 32,
            "patch_size": 14, **others}  # fmt: skip


@dataclass(frozen=True)
class Tiny:
    """`model`: the beginning of its class's name. `processing`: the module of its image processor, and its settings."""

    model: str
    text: dict[str, Any]
    vision: dict[str, Any]
    processing: str
    settings: dict[str, Any]
    others: dict[str, Any] = field(default_factory=dict)


QWEN_IDS = {"video_token_id": 101, "vision_start_token_id": 102, "vision_end_token_id": 103}
QWEN = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2,
        "size": {"shortest_edge": 784, "longest_edge": 12544}}  # fmt: skip
GLM_IDS = {"video_token_id": 101, "image_start_token_id": 102, "image_end_token_id": 103, "video_start_token_id": 104,
           "video_end_token_id": 105}  # fmt: skip
GEMMA_IDS = {"boi_token_id": 102, "eoi_token_id": 103, "video_token_id": 104, "audio_token_id": 105}
GEMMA4_TEXT = {
    "sliding_window": 64, "global_head_dim": 8, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0,
    "vocab_size_per_layer_input": VOCABULARY, "layer_types": ["sliding_attention", "full_attention"],
}  # fmt: skip

FAMILIES: dict[str, Tiny] = {
    "qwen2_vl": Tiny(
        "Qwen2VL", text("qwen2_vl_text", rope_parameters=ROPE),
        {"depth": 2, "embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2, "num_heads": 2}, "qwen2_vl", QWEN, QWEN_IDS,
    ),
    "qwen2_5_vl": Tiny(
        "Qwen2_5_VL", text("qwen2_5_vl_text", rope_parameters=ROPE),
        qwen_tower(window_size=56, fullatt_block_indexes=[1]), "qwen2_vl", QWEN, QWEN_IDS,
    ),
    "qwen3_vl": Tiny(
        "Qwen3VL", text("qwen3_vl_text", rope_parameters=INTERLEAVED),
        qwen_tower(num_position_embeddings=64, deepstack_visual_indexes=[0]), "qwen2_vl", QWEN, QWEN_IDS,
    ),
    "qwen3_5": Tiny(
        "Qwen3_5", text("qwen3_5_text", **LINEAR, rope_parameters=INTERLEAVED),
        qwen_tower(num_position_embeddings=64), "qwen2_vl", QWEN, QWEN_IDS,
    ),
    "glm4v": Tiny(
        "Glm4v", text("glm4v_text", rope_parameters=PART_ROPE), qwen_tower(image_size=56), "glm4v",
        {**QWEN, "size": {"shortest_edge": 1568, "longest_edge": 25088}}, GLM_IDS,
    ),
    "gemma3": Tiny(
        "Gemma3", text("gemma3_text", sliding_window=64), tower("siglip_vision_model"), "gemma3", {"size": SQUARE},
        {"mm_tokens_per_image": 4, "boi_token_index": 102, "eoi_token_index": 103},
    ),
    "gemma4": Tiny(
        "Gemma4", text("gemma4_text", **GEMMA4_TEXT),
        tower(num_key_value_heads=2, head_dim=8, pooling_kernel_size=2, position_embedding_size=64), "gemma4",
        {"patch_size": 14, "pooling_kernel_size": 2, "max_soft_tokens": 70}, {"audio_config": None, **GEMMA_IDS},
    ),
    "paligemma": Tiny(
        "PaliGemma", text("gemma"), tower("siglip_vision_model", projection_dim=32), "siglip", {"size": SQUARE},
        {"projection_dim": 32},
    ),
    "internvl": Tiny(
        "InternVL", text("qwen2"), tower("internvl_vision", patch_size=[14, 14], image_size=[56, 56]), "got_ocr2",
        {"size": SQUARE, "crop_to_patches": True, "min_patches": 1, "max_patches": 4},
    ),
    "idefics3": Tiny(
        "Idefics3", text("llama"), tower(), "idefics3",
        {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}, {"scale_factor": 2},
    ),
    "smolvlm": Tiny(
        "SmolVLM", text("llama"), tower(), "smolvlm",
        {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}, {"scale_factor": 2},
    ),
    "llava_next": Tiny(
        "LlavaNext", text("llama"), tower("clip_vision_model", num_hidden_layers=3, projection_dim=16), "llava_next",
        {"size": {"shortest_edge": 56}, "crop_size": SQUARE, "image_grid_pinpoints": PINPOINTS},
        {"image_grid_pinpoints": PINPOINTS},
    ),
    "llava_onevision": Tiny(
        "LlavaOnevision", text("qwen2"), tower("siglip_vision_model", vision_use_head=False), "llava_onevision",
        {"size": SQUARE, "image_grid_pinpoints": PINPOINTS},
        {"video_token_index": 101, "image_grid_pinpoints": PINPOINTS},
    ),
    "mistral3": Tiny(
        "Mistral3", text("mistral"), tower("pixtral", head_dim=8, image_size=112), "pixtral",
        {"size": {"longest_edge": 112}, "patch_size": {"height": 28, "width": 28}},
        {"spatial_merge_size": 2},
    ),
    "lfm2_vl": Tiny(
        "Lfm2Vl", text("lfm2", layer_types=["conv", "full_attention"], block_ff_dim=48, conv_L_cache=3),
        tower("siglip2_vision_model", num_patches=16, vision_use_head=False), "siglip2",
        {"patch_size": 14, "max_num_patches": 36}, {"projector_hidden_size": 32, "downsample_factor": 1},
    ),
    "minicpmv4_6": Tiny(
        "MiniCPMV4_6", text("qwen3_5_text", **LINEAR), tower(insert_layer_id=0), "minicpmv4_6",
        {"patch_size": 14, "scale_resolution": 56, "max_slice_nums": 1}, {"insert_layer_id": 0, "video_token_id": 101},
    ),
    "ovis2": Tiny(
        "Ovis2", text("qwen2"), tower(vocab_size=40, num_visual_indicator_tokens=5, hidden_stride=2), "ovis2",
        {"size": SQUARE, "crop_to_patches": False},
        {"visual_indicator_token_ids": [110, 111, 112, 113, 114], "hidden_size": 32},
    ),
}  # fmt: skip


def model(name: str, image: int = IMAGE, **text_settings: Any) -> Any:
    """In evaluation mode; weights so large that images and prompts matter. `image`: the token that stands for one."""
    tiny = FAMILIES[name]
    config = getattr(transformers, f"{tiny.model}Config")(
        text_config=tiny.text | text_settings, vision_config=dict(tiny.vision), image_token_id=image, **tiny.others
    )
    torch.manual_seed(0)
    made = getattr(transformers, f"{tiny.model}ForConditionalGeneration")(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3) if parameter.any() else parameter.normal_(0, 0.3)
    return made


@cache
def image_processor(name: str) -> Any:
    """The family's own of the two kinds that needs no torchvision."""
    tiny = FAMILIES[name]
    module = import_module(f"transformers.models.{tiny.processing}.image_processing_pil_{tiny.processing}")
    [kind] = [
        value
        for key, value in vars(module).items()
        if key.endswith("ImageProcessorPil") and value.__module__ == module.__name__
    ]
    return kind(**tiny.settings)


def picture(width: int, height: int, seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))
