"""How many stages this machine computes at the same time. Which ones start first is for `pipelines.step_threads`."""

from collections.abc import Sequence
from pathlib import Path

from vrft_core import machine
from vrft_core.params import Params

GPU_STAGES = ("policy", "base_eval", "sft", "rft", "sft_eval", "rft_eval")


def at_once(threads: int | None, memory_mb: int) -> int:
    """How many stages of `threads` (None: all CPUs) and `memory_mb` (2^20 bytes) each. One where there is a GPU."""
    if machine.has_gpu():
        return 1
    by_cpus = machine.cpus() // (threads or machine.cpus())
    return max(1, int(min(by_cpus, machine.memory() // (memory_mb * 2**20))))


def most_at_once(params: Params) -> int:
    """The largest number over the grid's recipes and their stages that train or evaluate."""
    recipes = {cell.recipe for cell in params.cells()}
    needs = [(params.recipes[one].threads, params.resources_of(one, name)) for one in recipes for name in GPU_STAGES]
    return max((at_once(threads, resources.memory_mb) for threads, resources in needs), default=1)


def places(lock: Path, count: int) -> Sequence[Path]:
    """The lock files of `count` places, each for one stage; the first is `lock`, for those that need the most too."""
    return [lock, *(lock.with_suffix(f".{number}{lock.suffix}") for number in range(1, count))]
