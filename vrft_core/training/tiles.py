"""TRL's output head on a CPU, where it makes several matrices [tokens, vocabulary] at a time: of fewer tokens.

The head works through the tokens of a batch in tiles, and on a GPU writes each tile's results over its logits. On a CPU
up to seven matrices of a tile's size are held at once, at the moment when all that a step keeps is in memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from trl.kernels import chunked_logprob

TOKENS = 256  # of a tile; TRL's are of 4096


@contextmanager
def small_tiles(device: torch.device) -> Iterator[None]:
    """Inside, on a CPU, passes and their gradients take `TOKENS` at a time: with a frozen head, the same bits."""
    before = chunked_logprob.TOKEN_CHUNK_SIZE
    chunked_logprob.TOKEN_CHUNK_SIZE = min(TOKENS, before) if device.type == "cpu" else before
    try:
        yield
    finally:
        chunked_logprob.TOKEN_CHUNK_SIZE = before
