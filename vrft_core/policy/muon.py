"""Muon: momentum whose matrices are made nearly orthogonal before each step (Jordan et al. 2024).

torch.optim.Muon iterates in bfloat16, which processors without native bfloat16 work through element by element: on
such a machine it took two thirds of a pre-training step. This one iterates in float32, a few matrices of one shape at
once.
"""

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import Executor
from functools import partial

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic coefficients, as in torch.optim.Muon
ITERATIONS = 4
STACK = 3  # matrices of one shape


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, decoupled weight decay; steps are scaled to AdamW's typical size (0.2 · √max(rows, columns)).

    Takes matrices only. `executor` works on several stacks of matrices at once.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float,
        weight_decay: float,
        executor: Executor | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.map = executor.map if executor else map

    def step(self) -> None:
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            stacks = [same[i : i + STACK] for same in by_shape.values() for i in range(0, len(same), STACK)]
            stacks.sort(key=lambda same: len(same) * same[0].numel() * min(same[0].shape), reverse=True)
            list(self.map(partial(self._update, group), stacks))

    @torch.no_grad()  # which holds for one thread
    def _update(self, group: dict, parameters: list[Tensor]) -> None:
        updates = orthogonal(torch.stack([self._momentum(p, group["momentum"]) for p in parameters]))
        size = 0.2 * max(parameters[0].shape) ** 0.5
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-group["lr"] * size)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        state = self.state[parameter]
        buffer = state["momentum"] if "momentum" in state else state.setdefault("momentum", torch.zeros_like(parameter))
        assert parameter.grad is not None
        buffer.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(buffer, momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearest orthogonal matrices, roughly: [N, rows, columns] with all singular values pushed towards 1."""
    a, b, c = NEWTON_SCHULZ
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT
