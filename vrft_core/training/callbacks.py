"""What happens around a training step: log, guard the gradients, validate, seal a checkpoint.

Only the trainer's public callback points are used. What a step computes belongs to `sft` and `rft`.
"""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, TrainerCallback

from vrft_core import io
from vrft_core.errors import InputError
from vrft_core.progress import Progress
from vrft_core.training.checkpoints import drop_checkpoints, write_marker
from vrft_core.training.interruption import meet
from vrft_core.training.processes import processes
from vrft_core.training.record import ROLLOUTS, Clock, Record

Log = Callable[[int, dict[str, float]], object]
Validate = Callable[[PreTrainedModel], float | None]  # None: there is nothing to validate on
SHOWN = ("loss", "reward")


class Logging(TrainerCallback):
    """Every step's numbers go to the record, to `log`, and now and then to the terminal.

    The time left counts the validations that are still to come as long as those before were on average.
    """

    def __init__(self, what: str, record: Record, log: Log) -> None:
        self.what, self.record, self.log = what, record, log

    def on_train_begin(self, args, state, control, **kwargs):
        self.progress = Progress(self.what, state.max_steps, start=state.global_step)
        self.validated = self.record.validation_cost["wall_seconds"]  # before this attempt

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not logs or "loss" not in logs:
            return
        row: dict[str, float] = {
            name: value for name, value in logs.items() if isinstance(value, int | float) and math.isfinite(value)
        }
        self.record.log.append({**row, "step": state.global_step})
        if state.is_world_process_zero:
            self.log(state.global_step, row)
            spent, done = self.record.validation_cost["wall_seconds"], len(self.record.validation)
            to_come = math.ceil(state.max_steps / args.save_steps) - (state.global_step - 1) // args.save_steps
            self.progress.aside = spent - self.validated
            self.progress.ahead = to_come * spent / max(done, 1)
            self.progress.step(**{name: row[name] for name in SHOWN if name in row})


class Guard(TrainerCallback):
    """Stops before an update with a non-finite gradient, naming the examples it came from."""

    def __init__(self, batch_examples: Callable[[], list[str]]) -> None:
        self.batch_examples = batch_examples

    def on_pre_optimizer_step(self, args, state, control, model: Any = None, **kwargs):
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        finite: list[Any] = [torch.isfinite(gradient).all() for gradient in gradients]
        finite = [one.full_tensor() if hasattr(one, "full_tensor") else one for one in finite]  # sharded by FSDP
        if finite and not torch.stack(finite).all():  # the device is waited for once, not once a parameter
            raise diverged("the gradient", math.nan, state.global_step + 1, self.batch_examples())


class Exhausted(Exception):
    """Early stopping, found out before the first step: the trainer looks at `control` only after one."""


class Validation(TrainerCallback):
    """Validates where a checkpoint is due, then declares the checkpoint complete.

    After an interruption the checkpoint is only sealed, since there is no time; the resumed run validates it first, and
    raises `Exhausted` if training should have ended there. Of all checkpoints the last is kept, to resume from, and the
    best one, to choose.
    """

    def __init__(
        self,
        run: Path,
        record: Record,
        clock: Clock,
        validate: Validate,
        metric: str,
        log: Log,
        patience: int | None = None,
    ) -> None:
        self.run, self.record, self.clock, self.validate, self.log = run, record, clock, validate, log
        self.metric, self.patience = metric, patience

    def on_train_begin(self, args, state, control, model: Any = None, **kwargs):
        step = state.global_step
        if step % args.save_steps == 0 and step not in {row["step"] for row in self.record.validation}:
            self._validate(model, step)
            if step > 0:
                self._seal(state)
            if exhausted(self.record, self.patience):
                raise Exhausted

    def on_save(self, args, state, control, model: Any = None, **kwargs):
        interrupted = control.should_training_stop and not self.record.stopped
        if interrupted and state.global_step < state.max_steps:
            self.clock.stop()
            meet()
        else:
            self._validate(model, state.global_step)  # all processes meet there too
        self._seal(state)
        if exhausted(self.record, self.patience):
            control.should_training_stop = True

    def _seal(self, state) -> None:
        """All processes have met after saving their part; one writes."""
        if not state.is_world_process_zero:
            return
        if (self.run / ROLLOUTS).is_file():
            io.flush(self.run / ROLLOUTS)  # they belong to the checkpoint as its weights do
        write_marker(self.run / f"checkpoint-{state.global_step}", self.record.to_dict())
        best = {best_step(self.record)} if scored(self.record) else set()
        drop_checkpoints(self.run, keep={state.global_step} | best)

    def _validate(self, model, step: int) -> None:
        with self.clock.validating(), untouched_randomness():
            value = self.validate(model)
        self.record.validation.append({"step": step, "score": value})
        if processes().is_main_process and value is not None:
            self.log(step, {f"validation/{self.metric}": value})


def scored(record: Record) -> dict[int, float]:
    """Step → validation score of each trained checkpoint; empty where no image is there to validate on."""
    rows = [(row["step"], row["score"]) for row in record.validation if row["step"] > 0]
    return {step: score for step, score in rows if score is not None}


def best_step(record: Record) -> int:
    """The trained checkpoint with the highest validation score; the earliest of equals.

    The one at which a guard ended the training counts only where there is no other.
    """
    trained = scored(record)
    if record.stopped:
        trained = {step: score for step, score in trained.items() if step < record.stopped["step"]} or trained
    return max(trained, key=lambda step: (trained[step], -step))


def exhausted(record: Record, patience: int | None) -> bool:
    """Whether the last `patience` checkpoints all fell short of an earlier one."""
    trained = list(scored(record))
    if not patience or not trained:
        return False
    return len(trained) - 1 - trained.index(best_step(record)) >= patience


def diverged(what: str, value: float, step: int, examples: list[str]) -> InputError:
    """The error that stops a run whose numbers are non-finite."""
    named = ", ".join(dict.fromkeys(examples))
    return InputError(
        f"step {step}", f"{what} is {value} for example {named}", "lower the learning rate, or fix the example"
    )


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """Random states after the block are those before it."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)
