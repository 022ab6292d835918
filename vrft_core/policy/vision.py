"""Qwen3-VL's vision tower on many images of one size at once, and its outputs kept in memory.

The library's forward attends image by image and convolves where a product suffices; with thousands of small images
that takes most of the time. The mathematics is the same. Images of different sizes go through the model itself.
How the tower is trained on several cores belongs to `parts`.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import NamedTuple, cast

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

from vrft_core.progress import Progress

Call = Callable[[nn.Linear | nn.LayerNorm, Tensor], Tensor]  # what a layer gives


def patches(images: np.ndarray, processor: Qwen2VLImageProcessorPil, device: torch.device | str = "cpu") -> Tensor:
    """uint8 [N, H, W, 3] → float [N, patches, values], ordered as by the processor. H, W: multiples of two patches.

    A patch's values are [channel, row, column]. The processor gives each channel twice, as two frames of a video.
    """
    size, merge = processor.patch_size, processor.merge_size
    mean, std = (
        torch.tensor(values, device=device).view(3, 1, 1) for values in (processor.image_mean, processor.image_std)
    )
    x = torch.from_numpy(images.copy()).to(device)
    count, height, width, channels = x.shape
    rows, columns = height // (size * merge), width // (size * merge)
    x = x.view(count, rows, merge, size, columns, merge, size, channels).permute(0, 1, 4, 2, 5, 7, 3, 6)
    x = x.reshape(count, -1, channels, size, size) * processor.rescale_factor
    return x.sub_(mean).div_(std).flatten(2)


class Places(NamedTuple):
    """What the images' size alone decides: the patches' neighbours in the grid of positions, and their angles."""

    index: Tensor
    weight: Tensor
    cos: Tensor
    sin: Tensor


class Stem(NamedTuple):
    """What the parameters alone decide: the patches' projection, its bias, and what is added for their positions."""

    weight: Tensor
    bias: Tensor
    position: Tensor


@torch.no_grad()
def places(visual: Qwen3VLVisionModel, height: int, width: int) -> Places:
    """Of images of `height` and `width` px."""
    weights, side = visual.patch_embed.proj.weight, visual.patch_embed.patch_size
    grid = torch.tensor([[1, height // side, width // side]], device=weights.device)
    index, weight = get_vision_interpolation_indices_and_weights(
        grid,
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=visual.spatial_merge_size,
    )
    cos, sin = visual.rotary_pos_emb(weights, get_vision_position_ids(grid, visual.spatial_merge_size))
    return Places(index, weight.unsqueeze(-1), cos, sin)


def stem(visual: Qwen3VLVisionModel, at: Places) -> Stem:
    convolution = visual.patch_embed.proj
    # the sum: both frames show the image
    weight, position = convolution.weight.sum(2).flatten(1), (visual.pos_embed(at.index) * at.weight).sum(1)
    return Stem(weight, cast(Tensor, convolution.bias), position)


def encode(
    visual: Qwen3VLVisionModel, images: np.ndarray, processor: Qwen2VLImageProcessorPil
) -> tuple[Tensor, list[Tensor]]:
    """Merged features [N, tokens, hidden] and the same for each deepstack layer."""
    at = places(visual, *images.shape[1:3])
    first = stem(visual, at)
    x = F.linear(patches(images, processor, first.weight.device), first.weight, first.bias) + first.position
    x, between = through_blocks(visual, x, at)
    return merged(visual.merger, x), [merged(merger, x) for merger, x in between]


def plain(layer: nn.Linear | nn.LayerNorm, x: Tensor) -> Tensor:
    return layer(x)


def through_blocks(
    visual: Qwen3VLVisionModel, x: Tensor, at: Places, call: Call = plain
) -> tuple[Tensor, list[tuple[Qwen3VLVisionPatchMerger, Tensor]]]:
    """Patches [N, patches, hidden] after all blocks, and for each deepstack layer its merger and what that merges."""
    count, length, _ = x.shape
    between = []
    for number, block in enumerate(cast(Iterable[Qwen3VLVisionBlock], visual.blocks)):
        attention, mlp = block.attn, block.mlp
        qkv = call(attention.qkv, call(block.norm1, x)).view(count, length, 3, attention.num_heads, -1)
        query, key, value = qkv.unbind(2)
        query, key = apply_rotary_pos_emb_vision(query, key, at.cos, at.sin)
        attended = F.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), scale=attention.scaling
        )
        x = x + call(attention.proj, attended.transpose(1, 2).flatten(2))
        x = x + call(mlp.linear_fc2, mlp.act_fn(call(mlp.linear_fc1, call(block.norm2, x))))
        if number in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(number)]
            between.append((cast(Qwen3VLVisionPatchMerger, merger), x))
    return x, between


def merged(merger: Qwen3VLVisionPatchMerger, x: Tensor, call: Call = plain) -> Tensor:
    """Four patches of [N, patches, hidden] in one token each, [N, tokens, size of the language model]."""
    shape = (len(x), -1, merger.hidden_size)
    x = call(merger.norm, x.view(shape)) if merger.use_postshuffle_norm else call(merger.norm, x).view(shape)
    return call(merger.linear_fc2, merger.act_fn(call(merger.linear_fc1, x)))


class Features:
    """A frozen tower's output for every image of a set. `executor` works on several batches at once."""

    @torch.no_grad()
    def __init__(
        self,
        visual: Qwen3VLVisionModel,
        images: np.ndarray,
        processor: Qwen2VLImageProcessorPil,
        executor: Executor | None = None,
        batch_size: int = 32,
    ) -> None:
        side, last = processor.patch_size, visual.merger.linear_fc2
        device = last.weight.device
        self.grid = torch.tensor([[1, images.shape[1] // side, images.shape[2] // side]], device=device)  # in patches
        shape = (len(images), int(self.grid.prod()) // processor.merge_size**2, last.out_features)
        self.merged = torch.empty(shape, device=device)
        self.deepstack = [torch.empty(shape, device=device) for _ in visual.deepstack_visual_indexes]

        def encoded(begin: int) -> None:
            batch = slice(begin, begin + batch_size)
            with torch.no_grad():  # which holds for one thread
                merged, deepstack = encode(visual, images[batch], processor)
            for kept, new in zip((self.merged, *self.deepstack), (merged, *deepstack), strict=True):
                kept[batch] = new

        every = range(0, len(images), batch_size)
        progress = Progress("policy: vision, what it sees of each image", len(every))
        for _ in executor.map(encoded, every) if executor else map(encoded, every):
            progress.step()

    def rows(self, indices: list[int]) -> tuple[Tensor, list[Tensor]]:
        """Some images' features, as `encode` returns them."""
        index = torch.tensor(indices, device=self.merged.device)
        return self.merged[index], [layer[index] for layer in self.deepstack]
