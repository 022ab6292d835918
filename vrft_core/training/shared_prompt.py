"""A group's prompt run once: what its layers keep of it serves every completion, in log-probabilities and generation.

Plain functions on a bare model for which `model_inputs` knows no obstacle. When they are used belongs to `grpo`; image
features to `vision_cache`, what layers keep to `policy.states`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from PIL.Image import Image
from torch import Tensor, nn
from transformers import Cache, GenerationConfig, PreTrainedModel

from vrft_core.policy.recording import recorded
from vrft_core.policy.states import make_room, new_cache, selected, spread
from vrft_core.training import processors
from vrft_core.training.model_inputs import positions, token_types
from vrft_core.training.vision_cache import Patches

# tokens of each row between two looks at which rows have ended: a GPU stands still while it is looked at
LOOK = {"cpu": 1, "cuda": 8}
VisionInputs = Callable[[PreTrainedModel, list["Prompt"]], dict]


@dataclass(frozen=True, eq=False)
class Prompt:
    """A tokenised prompt: input_ids [P], token_types [P] (1: image), on the CPU; its images in order.

    Prompts are equal when their `key` is.
    """

    key: tuple[str, ...]
    input_ids: Tensor
    token_types: Tensor
    images: tuple[Patches, ...]


def read_prompt(processor, messages: list[dict], read: Callable[[Image], Patches], **template) -> Prompt:
    """A conversation whose parts hold PIL images, up to where the answer begins: what the processor makes of it.

    `read` is a `PatchCache.patches`.
    """
    parts = [part for message in messages for part in message["content"] if part["type"] == "image"]
    images = tuple(read(part["image"]) for part in parts)
    [text] = processor.apply_chat_template([messages], add_generation_prompt=True, tokenize=False, **template)
    places = [processor.replace_image_token(patches.inputs, image_idx=0) for patches in images]
    [expanded], _ = processor.get_text_with_replacements([text], places)
    input_ids = processor.tokenizer([expanded])["input_ids"]
    token_types = processor.create_mm_token_type_ids(input_ids)
    key = (text, *(patches.key for patches in images))
    return Prompt(key, torch.tensor(input_ids[0]), torch.tensor(token_types[0]), images)


def distinct(prompts: list[Prompt]) -> tuple[list[Prompt], list[int]]:
    """Different prompts in order of appearance, and for each prompt given which of them it is."""
    numbers = {key: number for number, key in enumerate(dict.fromkeys(prompt.key for prompt in prompts))}
    first = {prompt.key: prompt for prompt in reversed(prompts)}
    return [first[key] for key in numbers], [numbers[prompt.key] for prompt in prompts]


def pad_left(rows: Iterable[Tensor], value: int, length: int | None = None) -> Tensor:
    """[rows, length], or as long as the longest."""
    rows = list(rows)
    length = length or max(map(len, rows))
    padded = rows[0].new_full((len(rows), length), value)
    for place, row in zip(padded, rows, strict=True):
        place[length - len(row) :] = row
    return padded


def text_inputs(prompts: list[Prompt], pad_token_id: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, mask and token types of prompts: [prompts, P], padded on the left."""
    ids = [prompt.input_ids for prompt in prompts]
    types = (prompt.token_types for prompt in prompts)
    rows = (pad_left(ids, pad_token_id), pad_left(map(torch.ones_like, ids), 0), pad_left(types, 0))
    ids, mask, types = (value.to(device) for value in rows)
    return ids, mask, types


def image_grid(prompts: list[Prompt], device: torch.device) -> Tensor:
    """[images, 3] of all prompts, in families whose images have a grid."""
    return torch.stack([patches.grid for prompt in prompts for patches in prompt.images]).to(device)


def has_grid(prompts: list[Prompt]) -> bool:
    return any("image_grid_thw" in patches.inputs for prompt in prompts for patches in prompt.images)


def can_share(prompts: list[Prompt]) -> bool:
    """All end in text after other tokens: a prompt's last token is run with each completion, the others once."""
    return not any(len(prompt.input_ids) < 2 or prompt.token_types[-1] for prompt in prompts)


@dataclass
class Prefill:
    """Prompts run but for their last token, each in as many rows as continue it.

    cache: of P - 1 tokens. input_ids, mask: [rows, P]. positions: rotary, [rows, P] or [3, rows, P]. keys: of the
    rows' prompts.
    """

    cache: Cache
    input_ids: Tensor
    mask: Tensor
    positions: Tensor
    keys: list[tuple[str, ...]]

    def over(self, prompts: list[Prompt]) -> "Prefill":
        """What the layers keep of each prompt, with its gradient, for each row; this one stays as it is."""
        numbers = {key: number for number, key in enumerate(self.keys)}
        rows = torch.tensor([numbers[prompt.key] for prompt in prompts], device=self.input_ids.device)
        return Prefill(
            selected(self.cache, rows),
            self.input_ids[rows],
            self.mask[rows],
            self.positions.index_select(-2, rows),
            [prompt.key for prompt in prompts],
        )


def prefill(
    model: nn.Module, bare: PreTrainedModel, prompts: list[Prompt], vision: VisionInputs, pad_token_id: int
) -> Prefill:
    """Run each different prompt once, in a row of its own: `Prefill.over` hands it to all the rows that continue it.

    `model` is `bare`, or a wrapper of it that must see the call.
    """
    unique, _ = distinct(prompts)
    ids, mask, types = text_inputs(unique, pad_token_id, bare.device)
    grid = image_grid(unique, bare.device) if has_grid(unique) else None
    places = positions(bare, ids, mask, types, grid)
    cache = new_cache(bare.config)
    model(
        input_ids=ids[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=places[..., :-1],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        **token_types(bare, types[:, :-1]),
        **(vision(bare, unique) if any(prompt.images for prompt in unique) else {}),
    )
    return Prefill(cache, ids, mask, places, [prompt.key for prompt in unique])


def log_probs(
    model: nn.Module, start: Prefill, completion_ids: Tensor, completion_mask: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Log-probability of each completion's tokens, and the entropy of their distributions if the model gives it.

    `start` has their rows, and is used up. completion_ids, completion_mask and both results: [rows, C]; zero where the
    mask is.
    """
    longest = max(int(completion_mask.sum(1).max()), 1)
    ids, mask = completion_ids[:, :longest], completion_mask[:, :longest]
    steps = torch.arange(longest, device=ids.device)
    outputs = model(
        input_ids=torch.cat([start.input_ids[:, -1:], ids[:, :-1]], 1),
        attention_mask=torch.cat([start.mask, mask[:, :-1]], 1),
        position_ids=start.positions[..., -1:] + steps,
        past_key_values=start.cache,
        shift_labels=ids.masked_fill(mask == 0, -100),
        fused_lm_head=True,
    )
    rest = (0, completion_ids.shape[1] - longest)
    entropy = outputs.entropy
    return nn.functional.pad(outputs.log_probs, rest), None if entropy is None else nn.functional.pad(entropy, rest)


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    input_ids: Tensor,
    logits_processor: Callable,
    stopping_criteria: Callable,
    generation_config: GenerationConfig,
    **inputs,
) -> Tensor:
    """A loop for `generate(custom_generate=…)` that starts from a `Prefill` and drops rows that have finished. Where
    passes are `recorded`, on a GPU, all rows stay until the last has finished: a recording has a fixed number of rows.

    Draws from the same distributions, of the same shape, as the library's own loop: the same random state gives the
    same tokens, but for rounding. input_ids [rows, P] → [rows, P + longest completion], padded on the right. What a row
    says between its end and the next look (`LOOK`) follows its end token.
    """
    cache, attention_mask = inputs["past_key_values"], inputs.get("attention_mask")  # no mask: no padding
    rows, pad = len(input_ids), generation_config.pad_token_id
    live = torch.arange(rows, device=input_ids.device)
    ids, position = input_ids, inputs["position_ids"][..., -1:]
    done = []  # (row, its tokens)
    distribution = None
    most = (generation_config.max_length or 0) - input_ids.shape[1]
    every = LOOK.get(input_ids.device.type, LOOK["cpu"]) if most > 0 else LOOK["cpu"]
    finished = torch.zeros(rows, dtype=torch.bool, device=input_ids.device)
    before = input_ids.new_ones(input_ids.shape) if attention_mask is None else attention_mask
    passes = recorded(model, cache, before[:, :-1], position, most)
    if not passes:
        make_room(cache)
    while len(live):
        if passes:
            logits = passes(ids[:, -1:])
        else:
            logits = model(
                input_ids=ids[:, -1:],
                attention_mask=attention_mask,
                position_ids=position,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
        scores = processors.scores(logits_processor, ids, logits.float(), live, input_ids)
        if generation_config.do_sample:
            probabilities = scores.softmax(-1)
            if len(live) < rows:  # finished rows draw too, so that the others draw what they would have drawn
                if distribution is None:
                    distribution = probabilities.new_zeros(rows, probabilities.shape[1])
                distribution.zero_()
                distribution[:, pad] = 1
                distribution[live] = probabilities
                probabilities = distribution
            tokens = torch.multinomial(probabilities, 1)[live if len(live) < rows else slice(None)]
        else:
            tokens = scores.argmax(-1, keepdim=True)
        ids = torch.cat([ids, tokens], 1)
        position = position + 1
        if attention_mask is not None:
            attention_mask = torch.cat([attention_mask, attention_mask.new_ones(len(live), 1)], 1)
        finished = finished | stopping_criteria(ids, None)
        count = ids.shape[1] - input_ids.shape[1]
        if (count % every == 0 or count >= most) and (finished.all() if passes else finished.any()):
            done += zip(live[finished].tolist(), ids[finished], strict=True)
            going = (~finished).nonzero().squeeze(1)
            live, ids, position, finished = live[going], ids[going], position.index_select(-2, going), finished[going]
            attention_mask = None if attention_mask is None else attention_mask[going]
            spread(cache, going)
    longest = max(len(row) for _, row in done)
    result = input_ids.new_full((rows, longest), pad)
    for row, tokens in done:
        result[row, : len(tokens)] = tokens
    return result
