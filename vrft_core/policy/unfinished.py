"""A phase of the pre-training that was interrupted: what it needs to go on as if it had not been, in one file."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vrft_core import io
from vrft_core.policy.optimizer import Optimizer

EVERY = 10.0  # seconds between two saves: what a power cut loses


class Unfinished:
    """`named`: what is trained, read and written in place; `generator`: where random numbers are drawn in each step.

    `steps` are all that the phase has.
    """

    def __init__(
        self,
        path: Path,
        named: Mapping[str, Tensor],
        optimizer: Optimizer,
        steps: int,
        generator: torch.Generator | None = None,
    ) -> None:
        self.path, self.named, self.optimizer, self.steps = path, named, optimizer, steps
        self.generator = generator
        self.saved = time.monotonic()

    def resume(self) -> int:
        """Take up what is kept; the steps that were done, 0 where it is damaged, of another model, or not there."""
        kept = load(self.path)
        trained = {name: kept.get(f"trained.{name}") for name in self.named}
        if any(value is None or value.shape != self.named[name].shape for name, value in trained.items()):
            if kept:
                print(f"{self.path}: is of another model; it is made again", file=sys.stderr, flush=True)
            return 0
        with torch.no_grad():
            for name, value in self.named.items():
                value.copy_(kept.pop(f"trained.{name}"))
        step = int(kept.pop("step"))
        if self.generator:
            self.generator.set_state(kept.pop("generator"))
        self.optimizer.load(kept, step)
        return step

    def done(self, step: int) -> None:
        """Save, if the last time is long ago and steps are left."""
        if step == self.steps or time.monotonic() - self.saved < EVERY:
            return
        tensors = {f"trained.{name}": value for name, value in self.named.items()} | self.optimizer.tensors()
        tensors |= {"step": torch.tensor(step)} | ({"generator": self.generator.get_state()} if self.generator else {})
        save(self.path, tensors)
        self.saved = time.monotonic()


def load(path: Path) -> dict[str, Tensor]:
    """What an earlier attempt kept; nothing where it is damaged: then it is made again, and a line says so."""
    if not path.is_file():
        return {}
    try:
        return load_file(path)
    except SafetensorError as error:
        print(f"{path}: is damaged ({error}); it is made again", file=sys.stderr, flush=True)
        return {}


def save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".partial")
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary)
    io.replace(temporary, path)
