"""What an image costs once: its patches, and the features a frozen vision tower gives it.

Which images a step needs belongs to `grpo`; what is done with the features to `shared_prompt`.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import torch
from PIL.Image import Image
from torch import Tensor
from transformers import PreTrainedModel

PATCH_BYTES = 2**28  # about 36 images of 640 × 480
FEATURE_BYTES = 2**30  # about 380 such images in Qwen2-VL 7B, bfloat16
T = TypeVar("T")
# What a vision tower returns, of another class for each family: `pooler_output`, a tensor an image, and for Qwen3-VL
# `deepstack_features`, [layers][images].
Output: TypeAlias = Any


class Memory(Generic[T]):
    """Values by key; forgets what was used longest ago once their tensors exceed `limit` bytes together."""

    def __init__(self, limit: int, tensors: Callable[[T], Iterable[Tensor]]) -> None:
        self.limit, self.tensors, self.bytes = limit, tensors, 0
        self.values: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str) -> T | None:
        if key in self.values:
            self.values.move_to_end(key)
        return self.values.get(key)

    def put(self, key: str, value: T) -> None:
        self.values[key] = value
        self.bytes += self._size(value)
        while self.bytes > self.limit:
            _, forgotten = self.values.popitem(last=False)
            self.bytes -= self._size(forgotten)

    def _size(self, value: T) -> int:
        return sum(tensor.nbytes for tensor in self.tensors(value))


@dataclass(frozen=True, eq=False)
class Patches:
    """An image as the model takes it: pixel_values [patches, values]; grid [3], patches in time, height and width.

    `key` stands for the image's pixels and the processor's settings: equal keys, equal patches.
    """

    key: str
    pixel_values: Tensor
    grid: Tensor


class PatchCache:
    """Runs an image processor once for each image.

    Images are told apart by a digest of their pixels. An example's id would not do: two questions may show one image,
    and an image that is augmented keeps its example's id.
    """

    def __init__(self, image_processor: Callable, limit: int = PATCH_BYTES) -> None:
        self.image_processor = image_processor
        self.memory: Memory[Patches] = Memory(limit, lambda patches: [patches.pixel_values])

    def patches(self, image: Image) -> Patches:
        key = self._key(image)
        if (found := self.memory.get(key)) is None:
            inputs = self.image_processor(images=[image], return_tensors="pt")
            found = Patches(key, inputs["pixel_values"], inputs["image_grid_thw"][0])
            self.memory.put(key, found)
        return found

    def _key(self, image: Image) -> str:
        digest = hashlib.blake2b(image.tobytes(), digest_size=16)
        digest.update(f"{image.mode} {image.size} {self.image_processor.to_json_string()}".encode())
        return digest.hexdigest()


class FeatureCache:
    """Runs a vision tower once for each image, as long as nothing in the tower is trained.

    One memory a model, emptied when the tower's weights are written to.
    """

    def __init__(self, limit: int = FEATURE_BYTES) -> None:
        self.limit = limit
        self.memories: WeakKeyDictionary[PreTrainedModel, tuple[int, Memory[Output]]] = WeakKeyDictionary()

    @torch.no_grad()
    def features(self, model: PreTrainedModel, images: list[Patches]) -> Output:
        """What `model` takes as mm_encoder_outputs["image"]: one entry an image, in order, repeats included.

        `model` is the bare model with a tower that is `frozen`.
        """
        memory = self._memory(model)
        found = {patches.key: memory.get(patches.key) for patches in images}
        missing = list({patches.key: patches for patches in images if found[patches.key] is None}.values())
        if missing:
            for patches, features in zip(missing, encode(model, missing), strict=True):
                found[patches.key] = features
                memory.put(patches.key, features)
        return join([found[patches.key] for patches in images])

    def _memory(self, model: PreTrainedModel) -> Memory[Output]:
        written = sum(parameter._version for parameter in model.model.visual.parameters())
        if model not in self.memories or self.memories[model][0] != written:
            self.memories[model] = written, Memory(self.limit, _tensors)
        return self.memories[model][1]


def frozen(model: PreTrainedModel) -> bool:
    """Whether no parameter of the vision tower is trained, adapters included."""
    return not any(parameter.requires_grad for parameter in model.model.visual.parameters())


def encode(model: PreTrainedModel, images: list[Patches]) -> list[Output]:
    """The tower's output image by image; each owns its memory."""
    device = model.device
    output = model.model.get_image_features(
        torch.cat([patches.pixel_values for patches in images]).to(device),
        torch.stack([patches.grid for patches in images]).to(device),
        return_dict=True,
    )
    deep = getattr(output, "deepstack_features", None)  # Qwen3-VL: [layers][images]
    return [
        type(output)(
            pooler_output=[pooled.clone()],
            **({"deepstack_features": [[layer[i].clone()] for layer in deep]} if deep else {}),
        )
        for i, pooled in enumerate(output.pooler_output)
    ]


def join(outputs: list[Output]) -> Output:
    """Outputs of several images as one; refers to the same tensors."""
    pooled = [tensor for output in outputs for tensor in output.pooler_output]
    if (first := getattr(outputs[0], "deepstack_features", None)) is None:
        return type(outputs[0])(pooler_output=pooled)
    deep = [[tensor for output in outputs for tensor in output.deepstack_features[i]] for i in range(len(first))]
    return type(outputs[0])(pooler_output=pooled, deepstack_features=deep)


def _tensors(output: Output) -> list[Tensor]:
    deep = getattr(output, "deepstack_features", None) or []
    return [*output.pooler_output, *(tensor for layer in deep for tensor in layer)]
