"""What this machine has, found without PyTorch: CPUs, memory, and whether there is a GPU."""

import contextlib
import os
from pathlib import Path

DEVICES = Path("/dev")
CARDS = ("nvidia[0-9]*", "kfd", "dxg")  # NVIDIA's, AMD's, and those of the Windows around a Linux
HIDDEN = ("", "-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES that leave none


def has_gpu() -> bool:
    """Whether a stage may compute on a GPU here: there is one, and CUDA_VISIBLE_DEVICES does not hide all."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in HIDDEN:
        return False
    return any(any(DEVICES.glob(card)) for card in CARDS)


def cpus() -> float:
    """How many this process may use: its affinity, and in a container the quota of its control group."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return own if quota == "max" else min(own, round(int(quota) / int(period), 2))
    return own


def memory() -> int:
    """Bytes that this process may use: of the machine, or of its container's control group."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            whole = min(whole, int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    return whole
