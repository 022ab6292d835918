"""Rows of a GRPO batch: the form TRL wants them in, and which of them lie side by side."""

import torch
from PIL.Image import Image
from trl.data_utils import prepare_multimodal_messages
from trl.trainer.utils import split_tensor_dict

from vrft_core.training.shared_prompt import distinct

IMAGE_COLUMNS = ("image", "images")


def multimodal(row: dict) -> dict:
    """The row with its images inside its prompt, as TRL puts them there."""
    images = row.get("images") or [row[name] for name in ("image",) if row.get(name) is not None]
    others = {name: value for name, value in row.items() if name not in IMAGE_COLUMNS}
    return {**others, "prompt": prepare_multimodal_messages(row["prompt"], images=images)}


def holds_pictures(row: dict) -> bool:
    parts = [part for message in row["prompt"] for part in message["content"]]
    return all(isinstance(part.get("image"), Image) for part in parts if part["type"] == "image")


def until_end(tokens: list[int], ends: list[int]) -> list[int]:
    """Up to the first end token, which is included."""
    stop = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[: stop + 1]


def whole_groups(batches: list[dict]) -> list[dict]:
    """The same rows in as many batches, those of one prompt next to each other, prompts in order of appearance."""
    if len(batches) == 1:
        return batches
    prompts = [prompt for batch in batches for prompt in batch["prompts"]]
    _, numbers = distinct(prompts)
    order = sorted(range(len(prompts)), key=numbers.__getitem__)
    joined = {}
    for name, value in batches[0].items():
        if isinstance(value, list):
            rows = [row for batch in batches for row in batch[name]]
            joined[name] = [rows[i] for i in order]
        elif value is None or value.ndim == 0:
            joined[name] = value
        else:
            joined[name] = torch.cat([batch[name] for batch in batches])[order]
    return split_tensor_dict(joined, len(batches))
