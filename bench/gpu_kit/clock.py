"""Time and memory as a benchmark may count them: on a GPU, wall seconds with the device synchronised."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

GPU = torch.cuda.is_available()
UNIT = "wall" if GPU else "CPU"  # what the seconds are


def now() -> float:
    """Seconds: of the wall's clock once the GPU has done what it was given; without a GPU, of this process's CPU."""
    if not GPU:
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def begin_peak() -> None:
    """Forget earlier peaks of the GPU's memory."""
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib() -> float | None:
    """The most that tensors took on the GPU at once since `begin_peak`, GiB; None without a GPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if GPU else None


class Phases:
    """Seconds by phase, counted while `on`."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.on = False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = now() if self.on else 0.0
        yield
        if self.on:
            self.seconds[name] += now() - began
