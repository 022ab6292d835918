"""Signs that RFT goes wrong, earlier than the validation score shows it: measured every step, limits from the recipe.

Only what every task shares is measured here; a task's own signs are in its `diagnostics`, and what TRL measures anyway
is only given a name. How much is too much stands in the recipe. Non-finite numbers belong to `callbacks`.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from transformers import TrainerCallback

from vrft_core.params import Limit
from vrft_core.training.record import Record

# what a recipe may set a limit to → how the metric is called in the log and in MLflow
METRICS = {
    "zero_variance": "frac_reward_zero_std",
    "identical": "groups/identical",
    "faulty": "answers/faulty",
    "truncated": "completions/clipped_ratio",
    "length": "completions/mean_length",
    "reward": "reward",
    "entropy": "entropy",
    "kl": "kl",
    "resampled": "groups/resampled",
    "dead": "groups/dead",
}

# what it means, and what can be done about it; of a task's own guards the page says it
MEANINGS = {
    "zero_variance": "the answers of most groups got equal rewards, and such groups teach nothing",
    "identical": "answers of a group repeat each other; a higher rft.temperature makes them differ",
    "faulty": "many answers do not have the form that was asked for",
    "truncated": "answers are cut short; a higher rft.max_completion_length lets them end",
    "length": "answers are much shorter or longer than expected",
    "reward": "the reward is not what was expected",
    "entropy": "answers are nearly certain where it is low, nearly random where it is high",
    "kl": "the model is far from its starting weights; a lower rft.learning_rate or a higher rft.beta keeps it closer",
    "resampled": "many questions were replaced, because their groups had equal rewards",
    "dead": "groups still have equal rewards after other questions were tried",
}
PAGE = "docs/training-at-scale.md, Guards"


def metric(name: str, own: Mapping[str, str] = METRICS) -> str:
    """The logged metric of a guard; `zero_variance/iou` and `reward/iou` mean one reward's. `own`: the task's."""
    kind, _, part = name.partition("/")
    if not part:
        return (METRICS | dict(own))[name]
    return f"rewards/{part}/{'frac_zero_std' if kind == 'zero_variance' else 'mean'}"


def identical(texts: Sequence[str], group: int) -> float:
    """Share of completions that repeat an earlier one of their group; 1 when all are alike.

    Groups of `group` completions lie side by side.
    """
    groups = [texts[start : start + group] for start in range(0, len(texts), group)]
    return sum(group - len(set(one)) for one in groups) / (len(groups) * (group - 1))


def faults(reasons: Sequence[Sequence[str]]) -> dict[str, float]:
    """`answers/faulty`: share of answers not written exactly as asked; `answers/<reason>`: share with that fault."""
    counts = Counter(reason for one in reasons for reason in one)
    found = {f"answers/{reason}": times / len(reasons) for reason, times in sorted(counts.items())}
    return found | {"answers/faulty": sum(map(bool, reasons)) / len(reasons)}


class Watch(TrainerCallback):
    """Compares each step's numbers with the recipe's limits: warns once an episode, or ends the training.

    A training that ends there saves a last checkpoint, and the best one so far is kept (`callbacks.best_step`).

    Judged from the record alone, so that a resumed run says what an uninterrupted one would have said. Comes after
    `Logging`, which fills the record.
    """

    def __init__(self, what: str, limits: Mapping[str, Limit], own: Mapping[str, str], record: Record) -> None:
        self.what, self.limits, self.record = what, limits, record
        self.metrics = {name: metric(name, own) for name in limits}

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not logs or "loss" not in logs:
            return
        for name, limit in self.limits.items():
            if self.metrics[name] not in self.record.log[-1]:
                continue  # nothing was generated in this step, or there was nothing to measure
            key = self.metrics[name]
            values = [row[key] for row in self.record.log if key in row][-limit.steps - 1 :]
            broken = [limit.broken_by(value) for value in values]
            if len(broken) < limit.steps or not all(broken[-limit.steps :]):
                continue
            if limit.then == "stop":
                self._stop(state, control, name, values[-1], limit)
                return
            if len(broken) == limit.steps or not broken[0]:
                self._warn(state, name, values[-1], limit)

    def _stop(self, state, control, name: str, value: float, limit: Limit) -> None:
        step, said = state.global_step, _sentence(name, value, limit)
        self.record.stopped = {"step": step, "guard": name, "value": value, "limit": said}
        control.should_save = control.should_training_stop = True
        if state.is_world_process_zero:
            ends = "the training ends here, as the recipe says, and its best checkpoint is kept"
            print(f"{self.what}: step {step}: {said}; {ends} {_meaning(name)}", file=sys.stderr, flush=True)

    def _warn(self, state, name: str, value: float, limit: Limit) -> None:
        self.record.warnings.append({"step": state.global_step, "guard": name, "value": value})
        if state.is_world_process_zero:
            said = f"{self.what}: step {state.global_step}: {_sentence(name, value, limit)} {_meaning(name)}"
            print(said, file=sys.stderr, flush=True)


def _sentence(name: str, value: float, limit: Limit) -> str:
    side, bound = ("above", limit.above) if limit.above is not None and value > limit.above else ("below", limit.below)
    times = f" for {limit.steps} steps" if limit.steps > 1 else ""
    return f"{name} is {value:.3g}, {side} {bound:g}{times}"


def _meaning(name: str) -> str:
    kind = name.partition("/")[0]
    return f"({MEANINGS[kind]}: {PAGE})" if kind in MEANINGS else f"({PAGE})"
