"""Values inside a gated MLP that are quicker computed again than kept for the backward pass.

Of `down(act(gate(x)) * up(x))` autograd keeps `gate(x)`, `act(…)`, `up(x)` and the product: more than half of what a
layer keeps. The second and the fourth follow from the others by an operation or two, to the last bit. Whole layers are
computed again by the library's own checkpointing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

PARTS = ("gate_proj", "up_proj", "down_proj", "act_fn")


@dataclass(eq=False)
class Active:
    """`act(gate)`; what the product made of it on the way is handed on, once."""

    act: Callable[[Tensor], Tensor]
    gate: Tensor
    ready: Tensor | None = None

    def value(self) -> Tensor:
        found, self.ready = self.ready, None
        return self.act(self.gate) if found is None else found


@dataclass(eq=False)
class Product:
    """`act(gate) * up`."""

    active: Active
    up: Tensor

    def value(self) -> Tensor:
        self.active.ready = self.active.value()
        return self.active.ready * self.up


class Gated:
    """Watches an MLP's parts during a pass; `known`: how to compute again what lies at an address."""

    def __init__(self, module: Any, known: dict[int, Active | Product]) -> None:
        self.act, self.known = module.act_fn.forward, known
        self.seen: list[Tensor] = []  # alive while their addresses are known
        self.active: Active | None = None
        self.up: Tensor | None = None
        self.handles = [
            module.act_fn.register_forward_hook(self._activated),
            module.up_proj.register_forward_hook(self._raised),
            module.down_proj.register_forward_pre_hook(self._multiplied),
            module.register_forward_hook(self._done),
        ]

    def _activated(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        self.active = Active(self.act, args[0].detach())
        self._know(output, self.active)

    def _raised(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        self.up = output.detach()

    def _multiplied(self, module: nn.Module, args: tuple) -> None:
        if self.active is not None and self.up is not None:
            self._know(args[0], Product(self.active, self.up))

    def _know(self, value: Tensor, again: Active | Product) -> None:
        if value.is_contiguous():
            self.seen.append(value.detach())
            self.known[value.data_ptr()] = again

    def _done(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        for value in self.seen:
            self.known.pop(value.data_ptr())
        self.seen.clear()
        self.active = self.up = None


def gated(model: nn.Module) -> list[nn.Module]:
    """MLPs that compute `down(act(gate(x)) * up(x))`, as one of each kind shows for a random input."""
    found: list[nn.Module] = []
    kinds: dict[tuple, bool] = {}
    for module in model.modules():
        parts = [getattr(module, name, None) for name in PARTS]
        if not all(isinstance(part, nn.Module) for part in parts):
            continue
        kind = (type(module), type(parts[-1]))
        if kind not in kinds:
            kinds[kind] = _is_gated(module)
        if kinds[kind]:
            found.append(module)
    return found


@torch.no_grad()
def _is_gated(module: Any) -> bool:
    weight = next(module.gate_proj.parameters())
    width = getattr(module.gate_proj, "in_features", None)
    if width is None:
        return False
    x = torch.linspace(-1, 1, 3 * width, device=weight.device).view(1, 3, width).to(weight.dtype)
    try:
        expected = module.down_proj(module.act_fn(module.gate_proj(x)) * module.up_proj(x))
        return torch.equal(module(x), expected)
    except (RuntimeError, TypeError):
        return False


@contextmanager
def computed_again(mlps: list[nn.Module]) -> Iterator[None]:
    """Forward passes inside keep less of these MLPs (`gated`) for their backward passes."""
    known: dict[int, Active | Product] = {}

    def keep(value: Tensor) -> Any:
        again = known.get(value.data_ptr())
        return value if again is None or not value.is_contiguous() else (again, value.shape)

    def give(kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        again, shape = kept
        return again.value().view(shape)

    watched = [Gated(module, known) for module in mlps]
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, give):
            yield
    finally:
        for one in watched:
            for handle in one.handles:
                handle.remove()
