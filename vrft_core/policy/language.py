"""Qwen3-VL's language model learning answers about images whose features were computed before.

The library's forward takes all positions through the last layer, in a model with three layers a third of the work.
Here the positions without a label give that layer their keys and values and no more, and rows of similar length go
through together. The mathematics is the same: loss and gradients differ by rounding.
Generation and evaluation go through the model itself.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import rotate_half

from vrft_core.policy.lessons import Example
from vrft_core.policy.processor import ImageProcessor
from vrft_core.policy.tokenizer import IMAGE
from vrft_core.policy.vision import Features

LENGTH_GROUPS = 3  # of a batch

Row = tuple[int, list[int], list[int]]  # an image's number in the pool, the tokens of a question and of its answer


class AnswerLoss:
    """Cross-entropy of the answers' tokens, where coordinates count double: the rest is easy.

    `executor` works on rows of different lengths at once; the gradients are added in one order either way.
    """

    def __init__(
        self,
        model: Qwen3VLForConditionalGeneration,
        processor: ImageProcessor,
        features: Features,
        executor: Executor | None = None,
    ) -> None:
        self.model, self.processor, self.features = model, processor, features
        self.map = executor.map if executor else map
        self.parameters = list(model.parameters())
        self.prompts: dict[str, list[int]] = {}
        vocabulary = processor.tokenizer.get_vocab()
        self.is_coordinate = torch.zeros(model.config.get_text_config().vocab_size, dtype=torch.bool)
        self.is_coordinate[[i for word, i in vocabulary.items() if word.rstrip("Ġ").rstrip(",").isdigit()]] = True

    def backward(self, batch: Sequence[Example]) -> dict[str, float]:
        """Add the gradients of one batch to the parameters'. Returns the means over all tokens and over coordinates."""
        rows = [(example.row, self.prompt(example.question), self.reply(example.answer)) for example in batch]
        rows.sort(key=lambda row: len(row[1]) + len(row[2]))
        labels = torch.tensor([token for *_, reply in rows for token in reply])
        counts = torch.tensor([len(labels), max(1, self.is_coordinate[labels].sum())]).to(self.model.device)
        sums = torch.zeros(2, device=self.model.device)
        size = math.ceil(len(rows) / LENGTH_GROUPS)
        groups = [rows[begin : begin + size] for begin in range(0, len(rows), size)]
        longest_first = list(self.map(partial(self._gradients, counts), reversed(groups)))
        for losses, gradients in reversed(longest_first):
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
            sums += losses
        return dict(zip(("loss", "coordinate_loss"), (sums / counts).tolist(), strict=True))

    def _gradients(self, counts: Tensor, rows: list[Row]) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """What `_sums` gives for some rows, and the gradients of its quotients with `counts`."""
        losses = self._sums(rows)
        return losses.detach(), torch.autograd.grad((losses / counts).sum(), self.parameters, allow_unused=True)

    def _sums(self, rows: list[Row]) -> Tensor:
        """Summed cross-entropy of all labels and of the coordinates among them, [2]."""
        length = max(len(prompt) + len(reply) for _, prompt, reply in rows) - 1
        ids = torch.full((len(rows), length), self.processor.tokenizer.pad_token_id)
        wanted = torch.zeros(ids.shape, dtype=torch.bool)
        for i, (_, prompt, reply) in enumerate(rows):
            end = len(prompt) + len(reply) - 1  # the last token is a label only
            ids[i, :end] = torch.tensor((prompt + reply)[:-1])
            wanted[i, len(prompt) - 1 : end] = True
        labels = torch.tensor([token for *_, reply in rows for token in reply])
        image, deepstack = self.features.rows([row for row, *_ in rows])
        device = self.model.device
        logits = logits_at(self.model, ids.to(device), self.features.grid, image, deepstack, wanted.to(device))
        losses = F.cross_entropy(logits, labels.to(device), reduction="none")
        return torch.stack([losses.sum(), losses[self.is_coordinate[labels].to(device)].sum()])

    def prompt(self, question: str) -> list[int]:
        """Token ids of a question about one image, up to where the answer begins."""
        if question not in self.prompts:
            turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
            chat = self.processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
            chat = chat.replace(IMAGE, IMAGE * self.features.merged.shape[1])
            self.prompts[question] = self.processor.tokenizer(chat)["input_ids"]
        return self.prompts[question]

    def reply(self, answer: str) -> list[int]:
        """Token ids of an answer, up to the end of the turn."""
        return [*self.processor.tokenizer(answer)["input_ids"], self.processor.tokenizer.eos_token_id]


def logits_at(
    model: Qwen3VLForConditionalGeneration,
    ids: Tensor,
    grid: Tensor,
    image: Tensor,
    deepstack: list[Tensor],
    wanted: Tensor,
) -> Tensor:
    """Next-token logits [K, vocabulary] at the K positions where `wanted` [N, length] is true, row by row.

    `ids` [N, length], padded on the right, hold one image each, at the same place in every row and before anything
    wanted. `grid` [1, 3] is that of one image; `image` [N, tokens, hidden] its features, and `deepstack` the same for
    each deepstack layer.
    """
    text, length = model.model.language_model, ids.shape[1]
    is_image = ids[:1] == model.config.image_token_id
    start = int(is_image.int().argmax())
    end = start + image.shape[1]
    assert (ids[:, start:end] == model.config.image_token_id).all(), "the images must be at one place"
    rope_index: Any = model.model.get_rope_index  # asks for LongTensor, which no operation is annotated to return
    positions, _ = rope_index(ids[:1], mm_token_type_ids=is_image.long(), image_grid_thw=grid)

    x = text.embed_tokens(ids)
    x = torch.cat([x[:, :start], image, x[:, end:]], 1)
    cos, sin = text.rotary_emb(x, positions)
    *layers, last = text.layers
    for number, layer in enumerate(layers):
        x = layer(x, position_embeddings=(cos, sin))
        if number < len(deepstack):
            x = x + F.pad(deepstack[number], (0, 0, start, length - end))

    first = int(wanted.any(0).int().argmax())
    attention, normed = last.self_attn, last.input_layernorm(x)
    heads = (-1, attention.head_dim)
    query = attention.q_norm(attention.q_proj(normed[:, first:]).unflatten(-1, heads))
    key = attention.k_norm(attention.k_proj(normed).unflatten(-1, heads))
    value = attention.v_proj(normed).unflatten(-1, heads)
    attended = F.scaled_dot_product_attention(
        _rotated(query, cos[:, first:], sin[:, first:]).transpose(1, 2),
        _rotated(key, cos, sin).transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=torch.ones(length - first, length, dtype=torch.bool, device=ids.device).tril(first),
        scale=attention.scaling,
    )
    x = x[wanted] + attention.o_proj(attended.transpose(1, 2).flatten(2)[wanted[:, first:]])
    x = x + last.mlp(last.post_attention_layernorm(x))
    return model.lm_head(text.norm(x))


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`x` [N, length, heads, head size] turned by its positions' angles [1, length, head size]."""
    return x * cos.unsqueeze(2) + rotate_half(x) * sin.unsqueeze(2)
