"""Completions where nothing of a prompt can be shared: for models whose layers keep a recurrent state (Qwen3.5).

Every question runs with its own picture, and rows that have ended are carried along. The same numbers come out as from
`decoding`, which is much faster where all layers keep keys and values.
"""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache

Written = tuple[list[int], list[float], list[float], list[float]]  # tokens, log-probabilities, entropies, watched


def keeps_a_state(core: Any) -> bool:
    """Whether some layer of a model keeps a recurrent state in place of keys and values."""
    return "linear_attention" in (getattr(core.config.get_text_config(), "layer_types", None) or ())


def complete_whole(
    core: Any,
    processor: Any,
    pictures: Sequence[Image.Image],
    questions: Sequence[Sequence[str]],
    stops: Sequence[int],
    batch_size: int,
    max_new_tokens: int,
    generator: torch.Generator | None,
    watched: Sequence[int],
) -> list[list[Written]]:
    """As `decoding.complete`: what is written in answer to each picture's questions, in order."""

    def prompt(question: str) -> str:
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
        return processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)

    rows = [(picture, question) for picture, texts in enumerate(questions) for question in texts]
    found: list[list[Written]] = [[] for _ in questions]
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        inputs = processor(
            images=[[pictures[picture]] for picture, _ in batch], text=[prompt(question) for _, question in batch],
            padding=True, padding_side="left", return_tensors="pt",
        ).to(core.device)  # fmt: skip
        written = complete_rows(core, inputs, stops, max_new_tokens, generator, watched)
        for (picture, _), one in zip(batch, written, strict=True):
            found[picture].append(one)
    return found


def begin(core: Any, inputs: Any) -> tuple[DynamicCache, Tensor, Tensor, Tensor]:
    """Run whole prompts: the cache, logits [rows, vocabulary], mask [rows, length], next position [rows]."""
    ids, mask, kinds = inputs["input_ids"], inputs["attention_mask"], inputs["mm_token_type_ids"]
    grid = inputs["image_grid_thw"]
    positions, _ = core.model.get_rope_index(ids, kinds, image_grid_thw=grid, attention_mask=mask)
    cache = DynamicCache(config=core.config.get_text_config())
    output = core(
        input_ids=ids, attention_mask=mask, mm_token_type_ids=kinds, pixel_values=inputs["pixel_values"],
        image_grid_thw=grid, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1,
    )  # fmt: skip
    return cache, output.logits[:, -1], mask, positions.amax(dim=(0, 2)) + 1


def complete_rows(
    core: Any,
    inputs: Any,
    stops: Sequence[int],
    max_new_tokens: int,
    generator: torch.Generator | None,
    watched: Sequence[int],
) -> list[Written]:
    """For each row its tokens without the end, and beside each its log-probability, entropy and what was watched.

    Greedy, or sampled at temperature 1 from `generator`.
    """
    cache, logits, mask, position = begin(core, inputs)
    ends = torch.tensor(sorted(stops), device=mask.device)
    looked_at = torch.tensor(list(watched), dtype=torch.long, device=mask.device)
    found: list[Written] = [([], [], [], []) for _ in mask]
    over = torch.zeros(len(mask), dtype=torch.bool, device=mask.device)
    for _ in range(max_new_tokens):
        logprobs = logits.float().log_softmax(-1)
        if generator is None:
            token = logprobs.argmax(-1, keepdim=True)
        else:
            token = torch.multinomial(logprobs.exp(), 1, generator=generator)
        over = over | torch.isin(token[:, 0], ends)
        chosen, entropy = logprobs.gather(1, token)[:, 0], -(logprobs.exp() * logprobs).sum(-1)
        seen = logprobs[:, looked_at].exp().sum(-1)
        values = zip(token[:, 0].tolist(), chosen.tolist(), entropy.tolist(), seen.tolist(), strict=True)
        for row, ended, new in zip(found, over.tolist(), values, strict=True):
            if not ended:
                for kept, value in zip(row, new, strict=True):
                    kept.append(value)
        if bool(over.all()):
            break
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        logits = core(
            input_ids=token, position_ids=position[:, None].expand(3, -1, -1), attention_mask=mask,
            past_key_values=cache, use_cache=True, logits_to_keep=1,
        ).logits[:, -1]  # fmt: skip
        position = position + 1
    return found
