"""The cores that pre-training uses: one or two, with the same result to the last bit.

What two threads would round otherwise stays in one, and work is divided alike wherever it runs. It rests on a matrix
product's rows not depending on how many there are, which was seen on x86.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from vrft_core.machine import cpus

T = TypeVar("T")
LIMIT = 2  # more were not tried on the whole


def cores() -> int:
    """How many this process may use, `LIMIT` at most."""
    return max(1, min(LIMIT, int(cpus())))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Within the block each of PyTorch's operations uses `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Alone(Executor):
    """Where there are no workers: what is submitted is done at once, by who submits it."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def at_once(device: torch.device) -> int:
    """How many threads are to work on a model on `device`: a GPU needs one."""
    return cores() if device.type == "cpu" else 1


@contextmanager
def workers(count: int) -> Iterator[Executor]:
    """Threads for work that is divided here: within the block each of PyTorch's operations is computed by one."""
    with threads(1), ThreadPoolExecutor(count) as executor:
        yield executor
