"""The machine and its packages: what the other parts' numbers were made on."""

import platform
from dataclasses import asdict

import torch

from gpu_kit.clock import GPU, UNIT
from gpu_kit.settings import Rows, Settings
from vrft_core import provenance


def run(settings: Settings, rows: Rows) -> None:
    facts = {
        "python": platform.python_version(), "processor": provenance.processor(), "packages": provenance.versions(),
        "torch": torch.__version__, "seconds_are": UNIT, "settings": asdict(settings), "gpu": None,
    }  # fmt: skip
    if GPU:
        free, total = torch.cuda.mem_get_info()
        facts |= {
            "gpu": torch.cuda.get_device_name(), "gpu_gib": total / 2**30, "gpu_free_gib": free / 2**30,
            "cuda": torch.version.cuda, "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
        }  # fmt: skip
    rows.add(part="environment", **facts)
