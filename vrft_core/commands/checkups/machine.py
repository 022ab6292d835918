"""Is this machine able to: packages, memory, disk. Estimates, as `vrft plan` makes them."""

import shutil
from importlib.util import find_spec

import torch

from vrft_core.commands.cell_examples import Subject
from vrft_core.commands.checkups.finding import FAIL, OK, WARN, Finding
from vrft_core.commands.plan import checkpoint_bytes, needed
from vrft_core.machine import memory as ram

GIB = 2**30
WEIGHT = 4  # bytes
CHECKPOINTS = 2  # the last one and the best one


def packages(subject: Subject) -> Finding:
    """Modules that the cell's stages import."""
    wanted = ["torch", "transformers", "trl", "datasets", "PIL", "numpy"]
    wanted += ["peft"] if subject.recipe.adapter else []
    wanted += ["vllm"] if subject.recipe.rft.generation.startswith("vllm") else []
    wanted += ["huggingface_hub"] if subject.recipe.policy.hub else []
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        return Finding(FAIL, f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    return Finding(OK, f"all {len(wanted)} are installed")


def memory(subject: Subject) -> Finding:
    """What training holds at once on one device, against the GPU's memory, or this machine's without one."""
    want = needed(subject.params, subject.cell)
    most = max(want["sft"], want["rft"])
    gpu = torch.cuda.is_available()
    have = (torch.cuda.get_device_properties(0).total_memory if gpu else ram()) / GIB
    what = "the GPU's" if gpu else "this machine's"
    said = f"training needs about {most:.1f} GiB, of {what} {have:.1f} GiB"
    remedy = f"see what helps: vrft plan {subject.cell.key}"
    if not gpu and subject.recipe.policy.hub:
        return Finding(WARN, f"no GPU here; {said}", f"run it where there is one (docs/slurm.md), or {remedy}")
    level = FAIL if most > have else WARN if most > 0.8 * have else OK
    return Finding(level, said, remedy)


def disk(subject: Subject) -> Finding:
    """Checkpoints of both trainings and the weights they leave, against what is free."""
    want = needed(subject.params, subject.cell)
    weights, trained = want["weights"], want["trained"]
    run = CHECKPOINTS * checkpoint_bytes(int(trained))
    most = (weights * WEIGHT + 2 * (run + trained * WEIGHT)) / GIB
    free = shutil.disk_usage(subject.layout.root).free / GIB
    said = f"weights and checkpoints take about {most:.1f} GiB, {free:.1f} are free; data not counted"
    level = FAIL if most > free else WARN if most > free / 2 else OK
    return Finding(level, said, f"free some, or choose another disk for {subject.layout.root.resolve()}")
