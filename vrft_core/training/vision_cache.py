"""What is computed once for each image: its patches, and the features that a frozen vision tower gives it.

Which images a step needs belongs to `grpo`; what is done with the features to `shared_prompt`.
"""

import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import torch
from PIL.Image import Image
from torch import Tensor, nn
from transformers import PreTrainedModel

from vrft_core.errors import InputError

PATCH_BYTES = 2**28  # about 36 images of 640 × 480
FEATURE_BYTES = 2**30  # about 380 such images in Qwen2-VL 7B, bfloat16
T = TypeVar("T")
# What a vision tower returns, of another class for each family; see FIELDS.
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
    """An image as the model takes it: what the image processor makes of it alone, under the names that it gives.

    `key` stands for the image's pixels and the processor's settings: equal keys, equal patches.
    """

    key: str
    inputs: dict[str, Any]

    @property
    def pixel_values(self) -> Tensor:
        """[patches, values] in families that have a `grid`."""
        return self.inputs["pixel_values"]

    @property
    def grid(self) -> Tensor:
        """[3]: patches in time, height and width. For Qwen-VL and GLM-V, whose towers take patches of any number."""
        return self.inputs["image_grid_thw"][0]


class PatchCache:
    """Runs an image processor once for each image.

    Images are told apart by a digest of their pixels. An example's id would not do: two questions may show one image,
    and an image that is augmented keeps its example's id.
    """

    def __init__(self, image_processor: Callable, limit: int = PATCH_BYTES) -> None:
        self.image_processor = image_processor
        self.memory: Memory[Patches] = Memory(limit, lambda patches: _tensors(list(patches.inputs.values())))

    def patches(self, image: Image, settings: str | None = None) -> Patches:
        """`settings`: what `settings` says now, for a caller with several images."""
        key = self._key(image, settings or self.settings())
        if (found := self.memory.get(key)) is None:
            found = Patches(key, dict(self.image_processor(images=[[image]], return_tensors="pt")))
            self.memory.put(key, found)
        return found

    def settings(self) -> str:
        """The image processor's, as text."""
        return self.image_processor.to_json_string()

    def _key(self, image: Image, settings: str) -> str:
        digest = hashlib.blake2b(image.tobytes(), digest_size=16)
        digest.update(f"{image.mode} {image.size} {settings}".encode())
        return digest.hexdigest()


class FeatureCache:
    """Runs a vision tower once for each image, as long as nothing in the tower is trained. For every family (`encode`).

    One memory a model, emptied when the tower's weights are written to.
    """

    def __init__(self, limit: int = FEATURE_BYTES) -> None:
        self.limit = limit
        self.memories: WeakKeyDictionary[PreTrainedModel, tuple[int, Memory[Output]]] = WeakKeyDictionary()
        self._towers: WeakKeyDictionary[PreTrainedModel, list[nn.Parameter]] = WeakKeyDictionary()

    @torch.no_grad()
    def features(self, model: PreTrainedModel, images: list[Patches]) -> Output:
        """What `model` takes as mm_encoder_outputs["image"], for these images in order, repeats included.

        `model` is the bare model with a tower that is `frozen`. Raises InputError as `encode`.
        """
        memory = self._memory(model)
        found = {patches.key: memory.get(patches.key) for patches in images}
        for patches in images:
            if found[patches.key] is None:
                found[patches.key] = features = encode(model, patches)
                memory.put(patches.key, features)
        return join([found[patches.key] for patches in images])

    def frozen(self, model: PreTrainedModel) -> bool:
        """As the function `frozen`; a model's parameters are looked for once."""
        return not any(parameter.requires_grad for parameter in self._tower(model))

    def _tower(self, model: PreTrainedModel) -> list[nn.Parameter]:
        if (found := self._towers.get(model)) is None:
            found = self._towers[model] = tower(model)
        return found

    def _memory(self, model: PreTrainedModel) -> Memory[Output]:
        written = sum(parameter._version for parameter in self._tower(model))
        if model not in self.memories or self.memories[model][0] != written:
            self.memories[model] = written, Memory(self.limit, lambda features: _tensors(list(features.values())))
        return self.memories[model][1]


def tower(model: PreTrainedModel) -> list[nn.Parameter]:
    """The parameters that features may depend on: all that belong neither to the decoder nor to the output head."""
    read = [model.get_decoder(), model.get_output_embeddings()]
    inside = {id(parameter) for module in read if module is not None for parameter in module.parameters()}
    return [parameter for parameter in model.parameters() if id(parameter) not in inside]


def frozen(model: PreTrainedModel) -> bool:
    """Whether no parameter of the vision tower is trained, adapters included."""
    return not any(parameter.requires_grad for parameter in tower(model))


def encode(model: PreTrainedModel, patches: Patches) -> Output:
    """The tower's output for one image, without intermediate values; it owns its memory.

    Raises InputError where it holds a field that is not known: it could belong to all images together.
    """
    features: Any = model.model.get_image_features
    taken = inspect.signature(features).parameters
    inputs = {name: _on(value, model.device) for name, value in patches.inputs.items() if name in taken}
    output = features(**inputs, return_dict=True)
    given = {name: value for name, value in output.items() if name not in PASSING}
    where, remedy = f"vision tower of {model.config.model_type}", "rft.reuse.vision_features: false"
    if unknown := sorted(set(given) - set(FIELDS)):
        raise InputError(where, f"{', '.join(unknown)} beside its features, which is not known here", remedy)
    if "pooler_output" not in given:
        raise InputError(where, "its features are not in pooler_output", remedy)
    return type(output)(**{name: _owned(value) for name, value in given.items()})


def join(outputs: list[Output]) -> Output:
    """Outputs of single images as one of them all."""
    first = outputs[0]
    return type(first)(**{name: FIELDS[name]([output[name] for output in outputs]) for name in first})


def _of_images(values: list[Any]) -> Any:
    """[images, …], or a list with one entry an image."""
    return torch.cat(values) if isinstance(values[0], Tensor) else [one for value in values for one in value]


def _of_layers(values: list[Any]) -> list[Any]:
    """[layers][images]; for single images some families leave out the list of one."""
    return [_of_images([value[i] for value in values]) for i in range(len(values[0]))]


def _of_model(values: list[Any]) -> Any:
    """What is the same beside every image."""
    return values[0]


# Fields of a tower's output that a model reads, and how those of several images become one. Ovis2 embeds the tokens
# around an image by its tower, too.
FIELDS: dict[str, Callable[[list[Any]], Any]] = {
    "pooler_output": _of_images,
    "deepstack_features": _of_layers,
    "visual_indicator_features": _of_model,
}
# Fields that no model reads: `image_hidden_states` and the like in its own output, which are not asked for here.
PASSING = ("last_hidden_state", "hidden_states", "attentions")


def _on(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _owned(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else [_owned(one) for one in value]


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for one in value for tensor in _tensors(one)] if isinstance(value, (list, tuple)) else []
