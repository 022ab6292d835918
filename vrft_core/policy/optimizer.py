"""Muon for matrices, AdamW for the rest: what makes a small vision tower learn in a minute. Used by `pretraining`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor

import torch
from torch import Tensor, nn

from vrft_core.policy.cores import Alone
from vrft_core.policy.muon import Muon

WEIGHT_DECAY = 0.05
LAST = 0.03  # the learning rate ends at this share of its peak


class Optimizer:
    """Both optimisers with one clip, one warm-up and one linear decay.

    Matrices go to Muon, except those whose name holds `embed`: rows of a table are not a linear map.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        muon_learning_rate: float,
        adam_learning_rate: float,
        steps: int,
        warmup: int = 30,
        executor: Executor | None = None,
    ) -> None:
        matrices, others = [], []
        for name, parameter in named:
            (matrices if parameter.ndim == 2 and "embed" not in name else others).append(parameter)
        self.executor = executor or Alone()
        self.parameters = matrices + others
        self.optimizers = [
            Muon(matrices, lr=muon_learning_rate, momentum=0.95, weight_decay=WEIGHT_DECAY, executor=executor),
            torch.optim.AdamW(others, lr=adam_learning_rate, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY),
        ]
        self.schedules = [
            torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: min(1, (step + 1) / warmup) * max(LAST, 1 - step / steps)
            )
            for optimizer in self.optimizers
        ]

    def tensors(self) -> dict[str, Tensor]:
        """What has gathered for each parameter, as `load` takes it."""
        return {
            f"optimizer.{number}.{parameter}.{name}": value
            for number, optimizer in enumerate(self.optimizers)
            for parameter, state in optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }

    def load(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Be as after `step` steps."""
        states: list[dict[int, dict[str, Tensor]]] = [defaultdict(dict) for _ in self.optimizers]
        for key, value in tensors.items():
            _, number, parameter, name = key.split(".")
            states[int(number)][int(parameter)][name] = value
        for optimizer, schedule, state in zip(self.optimizers, self.schedules, states, strict=True):
            schedule.last_epoch = step
            for group, rate, factor in zip(optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
                group["lr"] = rate * factor(step)
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})

    def step(self) -> None:
        """Clip, update, decay, clear the gradients."""
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        muon, adam = self.optimizers
        beside = self.executor.submit(adam.step)
        muon.step()
        beside.result()
        for schedule in self.schedules:
            schedule.step()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
