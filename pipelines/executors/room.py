"""How many stages this machine computes at the same time. Which ones start first is for `pipelines.step_threads`.

Each takes as many parts of the machine as it needs, whichever run and recipe it belongs to. A part is a CPU with its
share of the memory; with a GPU, the whole machine is one.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from vrft_core import machine
from vrft_core.params import Params

GPU_STAGES = ("policy", "base_eval", "sft", "rft", "sft_eval", "rft_eval")


def parts(lock: Path) -> Sequence[Path]:
    """The lock file of each part of this machine; the first is `lock`."""
    return [lock, *(lock.with_suffix(f".{number}{lock.suffix}") for number in range(1, _all()))]


def needed(threads: int | None, memory_mb: int) -> int:
    """Parts for a stage of `threads` (None: all) and `memory_mb` (2^20 bytes)."""
    by_memory = math.ceil(_all() * memory_mb * 2**20 / machine.memory())
    return min(_all(), max(threads or _all(), by_memory))


def most_at_once(params: Params) -> int:
    """The largest number over the grid's recipes and their stages that train or evaluate."""
    recipes = {cell.recipe for cell in params.cells()}
    needs = [(params.recipes[one].threads, params.resources_of(one, name)) for one in recipes for name in GPU_STAGES]
    return _all() // min((needed(threads, resources.memory_mb) for threads, resources in needs), default=_all())


def _all() -> int:
    return 1 if machine.has_gpu() else max(1, int(machine.cpus()))
