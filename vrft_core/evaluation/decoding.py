"""Completions of questions that share pictures: vision tower and picture tokens run once a picture.

In a prompt the picture comes before the question, so its keys and values are the same for all its questions: they are
computed once and expanded. Which questions to ask, and what the answers say, belongs to `predict`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache


class Completion(NamedTuple):
    """Token ids without the end token.

    Beside each, in nats: the logarithm of its probability under the model, and the entropy of the distribution that
    it came from.
    """

    tokens: list[int]
    logprobs: list[float]
    entropies: list[float]


@torch.no_grad()
def complete(
    model: Any,
    processor: Any,
    pictures: Sequence[Image.Image],
    questions: Sequence[Sequence[str]],
    *,
    batch_size: int,
    max_new_tokens: int,
    generator: torch.Generator | None = None,
) -> list[list[Completion]]:
    """Completions of each picture's questions, in order; greedy, or sampled at temperature 1 from `generator`.

    Nothing of the model's own generation settings is used but its end tokens: no penalty, no cut of the distribution.
    `batch_size` questions are answered at a time. The pictures are all held in memory at once.
    """
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    head, tails = _prompts(processor, questions)
    cache, mask, position = _read_pictures(core, processor, pictures, head)
    rows = [(picture, number) for picture, texts in enumerate(questions) for number in range(len(texts))]
    rows.sort(key=lambda row: len(tails[row[0]][row[1]]))  # questions of like length together: little padding
    found: list[list[Any]] = [[None] * len(texts) for texts in questions]
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        which = torch.tensor([picture for picture, _ in batch], device=mask.device)
        texts = [tails[picture][number] for picture, number in batch]
        answers = _answer(
            core, processor.tokenizer, _selected(cache, which), mask[which], position[which], texts, max_new_tokens,
            generator,
        )  # fmt: skip
        for (picture, number), completion in zip(batch, answers, strict=True):
            found[picture][number] = completion
    return found


def _prompts(processor: Any, questions: Sequence[Sequence[str]]) -> tuple[str, list[list[list[int]]]]:
    """The prompt up to its picture, the same for all, and the token ids of what follows each.

    What follows begins with a special token, at which a tokenizer always splits: cutting there changes no token.
    """

    def prompt(question: str) -> tuple[str, str]:
        turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
        text = processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
        before, _, after = text.partition(processor.image_token)
        return before + processor.image_token, after

    asked = [[prompt(question) for question in texts] for texts in questions]
    flat = [after for texts in asked for _, after in texts]
    ids = iter(processor.tokenizer(flat, add_special_tokens=False)["input_ids"])
    return asked[0][0][0], [[next(ids) for _ in texts] for texts in asked]


def _read_pictures(
    core: Any, processor: Any, pictures: Sequence[Image.Image], head: str
) -> tuple[DynamicCache, Tensor, Tensor]:
    """Keys and values of each picture's prompt, the mask [N, length] of those that count, the next position [N]."""
    inputs = processor(
        images=[[picture] for picture in pictures], text=[head] * len(pictures), padding=True, padding_side="left",
        return_tensors="pt",
    ).to(core.device)  # fmt: skip
    mask = inputs["attention_mask"]
    positions, _ = core.model.get_rope_index(
        inputs["input_ids"], inputs["mm_token_type_ids"], image_grid_thw=inputs["image_grid_thw"], attention_mask=mask
    )
    cache = DynamicCache(config=core.config)
    core(**inputs, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache, mask, positions.amax(dim=(0, 2)) + 1


def _selected(cache: DynamicCache, rows: Tensor) -> DynamicCache:
    """A new cache whose rows are copies of these rows."""
    return DynamicCache([(layer.keys[rows], layer.values[rows]) for layer in cache.layers])


def _answer(
    core: Any,
    tokenizer: Any,
    cache: DynamicCache,
    mask: Tensor,
    position: Tensor,
    texts: list[list[int]],
    max_new_tokens: int,
    generator: torch.Generator | None,
) -> list[Completion]:
    """Read each row's question after its picture, then answer token by token. Rows that have ended are let go."""
    device, longest = mask.device, max(map(len, texts))
    ends, pad = core.generation_config.eos_token_id, tokenizer.pad_token_id
    stops = torch.tensor(sorted({pad, *(ends if isinstance(ends, list) else [ends])}), device=device)
    ids = torch.tensor([[pad] * (longest - len(text)) + text for text in texts], device=device)
    lengths = torch.tensor([len(text) for text in texts], device=device)
    real = (torch.arange(longest, device=device) >= (longest - lengths)[:, None]).long()
    places = position[:, None] + (real.cumsum(1) - 1).clamp(min=0)
    mask, position = torch.cat([mask, real], dim=1), position + lengths
    completions = [Completion([], [], []) for _ in texts]
    rows = list(range(len(texts)))
    for count in range(1, max_new_tokens + 1):
        output = core(
            input_ids=ids, position_ids=places.expand(3, -1, -1), attention_mask=mask, past_key_values=cache,
            use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        logprobs = output.logits[:, -1].float().log_softmax(-1)
        if generator is None:
            token = logprobs.argmax(-1, keepdim=True)
        else:
            token = torch.multinomial(logprobs.exp(), 1, generator=generator)
        going = ~torch.isin(token[:, 0], stops)
        chosen, entropy = logprobs.gather(1, token)[:, 0], -(logprobs.exp() * logprobs).sum(-1)
        for row, goes, *values in zip(
            rows, going.tolist(), token[:, 0].tolist(), chosen.tolist(), entropy.tolist(), strict=True
        ):
            if goes:
                for kept, value in zip(completions[row], values, strict=True):
                    kept.append(value)
        if count == max_new_tokens or not going.any():
            break
        keep = going.nonzero()[:, 0]
        if len(keep) < len(rows):
            cache.batch_select_indices(keep)
            token, mask, position = token[keep], mask[keep], position[keep]
            rows = [rows[index] for index in keep.tolist()]
        ids, places = token, position[:, None]
        mask, position = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1), position + 1
    return completions
