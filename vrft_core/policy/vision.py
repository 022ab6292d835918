"""Qwen3-VL's vision tower on many images of one size at once, and its outputs kept in memory.

The library's forward attends image by image and convolves where a product suffices; with thousands of small images
that takes most of the time. The mathematics is the same. Images of different sizes go through the model itself.
"""

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3VLVisionModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen3_vl.modeling_qwen3_vl import (
    Qwen3VLVisionBlock,
    Qwen3VLVisionPatchMerger,
    apply_rotary_pos_emb_vision,
)
from transformers.vision_utils import get_vision_interpolation_indices_and_weights, get_vision_position_ids

from vrft_core.policy.cores import threads


def patches(images: np.ndarray, processor: Qwen2VLImageProcessorPil, device: torch.device | str = "cpu") -> Tensor:
    """uint8 [N, H, W, 3] → float [N, patches, values], ordered as by the processor. H, W: multiples of two patches.

    A patch's values are [channel, row, column]. The processor gives each channel twice, as two frames of a video.
    """
    size, merge = processor.patch_size, processor.merge_size
    mean, std = (
        torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (processor.image_mean, processor.image_std)
    )
    x = (torch.from_numpy(images.copy()).to(device).permute(0, 3, 1, 2) * processor.rescale_factor - mean) / std
    count, channels, height, width = x.shape
    rows, columns = height // (size * merge), width // (size * merge)
    x = x.view(count, channels, rows, merge, size, columns, merge, size).permute(0, 2, 5, 3, 6, 1, 4, 7)
    return x.reshape(count, rows * columns * merge**2, -1)


def encode(
    visual: Qwen3VLVisionModel, images: np.ndarray, processor: Qwen2VLImageProcessorPil
) -> tuple[Tensor, list[Tensor]]:
    """Merged features [N, tokens, hidden] and the same for each deepstack layer."""
    device = visual.patch_embed.proj.weight.device
    x = patches(images, processor, device)
    count, length, _ = x.shape
    side = processor.patch_size
    grid = torch.tensor([[1, images.shape[1] // side, images.shape[2] // side]], device=device)
    index, weight = get_vision_interpolation_indices_and_weights(
        grid,
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=visual.spatial_merge_size,
    )
    convolution = visual.patch_embed.proj
    x = F.linear(x, convolution.weight.sum(2).flatten(1), convolution.bias)  # the sum: both frames show the image
    x = x + (visual.pos_embed(index) * weight.unsqueeze(-1)).sum(1)
    cos, sin = visual.rotary_pos_emb(x, get_vision_position_ids(grid, visual.spatial_merge_size))
    deepstack = []
    for number, block in enumerate(cast(Iterable[Qwen3VLVisionBlock], visual.blocks)):
        attention = block.attn
        qkv = attention.qkv(normed(block.norm1, x)).view(count, length, 3, attention.num_heads, -1)
        query, key, value = qkv.unbind(2)
        query, key = apply_rotary_pos_emb_vision(query, key, cos, sin)
        attended = F.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), scale=attention.scaling
        )
        x = x + attention.proj(attended.transpose(1, 2).flatten(2))
        x = x + block.mlp(normed(block.norm2, x))
        if number in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(number)]
            deepstack.append(_merged(cast(Qwen3VLVisionPatchMerger, merger), x))
    return _merged(visual.merger, x), deepstack


def _merged(merger: Qwen3VLVisionPatchMerger, x: Tensor) -> Tensor:
    """Four patches of [N, patches, hidden] in one token each, [N, tokens, size of the language model]."""
    shape = (len(x), -1, merger.hidden_size)
    x = normed(merger.norm, x.view(shape)) if merger.use_postshuffle_norm else normed(merger.norm, x).view(shape)
    return merger.linear_fc2(merger.act_fn(merger.linear_fc1(x)))


def normed(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """`layer(x)`, with gradients that do not depend on the number of threads."""
    return cast(Tensor, _LayerNorm.apply(x, layer.weight, layer.bias, layer.eps))


class _LayerNorm(torch.autograd.Function):
    """PyTorch's own, but one thread sums up the gradients of weight and bias.

    On a CPU two would give a sum each, and the sum of these is rounded otherwise. Of the tower's operations it is the
    only one of this kind: the others give the same bits with one thread and with two.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        out, mean, scale = torch.native_layer_norm(x, weight.shape, weight, bias, eps)
        ctx.save_for_backward(x, weight, bias, mean, scale)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, bias, mean, scale = ctx.saved_tensors
        arguments = (gradients[0].contiguous(), x, weight.shape, mean, scale, weight, bias)
        backward = torch.ops.aten.native_layer_norm_backward
        if x.is_cuda:
            return *backward(*arguments, [True, True, True]), None
        below = backward(*arguments, [True, False, False])[0]
        with threads(1):
            _, *own = backward(*arguments, [False, True, True])
        return below, *own, None


class Features:
    """A frozen tower's output for every image of a set."""

    @torch.no_grad()
    def __init__(
        self, visual: Qwen3VLVisionModel, images: np.ndarray, processor: Qwen2VLImageProcessorPil, batch_size: int = 128
    ) -> None:
        side = processor.patch_size
        device = visual.patch_embed.proj.weight.device
        self.grid = torch.tensor([[1, images.shape[1] // side, images.shape[2] // side]], device=device)  # in patches
        batches = [encode(visual, images[i : i + batch_size], processor) for i in range(0, len(images), batch_size)]
        self.merged = torch.cat([merged for merged, _ in batches])
        self.deepstack = [torch.cat(layer) for layer in zip(*(deep for _, deep in batches), strict=True)]

    def rows(self, indices: list[int]) -> tuple[Tensor, list[Tensor]]:
        """Some images' features, as `encode` returns them."""
        index = torch.tensor(indices, device=self.merged.device)
        return self.merged[index], [layer[index] for layer in self.deepstack]
