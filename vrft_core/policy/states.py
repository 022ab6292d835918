"""A cache whose rows can be spread and selected with their gradient, whatever the layers of a model keep.

Keys and values, of all tokens or of a window of the last ones, or the recurrent and convolution states of Gated
DeltaNet (Qwen3.5). A state is as small for a long prompt as for a short one.
"""

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionLayer

ROOM = 64  # tokens for which there is room ahead


class RoomyLayer(DynamicLayer):
    """Keys and values [rows, heads, tokens, size] with room for more tokens: the library's layer copies all at each.

    Written to in place: for where nothing is learned.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, keys: Tensor, values: Tensor, room: int = ROOM) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self._hold(keys, values, room)

    def _hold(self, keys: Tensor, values: Tensor, room: int) -> None:
        rows, heads, length, _ = keys.shape
        self._places = tuple(one.new_empty(rows, heads, length + room, one.shape[-1]) for one in (keys, values))
        for places, old in zip(self._places, (keys, values), strict=True):
            places[:, :, :length] = old
        self.show(length)

    def show(self, length: int) -> None:
        self.keys, self.values = (places[:, :, :length] for places in self._places)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        start, count = self.get_seq_length(), key_states.shape[-2]
        if start + count > self._places[0].shape[-2]:
            self._hold(self.keys, self.values, count + ROOM)
        for places, new in zip(self._places, (key_states, value_states), strict=True):
            places[:, :, start : start + count] = new
        self.show(start + count)
        return self.keys, self.values

    def skip(self, count: int) -> None:
        """Leave so many places to tokens that do not count: the mask hides them, but not what is no number."""
        start = self.get_seq_length()
        for places in self._places:
            places[:, :, start : start + count] = 0
        self.show(start + count)

    def part(self, rows: slice) -> "RoomyLayer":
        """The same places, of these rows alone: what is written there is written here."""
        one = copy.copy(self)
        one._places = tuple(places[rows] for places in self._places)
        one.show(self.get_seq_length())
        return one

    def reset(self) -> None:
        super().reset()
        del self._places

    def batch_select_indices(self, indices: Tensor) -> None:
        length = self.get_seq_length()
        self._places = tuple(places[indices] for places in self._places)
        self.show(length)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        self.batch_select_indices(beam_idx)


class StateLayer(LinearAttentionLayer):
    """States [rows, …] that are replaced, never written to: the library's own layer copies into them in place, so that
    nothing could be learned through what they held before.

    A state has an own place in memory: kernels for single tokens do write into it, where nothing is learned.
    """

    def lazy_initialization(
        self,
        conv_states: Tensor | None = None,
        recurrent_states: Tensor | None = None,
        state_idx: int = 0,
        conv_kernel_size: int | None = None,
    ) -> None:
        if conv_states is not None:
            self.dtype, self.device = conv_states.dtype, conv_states.device
            self.conv_kernel_size[state_idx] = conv_kernel_size or conv_states.shape[-1]
            self.is_conv_states_initialized[state_idx] = True
        if recurrent_states is not None:
            self.is_recurrent_states_initialized[state_idx] = True

    def update_conv_state(
        self, conv_states: Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **kwargs
    ) -> Tensor:
        """The new inputs [rows, channels, tokens] behind those that a kernel still sees; keeps the last of them."""
        if not self.is_conv_states_initialized[state_idx]:
            self.lazy_initialization(conv_states, state_idx=state_idx, conv_kernel_size=conv_kernel_size)
        size = cast(int, self.conv_kernel_size[state_idx])
        if (before := self.conv_states[state_idx]) is None:
            seen = nn.functional.pad(conv_states, (max(size - conv_states.shape[-1], 0), 0))
        else:
            seen = torch.cat([before, conv_states], dim=-1)
        self.has_previous_state[state_idx] = True
        self.conv_states[state_idx] = seen[..., -size:].clone()
        return seen

    def update_recurrent_state(self, recurrent_states: Tensor, state_idx: int = 0, **kwargs) -> Tensor:
        if not self.is_recurrent_states_initialized[state_idx]:
            self.lazy_initialization(recurrent_states=recurrent_states, state_idx=state_idx)
        self.recurrent_states[state_idx] = recurrent_states
        return recurrent_states

    def selected(self, rows: Tensor) -> "StateLayer":
        """A new layer with copies of these rows."""
        layer = copy.copy(self)
        layer.conv_states = dict(self.conv_states)
        layer.recurrent_states = dict(self.recurrent_states)
        spread(layer, rows)
        return layer

    def part(self, rows: slice) -> "StateLayer":
        return self.selected(torch.arange(rows.start, rows.stop, device=self.device))

    def batch_select_indices(self, indices: Tensor) -> None:
        spread(self, indices)


def joined(layers: Sequence[StateLayer]) -> StateLayer:
    """A layer with the rows of several, one after the other."""
    layer = layers[0].selected(torch.arange(0, device=layers[0].device))
    for states in ("conv_states", "recurrent_states"):
        for i, state in getattr(layer, states).items():
            if state is not None:
                getattr(layer, states)[i] = torch.cat([getattr(one, states)[i] for one in layers])
    return layer


def new_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache for a model of this configuration. Raises ValueError where a layer keeps anything else."""
    cache = DynamicCache(config=config.get_text_config())
    for i, layer in enumerate(cache.layers):
        if type(layer) is LinearAttentionLayer:
            cache.layers[i] = StateLayer(layer.number_of_states)
        elif type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
            raise ValueError(f"a layer of {config.model_type} keeps a {type(layer).__name__}")
    return cache


def spread(cache: Cache | StateLayer, rows: Tensor) -> None:
    """Select rows of all that is kept, repeats included."""
    cache.reorder_cache(cast(torch.LongTensor, rows))


def selected(cache: Cache, rows: Tensor) -> Cache:
    """A new cache with these rows, repeats included, and their gradient; the one given stays as it is."""
    found = copy.copy(cache)
    found.layers = [one.selected(rows) if isinstance(one, StateLayer) else copy.copy(one) for one in cache.layers]
    for layer in found.layers:
        if not isinstance(layer, StateLayer):
            layer.reorder_cache(cast(torch.LongTensor, rows))
    return found


def make_room(cache: Cache, room: int = ROOM) -> None:
    """From here on no token copies the keys and values of those before it; windows and states stay as they are."""
    for i, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[i] = RoomyLayer(cast(Tensor, layer.keys), cast(Tensor, layer.values), room)
