"""One more token for every row, recorded once as a CUDA graph and then played back.

A pass for one token is thousands of small operations, and a GPU does each faster than Python starts the next: with
2 B weights it stands still most of the time. Played back, they start as one. Where keys and values go, which tokens
count and where they stand are tensors that the recorded pass itself moves on.
"""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin, DynamicLayer

LEAST = 16  # tokens for which a recording pays: it takes as long as four passes
BLOCK = 64  # places are rounded up to a multiple: attention with a mask wants that
DEVICES = ("cuda",)


def recorded(model: PreTrainedModel, cache: Cache, mask: Tensor, positions: Tensor, count: int) -> "Recorded | None":
    """The next `count` passes of rows whose first tokens lie in `cache`; None where they cannot be recorded.

    The cache is used up. mask [rows, tokens in the cache]: 0 is padding. positions: of the next token, [rows, 1] or
    [3, rows, 1].
    """
    layers: list[Any] = cache.layers
    grows = all(isinstance(layer, DynamicLayer) and not layer.is_sliding for layer in layers)
    attention = model.config.get_text_config()._attn_implementation
    if mask.device.type not in DEVICES or count < LEAST or not grows or attention != "sdpa":
        return None
    return Recorded(model, layers, mask, positions, count)


class Recorded:
    """Called with the next token of each row, [rows, 1]: logits [rows, vocabulary], valid until the next call."""

    def __init__(self, model: Any, layers: list[Any], mask: Tensor, positions: Tensor, count: int) -> None:
        rows, length = mask.shape
        room = -(-(length + count) // BLOCK) * BLOCK
        self._model = model
        self._first = positions.clone()
        self._length = length
        self._next = torch.tensor([length], device=mask.device)
        self._tokens = torch.zeros(rows, 1, dtype=torch.long, device=mask.device)
        self._positions = positions.clone()
        self._mask = torch.zeros(rows, 1, 1, room, dtype=torch.bool, device=mask.device)
        self._mask[:, 0, 0, :length] = mask.bool()
        self._cache = Cache([_Places(layer, room, self._next) for layer in layers])
        self._logits = torch.empty(0)
        self._graph = _record(self) if mask.device.type == "cuda" else None

    def __call__(self, tokens: Tensor) -> Tensor:
        self._tokens.copy_(tokens)
        if self._graph is None:
            self.run()
        else:
            self._graph.replay()
        return self._logits

    def run(self) -> None:
        self._mask.index_fill_(3, self._next, True)
        with _without_kept_casts(self._tokens.device.type):
            self._logits = self._model(
                input_ids=self._tokens,
                attention_mask=self._mask,
                position_ids=self._positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
        self._next.add_(1)
        self._positions.add_(1)

    def rewind(self) -> None:
        self._next.fill_(self._length)
        self._positions.copy_(self._first)
        self._mask[..., self._length :] = False


def _record(passes: Recorded) -> torch.cuda.CUDAGraph | None:
    """None where the model does something that cannot be recorded: then its passes are run one by one."""
    before = torch.cuda.current_stream()
    beside = torch.cuda.Stream()
    beside.wait_stream(before)
    with torch.cuda.stream(beside):  # libraries set themselves up in a first pass
        passes.run()
        passes.run()
    before.wait_stream(beside)
    passes.rewind()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            passes.run()
    except RuntimeError as error:
        print(f"tokens are computed one by one: {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
        passes.rewind()
        return None
    return graph


def _without_kept_casts(device: str) -> AbstractContextManager:
    """Autocast, where it is on, that casts weights in every pass: kept casts would be those of old weights."""
    if not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, dtype=torch.get_autocast_dtype(device), cache_enabled=False)


class _Places(CacheLayerMixin):
    """Keys and values [rows, heads, room, size]; the next ones are written to the place `following` [1].

    Takes over what a layer keeps, and leaves nothing in it.
    """

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, layer: Any, room: int, following: Tensor) -> None:
        super().__init__()
        length, self._following = layer.get_seq_length(), following
        self.keys, self.values = (_with_room(one, length, room) for one in (layer.keys, layer.values))
        layer.reset()
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        raise NotImplementedError("made from a layer that holds something")

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        self.keys.index_copy_(2, self._following, key_states)
        self.values.index_copy_(2, self._following, value_states)
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.keys.shape[-2], 0

    def get_seq_length(self) -> int:
        return self.keys.shape[-2]

    def get_max_length(self) -> int:
        return self.keys.shape[-2]


def _with_room(kept: Tensor, length: int, room: int) -> Tensor:
    places = kept.new_zeros(*kept.shape[:2], room, kept.shape[-1])
    places[:, :, :length] = kept[:, :, :length]
    return places
