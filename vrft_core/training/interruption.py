"""SIGTERM, which a queue sends before it takes the machine away, and Ctrl-C: write a last checkpoint, then end.

The checkpoint is sealed by `callbacks.Validation`; a run that resumes from it gives the same result as one that was
never interrupted.
"""

import contextlib
import os
import signal
import sys
from typing import Any

import torch
import torch.distributed
from transformers import TrainerCallback

NAMES: dict[int, str] = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}


class Interruption(TrainerCallback):
    """Notes the signal, ends the training after the current step and then the process, as the signal would have.

    A generation is used to its end, for `updates` steps: a run cannot resume in the middle of one. If time runs
    out before, the checkpoint before it is the last. A second Ctrl-C ends it at once.
    """

    def __init__(self, updates: int = 1) -> None:
        self.updates = updates
        self.noted = 0  # the signal's number
        self._before: dict[int, Any] = {}

    def on_train_begin(self, args, state, control, **kwargs):
        self._before = {signal.SIGTERM: signal.signal(signal.SIGTERM, self._note)}
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in the background of a shell
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._note)

    def on_step_end(self, args, state, control, **kwargs):
        if _any_process(bool(self.noted), args.device):
            self.noted = self.noted or signal.SIGTERM
        if self.noted and state.global_step < state.max_steps and state.global_step % self.updates == 0:
            said = f"{NAMES[self.noted]}: writing a checkpoint at step {state.global_step}, then stopping"
            print(said, file=sys.stderr, flush=True)
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args, state, control, **kwargs):
        self.end()

    def end(self) -> None:
        """Once the training is over: the signal means again what it did before, and what came meanwhile is done."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.noted:
            os.kill(os.getpid(), self.noted)
            raise SystemExit(128 + self.noted)  # an earlier handler of the signal keeps the process alive

    def _note(self, number: int, frame: object) -> None:
        if number == self.noted == signal.SIGINT:
            raise KeyboardInterrupt
        self.noted = number
        if number == signal.SIGINT:  # not by `print`, which it may have come in the middle of
            with contextlib.suppress(OSError):  # nobody reads it
                os.write(2, b"Ctrl-C: this step is ended, for a checkpoint; once more stops it at once\n")


def meet() -> None:
    """Wait for the other processes of this training, if there are any."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def _any_process(noted: bool, device: torch.device) -> bool:
    """All processes of a training stop at the same step, wherever the signal arrived first."""
    if not torch.distributed.is_initialized():
        return noted
    flag = torch.tensor(float(noted), device=device)
    torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
    return bool(flag)
