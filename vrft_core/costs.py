"""What a stage cost: a line an attempt in `runs/`, beside the stage's run folder. Measuring it, and adding it up.

Costs differ from run to run, so that no out of DVC's holds them, but the training record. What an attempt of a process
that was killed cost is not known. Of several processes of a training the first one measures its own.
"""

import contextlib
import ctypes
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from vrft_core import machine
from vrft_core.cell import Cell, Layout

DONE, FAILED, INTERRUPTED = "done", "failed", "interrupted"
SUMS = ("seconds", "cpu_seconds", "gpu_seconds", "gpu_joules")
PEAKS = ("peak_memory_mb", "gpu_peak_memory_mb")


def cost_file(layout: Layout, cell: Cell, stage: str) -> Path:
    """`cell`: of the stage's own scope."""
    return layout.runs(cell, stage).with_suffix(".cost.jsonl")


class Meter:
    """What this process and its ended children spend from here on; and before it, where `cpu` and `earlier` say so:
    CPU seconds that they had spent when the work began, and the seconds that it has taken so far."""

    def __init__(self, cpu: float | None = None, earlier: float = 0.0) -> None:
        self._began, self._cpu = time.monotonic() - earlier, cpu_seconds() if cpu is None else cpu
        self._energy = card_energy()

    def read(self) -> dict[str, float]:
        """{"seconds", "cpu_seconds", "cpus" (that may be used), "peak_memory_mb" (resident, of a process)}; where
        PyTorch has used GPUs also {"gpus", "gpu_seconds" (held, not busy), "gpu_peak_memory_mb"}; and where each card
        counts it {"gpu_joules"}, of the whole card, not of this process alone."""
        seconds = time.monotonic() - self._began
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        found = {
            "seconds": round(seconds, 2),
            "cpu_seconds": round(cpu_seconds() - self._cpu, 2),
            "cpus": machine.cpus(),
            "peak_memory_mb": round(peak / (2**20 if sys.platform == "darwin" else 2**10)),
        }
        cards, memory = _cards_used()
        if cards:
            found |= {"gpus": len(cards), "gpu_seconds": round(seconds * len(cards), 2), "gpu_peak_memory_mb": memory}
            now = card_energy()
            if all(card in now and card in self._energy for card in cards):
                found["gpu_joules"] = round(sum(now[card] - self._energy[card] for card in cards), 1)
        return found


@contextlib.contextmanager
def costs_noted(path: Path, cpu: float | None = None, earlier: float = 0.0) -> Iterator[None]:
    """Add a line to `path` that says what the block cost, however it ends. Where nothing can be written, none is.

    `cpu`, `earlier`: as in `Meter`.
    """
    meter, ended = Meter(cpu, earlier), DONE
    try:
        yield
    except BaseException as error:
        ended = FAILED if isinstance(error, Exception) else INTERRUPTED
        raise
    finally:
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"ended": ended, "at": round(time.time()), **meter.read()}) + "\n")


def attempts(path: Path) -> list[dict]:
    """The lines of `path`, oldest first; one that cannot be read is left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return [row for row in found if isinstance(row, dict) and isinstance(row.get("seconds"), int | float)]


def latest(path: Path) -> dict | None:
    """What the stage's last result cost, failed attempts on the way to it included: see `added`."""
    rows = attempts(path)
    ends = [number for number, row in enumerate(rows[:-1], 1) if row.get("ended") == DONE]
    return added(rows[ends[-1] if ends else 0 :])


def so_far(path: Path, now: dict) -> dict:
    """What a stage that is about to end has cost: `now`, and the failed attempts before it."""
    rows = attempts(path)
    ends = [number for number, row in enumerate(rows, 1) if row.get("ended") == DONE]
    return added([*rows[ends[-1] if ends else 0 :], now]) or {}


def added(rows: Sequence[dict]) -> dict | None:
    """Several costs as one: sums of times and energy, the highest peaks; {"attempts", "cpu_efficiency" (CPU time over
    time × usable CPUs)} too. None for no rows."""
    if not rows:
        return None
    total = {name: round(sum(row.get(name, 0) for row in rows), 2) for name in SUMS if any(name in row for row in rows)}
    total |= {name: max(row.get(name, 0) for row in rows) for name in PEAKS if any(name in row for row in rows)}
    room = sum(row["room"] if "room" in row else row["seconds"] * row.get("cpus", 1) for row in rows)
    total |= {"room": round(room, 2), "attempts": sum(row.get("attempts", 1) for row in rows)}
    return total | {"cpu_efficiency": round(total.get("cpu_seconds", 0) / room, 3) if room else 0.0}


def cpu_seconds() -> float:
    """Of this process since it began, and of its children that have ended."""
    return sum(os.times()[:4])


def _cards_used() -> tuple[list[str], int]:
    """(UUIDs of the GPUs that PyTorch works on, most megabytes that this process had on its own)."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return [], 0
    count = min(int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", "1"))), torch.cuda.device_count())
    names = [str(getattr(torch.cuda.get_device_properties(one), "uuid", one)) for one in range(count)]
    return names, round(torch.cuda.max_memory_allocated() / 2**20)


def card_energy() -> dict[str, float]:
    """Joules that each GPU has used since its driver began, by UUID; those that do not count are left out.

    Source: NVML's API reference, nvmlDeviceGetTotalEnergyConsumption (millijoules; Volta and newer).
    """
    if sys.platform != "linux":
        return {}
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        if nvml.nvmlInit_v2():
            return {}
    except (OSError, AttributeError):
        return {}
    found: dict[str, float] = {}
    count, card, used = ctypes.c_uint(), ctypes.c_void_p(), ctypes.c_ulonglong()
    name = ctypes.create_string_buffer(96)
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for index in range(count.value):
        failed = nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(card)) or nvml.nvmlDeviceGetUUID(card, name, 96)
        if not failed and not nvml.nvmlDeviceGetTotalEnergyConsumption(card, ctypes.byref(used)):
            found[name.value.decode().removeprefix("GPU-")] = used.value / 1000
    nvml.nvmlShutdown()
    return found
