"""What RFT looks like while it runs: reward and its parts, KL, groups with equal rewards, the best and worst answer.

Lines for a person who watches the stage on a terminal or in Dagster's log. The record and MLflow get every step from
`callbacks`.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import TrainerCallback

TIMES = 5  # in one training, and once after the first step
TAIL = 2**18  # bytes of the rollouts that are looked at: the last step's
LETTERS = 110  # of a completion


class Live(TrainerCallback):
    """Prints a few lines after the first step and at every fifth of the training.

    `own`: metric in the log → what it is called, of the task (`diagnostics.LIVE`). Comes after `Logging`.
    """

    def __init__(self, what: str, rollouts: Path, own: Mapping[str, str]) -> None:
        self.what, self.rollouts, self.own = what, rollouts, own

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not logs or "reward" not in logs or not state.is_world_process_zero:
            return
        step = state.global_step
        if step == 1 or step % max(state.max_steps // TIMES, 1) == 0:
            lines = [f"{self.what}: step {step}: {numbers(logs, self.own)}", *examples(last_rows(self.rollouts))]
            print("\n".join(lines), file=sys.stderr, flush=True)


def numbers(logs: Mapping[str, float], own: Mapping[str, str]) -> str:
    """`reward 1.95 (iou 0.52, format 0.97), KL 0.083, groups with equal rewards 50 %`: of what the log holds."""
    parts = {
        name.removeprefix("rewards/").removesuffix("/mean"): value for name, value in logs.items()
        if name.startswith("rewards/") and name.endswith("/mean")
    }  # fmt: skip
    said = [f"reward {logs['reward']:.2f}"]
    if parts:
        said[0] += f" ({', '.join(f'{name} {value:.2f}' for name, value in parts.items())})"
    if "kl" in logs:
        said.append(f"KL {logs['kl']:.3g}")
    shares = {"frac_reward_zero_std": "groups with equal rewards", **own}
    return ", ".join([*said, *(f"{words} {logs[name]:.0%}" for name, words in shares.items() if name in logs)])


def examples(rows: Sequence[Mapping]) -> list[str]:
    """The best and the worst paid of some rollouts, a line each."""
    paid = sorted(((_total(row), row) for row in rows), key=lambda one: one[0])
    if not paid:
        return []
    chosen = {"best answer": paid[-1], "worst answer": paid[0]} if len(paid) > 1 else {"answer": paid[0]}
    said = []
    for word, (total, row) in chosen.items():
        head = f"{word}, reward {total:.2f}"
        said.append(f"    {head:<26} {printable(row['label'], 30)}: {printable(row['completion'], LETTERS)}")
    return said


def last_rows(path: Path) -> list[dict]:
    """The rollouts of the last step in the file; empty where it cannot be read or its end is half written."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            start = max(file.tell() - TAIL, 0)
            file.seek(start)
            text = file.read().decode("utf-8", "replace")
        lines = text.split("\n")[1 if start else 0 : -1]
        rows = [json.loads(line) for line in lines]
        return [row for row in rows if row["step"] == rows[-1]["step"]]
    except (OSError, ValueError, KeyError):
        return []


def printable(text: str, limit: int) -> str:
    """Model output in one line, control and direction characters made visible."""
    shown = "".join(c if c.isprintable() else "�" for c in " ".join(text.split())[:limit])
    return shown + (" …" if len(text) > limit else "")


def _total(row: Mapping) -> float:
    return sum(value for value in row["rewards"].values() if value is not None)
