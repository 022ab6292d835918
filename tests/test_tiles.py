"""TRL's output head takes fewer tokens at a time on a CPU, with the same numbers."""

import pytest
import torch
from trl.kernels import chunked_logprob
from trl.kernels.chunked_logprob import ChunkedLogProbFunction

from vrft_core.training.tiles import TOKENS, small_tiles

CPU = torch.device("cpu")


def head(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Log-probabilities, entropies, and the gradient of a sum of the first: of the hidden states."""
    hidden = hidden.clone().requires_grad_()
    log_probs, entropy, *_ = ChunkedLogProbFunction.apply(hidden, weight, None, targets, 1.0, 32768)
    log_probs.mul(torch.linspace(-1, 1, len(targets))).sum().backward()
    return log_probs.detach(), entropy.detach(), hidden.grad


def test_a_pass_and_its_gradients_take_a_few_tokens_at_a_time_with_the_same_bits(monkeypatch):
    torch.manual_seed(0)
    hidden, weight, targets = torch.randn(600, 32), torch.randn(300, 32), torch.randint(0, 300, (600,))
    tiles = []
    for name in ("_forward_tile", "_backward_tile"):
        tile = getattr(chunked_logprob, name)
        monkeypatch.setattr(
            chunked_logprob, name, lambda one, *a, _tile=tile, **k: [tiles.append(len(one)), _tile(one, *a, **k)]
        )
    expected = head(hidden, weight, targets)
    assert tiles == [600, 600]
    tiles.clear()

    with small_tiles(CPU):
        found = head(hidden, weight, targets)

    assert tiles == [TOKENS, TOKENS, 600 - 2 * TOKENS] * 2
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_behind_the_block_and_on_other_devices_tiles_are_trls():
    before = chunked_logprob.TOKEN_CHUNK_SIZE
    with pytest.raises(RuntimeError, match="inside"), small_tiles(CPU):
        assert chunked_logprob.TOKEN_CHUNK_SIZE == TOKENS < before
        raise RuntimeError("inside")
    assert before == chunked_logprob.TOKEN_CHUNK_SIZE
    with small_tiles(torch.device("cuda")):
        assert before == chunked_logprob.TOKEN_CHUNK_SIZE
