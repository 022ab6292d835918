"""Whether the log-probabilities of a prompt that is run once are those of the whole row, on this device.

The measure is the model's own rounding: how far whole rows in bfloat16 lie from whole rows in 32 bits.
"""

from collections.abc import Callable
from typing import Any

import torch
from trl.trainer import add_fused_lm_head

from gpu_kit.clock import GPU
from gpu_kit.models import SHAPES, build, pictures
from gpu_kit.settings import Rows, Settings
from vrft_core.tasks.detection.prompts.questions import question
from vrft_core.training import shared_prompt
from vrft_core.training.shared_prompt import Prompt, image_grid, read_prompt
from vrft_core.training.vision_cache import FeatureCache, PatchCache


def run(name: str, settings: Settings, rows: Rows) -> None:
    """One row: largest and mean differences of log-probabilities, in nats."""
    device, text = ("cuda" if GPU else "cpu"), question("dog", thinking=True, family=SHAPES[name][-1])
    model, processor = build(name, text, device, settings.toy)
    add_fused_lm_head(model, temperature=1.0)  # as TRL's trainer does it: forward then gives log-probabilities
    model.eval()
    patches = PatchCache(processor.image_processor).patches
    prompts = [
        read_prompt(processor, _turns(image, words), patches)
        for image, words in zip(pictures(2, settings.width, settings.height), (text, text + " Now."), strict=True)
        for _ in range(2)
    ]
    torch.manual_seed(3)
    ids = torch.randint(20, 200, (len(prompts), settings.tokens)).to(device)
    mask = torch.ones_like(ids)
    mask[0, settings.tokens // 2 :] = 0  # completions differ in length
    padding, features = processor.tokenizer.pad_token_id, FeatureCache()

    def from_features(bare: Any, some: list[Prompt]) -> dict:
        images = [one for prompt in some for one in prompt.images]
        return {
            "image_grid_thw": image_grid(some, bare.device),
            "mm_encoder_outputs": {"image": features.features(bare, images)},
        }

    def shared() -> torch.Tensor:
        start = shared_prompt.prefill(model, model, prompts, from_features, padding)
        return shared_prompt.log_probs(model, start.over(prompts), ids, mask)[0]

    found = {"bf16": _both(shared, lambda: _whole(model, prompts, ids, mask, padding))}
    model.float()
    features.memories.clear()
    found["fp32"] = _both(shared, lambda: _whole(model, prompts, ids, mask, padding))
    row = {}
    for kind, (ours, whole) in found.items():
        row |= {f"{kind}_largest": _largest(ours, whole, mask), f"{kind}_mean": _mean(ours, whole, mask)}
    rounding = found["bf16"][1], found["fp32"][1]
    row |= {"rounding_largest": _largest(*rounding, mask), "rounding_mean": _mean(*rounding, mask)}
    rows.add(part="parity", model=name, **row)


def _turns(image: Any, words: str) -> list[dict]:
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": words}]}]


@torch.no_grad()
def _both(*ways: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return tuple(way().float() for way in ways)


def _whole(model: Any, prompts: list[Prompt], ids: torch.Tensor, mask: torch.Tensor, padding: int) -> torch.Tensor:
    """Every row from its first token, its image encoded again: as TRL does it."""
    device = model.device
    prompt_ids, prompt_mask, types = shared_prompt.text_inputs(prompts, padding, device)
    labels = torch.cat([torch.full_like(prompt_ids, -100), ids.masked_fill(mask == 0, -100)], 1)
    pixels = torch.cat([one.pixel_values for prompt in prompts for one in prompt.images]).to(device)
    outputs = model(
        input_ids=torch.cat([prompt_ids, ids], 1),
        attention_mask=torch.cat([prompt_mask, mask], 1),
        mm_token_type_ids=torch.nn.functional.pad(types, (0, ids.shape[1])),
        pixel_values=pixels,
        image_grid_thw=image_grid(prompts, device),
        labels=labels,
        fused_lm_head=True,
    )
    return outputs.log_probs[:, -ids.shape[1] :]


def _largest(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor) -> float:
    return ((a - b).abs() * mask).max().item()


def _mean(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor) -> float:
    return (((a - b).abs() * mask).sum() / mask.sum()).item()
