"""A step of the vision tower's training on several cores: a batch goes through it in parts, with one result.

An image's values do not depend on the images beside it. The parameters' gradients are sums over all images, which
are rounded otherwise in another order: each is computed of the whole batch by one thread. PyTorch's own threads divide
each small operation instead, and wait for each other thousands of times a step.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3VLVisionModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vrft_core.policy.vision import Places, merged, patches, places, stem, through_blocks

# a layer; what its parameters' gradients are made of; the layer's output, whose gradient is to come
Done = tuple[nn.Linear | nn.LayerNorm, tuple[Tensor, ...], Tensor]


class _Part(NamedTuple):
    patches: Tensor  # [n, patches, values]
    first: Tensor  # after the stem, [n, patches, hidden]
    done: list[Done]
    features: Tensor  # [n, tokens, size of the language model]


class Tower:
    """The tower's merged features of a batch, and back from their gradient to those of its parameters.

    `parts` are worked on at once by `executor`, whose threads must compute alone (`cores.threads(1)`). The deepstack
    layers' mergers are left out: nothing is learned about them.
    """

    def __init__(
        self, visual: Qwen3VLVisionModel, processor: Qwen2VLImageProcessorPil, executor: Executor, parts: int
    ) -> None:
        self.visual, self.processor, self.executor, self.parts = visual, processor, executor, parts
        self.places: Places | None = None

    def forward(self, images: np.ndarray) -> Tensor:
        """uint8 [N, H, W, 3] → features [N, tokens, size of the language model], whose gradient `backward` takes."""
        self.places = self.places or places(self.visual, *images.shape[1:3])
        self.stem = stem(self.visual, self.places)
        self.done = list(self.executor.map(self._part, np.array_split(images, min(self.parts, len(images)))))
        return torch.cat([part.features.detach() for part in self.done]).requires_grad_()

    def backward(self, gradient: Tensor) -> None:
        """Set the gradients of the tower's parameters. `gradient` is that of what `forward` gave last."""
        gradients = gradient.split([len(part.features) for part in self.done])
        list(self.executor.map(lambda part, own: part.features.backward(own), self.done, gradients))
        works: list[Callable[[], None]] = [self._stem]
        works += [partial(_layer, same) for same in zip(*(part.done for part in self.done), strict=True)]
        list(self.executor.map(lambda work: work(), works))
        del self.done, self.stem

    def _part(self, images: np.ndarray) -> _Part:
        assert self.places
        done: list[Done] = []
        call = partial(_called, done)
        weight, bias, position = (one.detach() for one in self.stem)
        x = patches(images, self.processor, weight.device)
        first = F.linear(x, weight, bias).add_(position).requires_grad_()
        through, _ = through_blocks(self.visual, first, self.places, call)
        return _Part(x, first, done, merged(self.visual.merger, through, call))

    def _stem(self) -> None:
        gradient = torch.cat([_of(part.first) for part in self.done])
        rows = gradient.flatten(0, 1)
        torch.autograd.backward(
            [self.stem.weight, self.stem.bias, self.stem.position],
            [rows.T @ torch.cat([part.patches for part in self.done]).flatten(0, 1), rows.sum(0), gradient.sum(0)],
        )


def _called(done: list[Done], layer: nn.Linear | nn.LayerNorm, x: Tensor) -> Tensor:
    """`layer(x)`, noted in `done`: only `x` gets a gradient from here."""
    assert layer.bias is not None
    weight, bias, made = layer.weight.detach(), layer.bias.detach(), (x.detach(),)
    if isinstance(layer, nn.Linear):
        out = F.linear(x, weight, bias)
    else:
        out, *scale = torch.native_layer_norm(x, weight.shape, weight, bias, layer.eps)
        made += tuple(one.detach() for one in scale)
    out.retain_grad()
    done.append((layer, made, out))
    return out


def _of(out: Tensor) -> Tensor:
    assert out.grad is not None
    return out.grad


@torch.no_grad()
def _layer(parts: Sequence[Done]) -> None:
    """Set the gradients of one layer's parameters, from what each part noted."""
    layer, weight = parts[0][0], parts[0][0].weight
    gradient = torch.cat([_of(out) for *_, out in parts])
    made = [torch.cat(same) for same in zip(*(noted for _, noted, _ in parts), strict=True)]
    if isinstance(layer, nn.Linear):
        rows = gradient.flatten(0, -2)
        weight.grad, layer.bias.grad = rows.T @ made[0].flatten(0, -2), rows.sum(0)
    else:
        backward = torch.ops.aten.native_layer_norm_backward
        of = backward(gradient, made[0], weight.shape, *made[1:], weight, layer.bias, [False, True, True])
        _, weight.grad, layer.bias.grad = of
