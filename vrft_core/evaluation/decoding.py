"""Completions of questions that share images: vision tower and image tokens run once an image.

In a prompt the image comes before the question, and all questions begin alike: what layers keep up to there is
computed once an image and expanded. A new token's keys and values are written behind the others, and nothing is
copied; recurrent states (`policy.states`) are replaced. Which questions to ask, and what the answers say, belongs to
`predict`.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from transformers import Cache, DynamicCache

from vrft_core.policy.adapters import plain_adapters
from vrft_core.policy.recording import recorded
from vrft_core.policy.states import ROOM, RoomyLayer, StateLayer, joined, new_cache

# patches, or tokens of questions, read at once: with more, a CPU falls out of its caches; with less, a GPU idles
CHUNK = {"cpu": 2048, "cuda": 16384}
# tokens of each answer between two looks at which answers have ended: a GPU stands still while it is looked at
LOOK = {"cpu": 1, "cuda": 8}
CROWD = 0.75  # share of a batch's rows that have not ended, from which on the others are carried along


class Tokens(NamedTuple):
    """Token ids without the end token.

    Beside each, in nats: the logarithm of its probability under the model, and the entropy of the distribution that
    it came from; and the probability that any of the tokens that are watched would have had in its place.
    """

    tokens: list[int]
    logprobs: list[float]
    entropies: list[float]
    watched: list[float]


class Asked(NamedTuple):
    """Images and questions as a processor reads them, on the CPU: all that needs no model."""

    inputs: Any  # of the images, with the prompt up to the image
    same: list[int]  # tokens with which all questions begin
    tails: list[list[list[int]]]  # by image and question: the tokens behind them


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
    watched: Sequence[int] = (),
    asked: Asked | None = None,
) -> list[list[Tokens]]:
    """Completions of each image's questions, in order; greedy, or sampled at temperature 1 from `generator`.

    Nothing of the model's own generation settings is used but its end tokens: no penalty, no cut of the distribution.
    `watched` holds ids of tokens. `batch_size` questions are answered at a time. The images are all held in memory
    at once. `asked` is what `read` makes of them, where that was done before.
    """
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    asked = asked or read(processor, pictures, questions)
    with plain_adapters(core):
        return _complete(core, processor.tokenizer, asked, batch_size, max_new_tokens, generator, watched)


def _complete(
    core: Any,
    tokenizer: Any,
    asked: Asked,
    batch_size: int,
    max_new_tokens: int,
    generator: torch.Generator | None,
    watched: Sequence[int],
) -> list[list[Tokens]]:
    tails = asked.tails
    cache, mask, position = _read_pictures(core, asked)
    rows = [(picture, number) for picture, texts in enumerate(tails) for number in range(len(texts))]
    rows.sort(key=lambda row: len(tails[row[0]][row[1]]))  # questions of similar length together: little padding
    found: list[list[Any]] = [[None] * len(texts) for texts in tails]
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        which = torch.tensor([picture for picture, _ in batch], device=mask.device)
        texts = [tails[picture][number] for picture, number in batch]
        answers = _answer(
            core, tokenizer, _selected(cache, which, max(map(len, texts)) + ROOM), mask[which],
            position[which], texts, max_new_tokens, generator, watched,
        )  # fmt: skip
        for (picture, number), completion in zip(batch, answers, strict=True):
            found[picture][number] = completion
    return found


def read(processor: Any, pictures: Sequence[Image.Image], questions: Sequence[Sequence[str]]) -> Asked:
    """The processor's part of `complete`, which may be done ahead of it in another thread."""
    head, tails = _prompts(processor, questions)
    same = _common([tail for texts in tails for tail in texts])
    inputs = processor(
        images=[[picture] for picture in pictures], text=[head] * len(pictures), padding=True, padding_side="left",
        return_tensors="pt",
    )  # fmt: skip
    return Asked(inputs, same, [[tail[len(same) :] for tail in texts] for texts in tails])


def _stops(core: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer."""
    ends = core.generation_config.eos_token_id
    return sorted({tokenizer.pad_token_id, *(ends if isinstance(ends, list) else [ends])})


def _prompts(processor: Any, questions: Sequence[Sequence[str]]) -> tuple[str, list[list[list[int]]]]:
    """The prompt up to its image, the same for all, and the token ids of what follows each.

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


def _common(tails: list[list[int]]) -> list[int]:
    """The tokens with which all begin; each keeps one of its own at least."""
    first, last = min(tails), max(tails)
    most = min(map(len, tails)) - 1
    return first[: next((i for i in range(most) if first[i] != last[i]), most)]


def _read_pictures(core: Any, asked: Asked) -> tuple[Cache, Tensor, Tensor]:
    """What layers keep of each image's prompt and the tokens that all questions begin with.

    Also the mask [N, length] of those that count, and the next position [N].
    """
    patches = asked.inputs["image_grid_thw"].prod(dim=1).tolist()
    inputs = {name: value.to(core.device) for name, value in asked.inputs.items()}
    behind = torch.tensor(asked.same, dtype=torch.long, device=core.device).expand(len(patches), -1)
    ids = torch.cat([inputs["input_ids"], behind], dim=1)
    mask = torch.cat([inputs["attention_mask"], torch.ones_like(behind)], dim=1)
    kinds = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(behind)], dim=1)
    pixels, grid = inputs["pixel_values"], inputs["image_grid_thw"]
    positions, _ = core.model.get_rope_index(ids, kinds, image_grid_thw=grid, attention_mask=mask)
    ends = [0, *itertools.accumulate(patches)]
    read = []
    for part in _parts(patches, core.device):
        cache = new_cache(core.config)
        core(
            input_ids=ids[part], attention_mask=mask[part], mm_token_type_ids=kinds[part],
            pixel_values=pixels[ends[part.start] : ends[part.stop]], image_grid_thw=grid[part],
            position_ids=positions[:, part], past_key_values=cache, use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        read.append(cache.layers)
    layers = [_joined(same_layer) for same_layer in zip(*read, strict=True)]
    return Cache(layers), mask, positions.amax(dim=(0, 2)) + 1


def _joined(layers: Sequence[Any]) -> Any:
    """The rows of several layers, one after the other."""
    if isinstance(layers[0], StateLayer):
        return joined(layers)
    keys, values = (torch.cat([getattr(layer, name) for layer in layers]) for name in ("keys", "values"))
    [layer] = DynamicCache([(keys, values)]).layers
    return layer


def _parts(sizes: Sequence[int], device: torch.device, alike: Sequence[int] | None = None) -> list[slice]:
    """Neighbours that are computed at once: as many as are no larger than CHUNK together, one at least.

    Where `alike` is given, only those for which it says the same.
    """
    parts, start, most = [], 0, CHUNK.get(device.type, CHUNK["cpu"])
    for stop in range(1, len(sizes) + 1):
        last = stop == len(sizes) or (alike is not None and alike[stop] != alike[start])
        if last or sum(sizes[start : stop + 1]) > most:
            parts.append(slice(start, stop))
            start = stop
    return parts


def _selected(cache: Cache, rows: Tensor, room: int) -> Cache:
    """A new cache whose rows are copies of these rows, with room for the given number of tokens."""
    layers: list[Any] = cache.layers
    return Cache([
        layer.selected(rows)
        if isinstance(layer, StateLayer)
        else RoomyLayer(layer.keys[rows], layer.values[rows], room)
        for layer in layers
    ])  # fmt: skip


def _answer(
    core: Any,
    tokenizer: Any,
    cache: Cache,
    mask: Tensor,
    position: Tensor,
    texts: list[list[int]],
    max_new_tokens: int,
    generator: torch.Generator | None,
    watched: Sequence[int],
) -> list[Tokens]:
    """Read each row's question after its image, then answer token by token.

    Rows that have ended are dropped once there are enough of them: dropping copies all that remains.
    """
    device, longest = mask.device, max(map(len, texts))
    pad, stops = tokenizer.pad_token_id, torch.tensor(_stops(core, tokenizer), device=device)
    ids = torch.tensor([[pad] * (longest - len(text)) + text for text in texts], device=device)
    lengths = torch.tensor([len(text) for text in texts], device=device)
    real = (torch.arange(longest, device=device) >= (longest - lengths)[:, None]).long()
    places = position[:, None] + (real.cumsum(1) - 1).clamp(min=0)
    mask, position = torch.cat([mask, real], dim=1), position + lengths
    looked_at = torch.tensor(list(watched), dtype=torch.long, device=device)
    completions = [Tokens([], [], [], []) for _ in texts]
    rows: list[int | None] = list(range(len(texts)))  # which answer a row is; None once it has ended
    every, unseen = LOOK.get(device.type, LOOK["cpu"]), []
    logits = _read_questions(core, cache, ids, places, mask, list(map(len, texts)))
    passes = recorded(core, cache, mask, position[:, None].expand(3, -1, -1), max_new_tokens - 1)
    for count in range(1, max_new_tokens + 1):
        logprobs = logits.float().log_softmax(-1)
        if generator is None:
            token = logprobs.argmax(-1, keepdim=True)
        else:
            token = torch.multinomial(logprobs.exp(), 1, generator=generator)
        chosen, entropy = logprobs.gather(1, token)[:, 0], -(logprobs.exp() * logprobs).sum(-1)
        seen = logprobs[:, looked_at].exp().sum(-1)
        # exact: whole numbers and 32 bits fit into 64
        unseen.append(torch.stack([torch.isin(token, stops)[:, 0].double(), token[:, 0].double(), chosen.double(),
                                   entropy.double(), seen.double()]))  # fmt: skip
        look = count % every == 0 or count == max_new_tokens
        if look:
            _take(torch.stack(unseen).tolist(), rows, completions)
            unseen = []
        going = [place for place, row in enumerate(rows) if row is not None]
        if count == max_new_tokens or not going:
            break
        if passes:
            logits = passes(token)
            continue
        if look and len(going) <= CROWD * len(rows):
            keep = torch.tensor(going, device=device)
            cache.batch_select_indices(keep)
            token, mask, position = token[keep], mask[keep], position[keep]
            rows = [rows[place] for place in going]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        logits = _next(core, cache, token, position[:, None], mask)
        position = position + 1
    return completions


def _take(tokens: list[list[list[float]]], rows: list[int | None], completions: list[Tokens]) -> None:
    """Add each row's new tokens to its answer, up to where it ends. tokens: [tokens][ended, token, …][rows]."""
    for ended, numbers, *others in tokens:
        for place, (end, number, *values) in enumerate(zip(ended, numbers, *others, strict=True)):
            if end:
                rows[place] = None
            elif (answer := rows[place]) is not None:
                for kept, value in zip(completions[answer], (int(number), *values), strict=True):
                    kept.append(value)


def _read_questions(core: Any, cache: Cache, ids: Tensor, places: Tensor, mask: Tensor, lengths: list[int]) -> Tensor:
    """Logits [rows, vocabulary] after each row's question; `cache` then holds it. ids, places: [rows, length].

    The questions stand at the end of their rows, behind padding. A recurrent state would remember padding between a
    image and its question: with one, only questions of equal `lengths` are read at once, without any.
    """
    start, longest = cache.get_seq_length(), ids.shape[1]
    layers: list[Any] = cache.layers
    stateful = any(isinstance(layer, StateLayer) for layer in layers)
    logits, read = [], []
    for part in _parts([longest] * len(ids), ids.device, lengths if stateful else None):
        skipped = longest - lengths[part.start] if stateful else 0
        some = Cache([layer.part(part) for layer in layers])
        for layer in some.layers:
            if isinstance(layer, RoomyLayer):
                layer.skip(skipped)
        logits.append(_next(core, some, ids[part, skipped:], places[part, skipped:], mask[part]))
        read.append(some.layers)
    for i, (layer, *parts) in enumerate(zip(layers, *read, strict=True)):
        if isinstance(layer, StateLayer):
            cache.layers[i] = joined(parts)
        else:
            layer.show(start + longest)
    return torch.cat(logits)


def _next(core: Any, cache: Cache, ids: Tensor, places: Tensor, mask: Tensor) -> Tensor:
    """Logits [rows, vocabulary] of the token after `ids`, whose keys and values go into the cache."""
    output = core(
        input_ids=ids, position_ids=places.expand(3, -1, -1), attention_mask=mask, past_key_values=cache,
        use_cache=True, logits_to_keep=1,
    )  # fmt: skip
    return output.logits[:, -1]
