"""Signs that reinforcement goes wrong before the validation score says so: measured every step, judged by the recipe.

What the answers of one generation batch look like is measured here; what TRL measures anyway is only given a name.
How much is too much stands in the recipe (`rft.guards`). A number that is none is no matter of limits: `callbacks`.
"""

import sys
from collections import Counter
from collections.abc import Sequence

from transformers import TrainerCallback

from vrft_core.answers import Box, Parsed
from vrft_core.errors import InputError
from vrft_core.params import Limit
from vrft_core.training.record import Record

NEAR_DUPLICATE = 0.9  # IoU from which on two boxes of one answer are the same box, as in `evaluation.diagnostics`

# what a recipe may set a limit to → how the metric is called in the log and in MLflow
METRICS = {
    "zero_variance": "frac_reward_zero_std",
    "identical": "groups/identical",
    "faulty": "answers/faulty",
    "repeating": "answers/repeating",
    "box_inflation": "boxes/inflation",
    "confidence_zero": "confidence/zero",
    "confidence_one": "confidence/one",
    "truncated": "completions/clipped_ratio",
    "length": "completions/mean_length",
    "reward": "reward",
    "entropy": "entropy",
    "kl": "kl",
    "resampled": "groups/resampled",
    "dead": "groups/dead",
}


def metric(name: str) -> str:
    """The logged metric of a guard; `zero_variance/iou` and `reward/iou` mean one reward's."""
    kind, _, part = name.partition("/")
    if not part:
        return METRICS[name]
    return f"rewards/{part}/{'frac_zero_std' if kind == 'zero_variance' else 'mean'}"


def measure(
    texts: Sequence[str], parsed: Sequence[Parsed], truths: Sequence[Sequence[Box]], group: int
) -> dict[str, float]:
    """What one generation batch's detection answers look like; groups of `group` completions lie side by side.

    - `answers/faulty`: share not written exactly as asked; `answers/<reason>`: share with that fault.
    - `answers/repeating`: share that names a box twice (exactly, or at IoU ≥ 0.9).
    - `boxes/inflation`: boxes offered, refused ones among them / true boxes. Left out where nothing is true.
    - `confidence/zero`, `confidence/one`: share of boxes stated with exactly that. Left out without boxes.
    - `groups/identical`: share of completions that repeat an earlier one of their group; 1 when all are alike.
    """
    count = len(parsed)
    reasons = Counter(reason for one in parsed for reason in one.reasons)
    found = {f"answers/{reason}": times / count for reason, times in sorted(reasons.items())}
    found["answers/faulty"] = sum(bool(one.reasons) for one in parsed) / count
    found["answers/repeating"] = sum("duplicate_box" in one.reasons or _repeats(one) for one in parsed) / count
    if true := sum(map(len, truths)):
        found["boxes/inflation"] = sum(len(one.detections) + one.dropped for one in parsed) / true
    stated = [box.confidence for one in parsed for box in one.detections if box.stated]
    if stated:
        found["confidence/zero"] = stated.count(0.0) / len(stated)
        found["confidence/one"] = stated.count(1.0) / len(stated)
    groups = [texts[start : start + group] for start in range(0, count, group)]
    found["groups/identical"] = sum(group - len(set(one)) for one in groups) / (len(groups) * (group - 1))
    return found


def _repeats(parsed: Parsed) -> bool:
    boxes = [detection.box for detection in parsed.detections]
    return any(_iou(a, b) >= NEAR_DUPLICATE for i, a in enumerate(boxes) for b in boxes[:i])


def _iou(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


class Watch(TrainerCallback):
    """Holds each step's numbers against the recipe's limits: says so once an episode, or stops the run.

    Judged from the record alone, so that a resumed run says what an uninterrupted one would have said. Comes after
    `Logging`, which fills the record.
    """

    def __init__(self, limits: dict[str, Limit], record: Record) -> None:
        self.limits, self.record = limits, record

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not logs or "loss" not in logs:
            return
        for name, limit in self.limits.items():
            if metric(name) not in self.record.log[-1]:
                continue  # nothing was generated in this step, or there was nothing to measure
            values = [row[metric(name)] for row in self.record.log if metric(name) in row][-limit.steps - 1 :]
            broken = [limit.broken_by(value) for value in values]
            if len(broken) < limit.steps or not all(broken[-limit.steps :]):
                continue
            if limit.then == "stop":
                raise InputError(
                    f"step {state.global_step}",
                    _sentence(name, values[-1], limit),
                    f"the recipe stops there: change the training, or rft.guards.{name}",
                )
            if len(broken) == limit.steps or not broken[0]:
                self._warn(state, name, values[-1], limit)

    def _warn(self, state, name: str, value: float, limit: Limit) -> None:
        self.record.warnings.append({"step": state.global_step, "guard": name, "value": value})
        if state.is_world_process_zero:
            print(f"step {state.global_step}: {_sentence(name, value, limit)}", file=sys.stderr, flush=True)


def _sentence(name: str, value: float, limit: Limit) -> str:
    side, bound = ("above", limit.above) if limit.above is not None and value > limit.above else ("below", limit.below)
    times = f" for {limit.steps} steps" if limit.steps > 1 else ""
    return f"{name} is {value:.3g}, {side} {bound:g}{times}"
