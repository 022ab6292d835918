"""Qwen3-VL's language model learning answers about images whose features were computed before.

The library's forward takes all positions through the last layer, in a model with three layers a third of the work.
Here the positions without a label give that layer their keys and values and no more, and rows of similar length go
through together. The mathematics is the same: loss and gradients differ by rounding.
Generation and evaluation go through the model itself.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb, rotate_half

from vrft_core.policy.cores import Alone
from vrft_core.policy.lessons import Example
from vrft_core.policy.processor import ImageProcessor
from vrft_core.policy.tokenizer import IMAGE
from vrft_core.policy.vision import Call, Features, plain

LENGTH_GROUPS = 3  # of a batch

Noted = tuple[nn.Parameter, Tensor, Tensor]  # a matrix, what it was multiplied with, and what that gave
Row = tuple[int, list[int], list[int]]  # an image's number in the pool, the tokens of a question and of its answer


class AnswerLoss:
    """Cross-entropy of the answers' tokens, where coordinates count double: the rest is easy.

    `executor` works on rows of different lengths at once, and last on the gradients of the layers' matrices, which
    nothing waits for; the gradients are added in one order either way.
    """

    def __init__(
        self,
        model: Qwen3VLForConditionalGeneration,
        processor: ImageProcessor,
        features: Features,
        executor: Executor | None = None,
    ) -> None:
        self.model, self.processor, self.features = model, processor, features
        self.executor = executor or Alone()
        layers = model.model.language_model.layers.modules()
        matrices = {layer.weight for layer in layers if isinstance(layer, nn.Linear)}
        self.others = [parameter for parameter in model.parameters() if parameter not in matrices]
        self.prompts: dict[str, list[int]] = {}
        vocabulary = processor.tokenizer.get_vocab()
        self.is_coordinate = torch.zeros(model.config.get_text_config().vocab_size, dtype=torch.bool)
        self.is_coordinate[[i for word, i in vocabulary.items() if word.rstrip("Ġ").rstrip(",").isdigit()]] = True

    def rows(self, batch: Sequence[Example]) -> list[Row]:
        """A batch as `backward` takes it, the shortest first."""
        rows = [(example.row, self.prompt(example.question), self.reply(example.answer)) for example in batch]
        return sorted(rows, key=lambda row: len(row[1]) + len(row[2]))

    def backward(self, rows: list[Row]) -> dict[str, float]:
        """Add the gradients of one batch to the parameters'. Returns the means over all tokens and over coordinates."""
        labels = torch.tensor([token for *_, reply in rows for token in reply])
        counts = torch.tensor([len(labels), max(1, self.is_coordinate[labels].sum())]).to(self.model.device)
        sums = torch.zeros(2, device=self.model.device)
        size = math.ceil(len(rows) / LENGTH_GROUPS)
        groups = [rows[begin : begin + size] for begin in range(0, len(rows), size)]
        longest_first = [self.executor.submit(self._gradients, counts, rows) for rows in reversed(groups)]
        for group in reversed([group.result() for group in longest_first]):
            losses, gradients = group
            for parameter, made in gradients:
                gradient = made.result() if isinstance(made, Future) else made
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
            sums += losses
        return dict(zip(("loss", "coordinate_loss"), (sums / counts).tolist(), strict=True))

    def _gradients(
        self, counts: Tensor, rows: list[Row]
    ) -> tuple[Tensor, list[tuple[nn.Parameter, Tensor | Future[Tensor]]]]:
        """What `_sums` gives for some rows, and the gradients of its quotients with `counts`, some still to come."""
        noted: list[Noted] = []

        def call(layer: Any, x: Tensor) -> Tensor:
            assert layer.bias is None
            flat = x.flatten(0, -2)
            out = F.linear(flat, layer.weight.detach())
            noted.append((layer.weight, flat.detach(), out))
            return out.view(*x.shape[:-1], -1)

        losses = self._sums(rows, call)
        wanted = [*self.others, *(out for *_, out in noted)]
        found = torch.autograd.grad((losses / counts).sum(), wanted, allow_unused=True)
        count = len(self.others)
        own = zip(self.others, found[:count], strict=True)
        later = zip(noted, found[count:], strict=True)
        return losses.detach(), [
            *((parameter, gradient) for parameter, gradient in own if gradient is not None),
            *((matrix, self.executor.submit(_of_matrix, x, gradient)) for (matrix, x, _), gradient in later),
        ]

    def _sums(self, rows: list[Row], call: Call) -> Tensor:
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
        logits = logits_at(self.model, ids.to(device), self.features.grid, image, deepstack, wanted.to(device), call)
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
    call: Call = plain,
) -> Tensor:
    """Next-token logits [K, vocabulary] at the K positions where `wanted` [N, length] is true, row by row.

    `ids` [N, length], padded on the right, hold one image each, at the same place in every row and before anything
    wanted. `grid` [1, 3] is that of one image; `image` [N, tokens, hidden] its features, and `deepstack` the same for
    each deepstack layer. `call` computes the layers' products with matrices.
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
        x = _through(layer, x, cos, sin, call)
        if number < len(deepstack):
            x = x + F.pad(deepstack[number], (0, 0, start, length - end))

    first = int(wanted.any(0).int().argmax())
    attention, normed = last.self_attn, last.input_layernorm(x)
    heads = (-1, attention.head_dim)
    query = attention.q_norm(call(attention.q_proj, normed[:, first:]).unflatten(-1, heads))
    key = attention.k_norm(call(attention.k_proj, normed).unflatten(-1, heads))
    value = call(attention.v_proj, normed).unflatten(-1, heads)
    attended = F.scaled_dot_product_attention(
        _rotated(query, cos[:, first:], sin[:, first:]).transpose(1, 2),
        _rotated(key, cos, sin).transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=torch.ones(length - first, length, dtype=torch.bool, device=ids.device).tril(first),
        scale=attention.scaling,
    )
    x = x[wanted] + call(attention.o_proj, attended.transpose(1, 2).flatten(2)[wanted[:, first:]])
    return model.lm_head(text.norm(_answered(last, x, call)))


def _through(layer: Any, x: Tensor, cos: Tensor, sin: Tensor, call: Call) -> Tensor:
    """As the library's layer, all positions [N, length, hidden] through all of it."""
    attention, normed = layer.self_attn, layer.input_layernorm(x)
    heads = (-1, attention.head_dim)
    query = attention.q_norm(call(attention.q_proj, normed).unflatten(-1, heads)).transpose(1, 2)
    key = attention.k_norm(call(attention.k_proj, normed).unflatten(-1, heads)).transpose(1, 2)
    value = call(attention.v_proj, normed).unflatten(-1, heads).transpose(1, 2)
    query, key = apply_rotary_pos_emb(query, key, cos, sin)
    attended = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=attention.scaling)
    return _answered(layer, x + call(attention.o_proj, attended.transpose(1, 2).flatten(2)), call)


def _answered(layer: Any, x: Tensor, call: Call) -> Tensor:
    """The second half of a layer."""
    mlp, normed = layer.mlp, layer.post_attention_layernorm(x)
    return x + call(mlp.down_proj, mlp.act_fn(call(mlp.gate_proj, normed)) * call(mlp.up_proj, normed))


def _of_matrix(x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of a matrix, from what it was multiplied with and the gradient of what that gave."""
    return gradient.T @ x


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`x` [N, length, heads, head size] turned by its positions' angles [1, length, head size]."""
    return x * cos.unsqueeze(2) + rotate_half(x) * sin.unsqueeze(2)
