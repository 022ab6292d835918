"""From results and training logs to the page's charts, each with a title and a caption that says how to read it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from vrft_core.evaluation.scores import Ends
from vrft_core.report import charts
from vrft_core.report.charts import Interval, Series
from vrft_core.report.panel import MODEL_NAMES
from vrft_core.report.rows import Figure, SeedResults
from vrft_core.report.summary import pair_name
from vrft_core.report.verdict import PAIRS

if TYPE_CHECKING:
    from vrft_core.training.record import Description, Step

SMOOTH_FROM = 30  # logged steps from which a curve is smoothed
WINDOW = 5
SPIKES = ("kl",)  # keys whose highest values matter, which a mean would hide
MARGIN = 0.05  # of the range, below the lowest point: a score has no values below zero
LEAST = 0.02  # a share that never reaches this is not drawn: its line would lie on zero


def differences(found: Mapping[str, Mapping[str, Ends]], metric: str, name: str) -> Figure:
    """`name`: what the metric is called in words."""
    title = f"Differences in {name}"
    rows = [Interval(pair_name(pair), pair.split("-")[0], *_points(found[pair][metric])) for pair in PAIRS]
    return figure(
        title,
        charts.intervals(title, rows, "points, with 95 % interval"),
        "A bar that does not touch zero is a difference that chance alone does not explain.",
    )


def seeds(per_seed: list[SeedResults], pooled: Mapping[str, Mapping[str, Ends]], metric: str) -> Figure:
    rows = [Interval(f"seed {one['seed']}", "base", *_points(one["differences"]["rft-sft"])) for one in per_seed]
    rows.append(Interval("all seeds", "rft", *_points(pooled["rft-sft"][metric])))
    return figure(
        "RFT − SFT, seed by seed",
        charts.intervals("RFT minus SFT by seed", rows, "points, with 95 % interval"),
        "A seed's own interval covers the choice of evaluation images; the last one the choice of seeds as well.",
    )


def learning(training: "Mapping[str, Description]") -> list[Figure]:
    """Validation score of both, the reward and its parts, the loss of each."""
    found = [_validation(training), *_rewards(training["rft"])]
    for method in ("sft", "rft"):
        found.append(_loss(method, training[method].get("log", [])))
    return found


def learning_of(method: str, record: "Description") -> list[Figure]:
    """The same of one training alone: its validation score, and its reward or loss."""
    curves = _rewards(record) if method == "rft" else [_loss(method, record.get("log", []))]
    return [_validation({method: record}), *curves]


def _validation(training: "Mapping[str, Description]") -> Figure:
    curves, start = [], None
    for method, record in training.items():
        points = [
            (row["step"], 100 * score)
            for row in record.get("validation", [])
            if (score := row.get("score")) is not None
        ]
        start = next((y for x, y in points if x == 0), start)
        curves.append(Series(MODEL_NAMES[method], method, points, ring=record.get("chosen_step")))
    level = None if start is None else ("untouched model", start)
    metric = next(iter(training.values())).get("validation_metric", "score")
    scores = [y for curve in curves for _, y in curve.points] or [0]
    limits = (0 if min(scores) <= MARGIN * (max(scores) - min(scores)) else None, None)
    return figure(
        "Validation score at each checkpoint",
        charts.lines("Validation score", curves, "training step", f"{metric}, points", limits=limits, level=level),
        "On the validation split, which shares no image with the evaluation. The circled checkpoint was evaluated."
        + (" A step of RFT costs more than one of SFT: see what each training cost." if len(training) > 1 else ""),
    )


def _rewards(record: "Description") -> list[Figure]:
    log = record.get("log", [])
    parts = [
        Series(name, f"s{number % 5 + 1}", _smoothed(_curve(log, key)), marks=False)
        for number, (name, key) in enumerate(reward_parts(log).items())
    ]
    total = Series("total", "rft", _smoothed(_curve(log, "reward")), marks=False)
    return [
        figure(
            "RFT: reward by part",
            charts.lines("Reward by part", parts, "training step", "mean reward of each part", limits=(0, 1.02)),
            "The rewards of the model's own answers, each in [0, 1]." + _note(log),
        ),
        figure(
            "RFT: total reward",
            charts.lines("Total reward", [total], "training step", "mean reward", limits=(0, None)),
            "The weighted sum that the model is trained on." + _note(log),
        ),
    ]


def _loss(method: str, log: "list[Step]") -> Figure:
    name = MODEL_NAMES[method]
    caption = {
        "sft": "Cross-entropy of the right answers. Near zero the few examples are memorised.",
        "rft": "The policy-gradient loss. It stays near zero by construction and says little about progress.",
    }[method]
    curve = Series(name, method, _smoothed(_curve(log, "loss")), marks=False)
    return figure(
        f"{name}: loss by training step",
        charts.lines(f"{name} loss", [curve], "training step", "loss"),
        caption + _note(log),
    )


HEALTH = (  # title, key in the log, unit, limits, how to read it
    (
        "Groups that teach nothing",
        "frac_reward_zero_std",
        "share of groups",
        (0, 1),
        "Share of groups whose answers all had the same reward: none is preferred, so nothing is learned.",
    ),
    (
        "Length of the answers",
        "completions/mean_length",
        "tokens",
        (0, None),
        "Mean length of a sampled answer.",
    ),
    (
        "Answers cut off",
        "completions/clipped_ratio",
        "share of answers",
        (0, 1),
        "Share that hit the length limit.",
    ),
    (
        "Entropy",
        "entropy",
        "nats a token",
        (0, None),
        "Entropy of the next token. Near zero the model no longer explores.",
    ),
    (
        "Divergence from the starting weights (KL)",
        "kl",
        "nats a token",
        (0, None),
        "Divergence from the starting weights.",
    ),
)


def health(log: "list[Step]") -> list[Figure]:
    """What to watch while reinforcement learning runs; only what was logged and was not always zero."""
    return [one for row in HEALTH for one in logged(log, *row)]


def logged(
    log: "list[Step]", title: str, key: str, unit: str, limits: tuple[float | None, float | None], caption: str
) -> list[Figure]:  # fmt: skip
    """The curve of one number of RFT's log; none where it was not logged, or is a share that stays near zero."""
    points = _curve(log, key)
    if not any(abs(y) >= (LEAST if limits == (0, 1) else 0) for _, y in points):
        return []
    curves, note = [Series("RFT", "rft", _smoothed(points), marks=False)], _note(log)
    if key in SPIKES and len(points) >= SMOOTH_FROM:
        highest = Series(f"highest of {WINDOW} steps", "s2", greatest(points, WINDOW), marks=False)
        curves = [Series(f"mean of {WINDOW} steps", "rft", curves[0].points, marks=False), highest]
        note = f" Mean and highest value of the last {WINDOW} steps: a single step can end a training."
    svg = charts.lines(title, curves, "training step", unit, limits=limits)
    return [figure(title, svg, caption + note)]


def reward_parts(log: "list[Step]") -> dict[str, str]:
    """Reward name → its key in the log (TRL writes `rewards/<name>/mean`)."""
    keys = sorted({key for row in log for key in row if key.startswith("rewards/") and key.endswith("/mean")})
    return {key.split("/")[1]: key for key in keys}


def constant_parts(log: "list[Step]") -> dict[str, str]:
    """Reward name → its key for the share of groups in which it is the same for all answers."""
    keys = sorted({key for row in log for key in row if key.startswith("rewards/") and key.endswith("/frac_zero_std")})
    return {key.split("/")[1]: key for key in keys}


def _curve(log: "list[Step]", key: str) -> list[tuple[float, float]]:
    return [(row["step"], row[key]) for row in log if row.get(key) is not None]


def _smoothed(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return smooth(points, WINDOW) if len(points) >= SMOOTH_FROM else points


def _note(log: "list[Step]") -> str:
    return f" Mean of the last {WINDOW} steps." if len(log) >= SMOOTH_FROM else ""


def _points(entry: Ends) -> list[float | None]:
    return [times100(entry[name]) for name in ("value", "low", "high")]


def times100(value: float | None) -> float | None:
    return None if value is None else 100 * value


def figure(title: str, svg: Markup, caption: str) -> Figure:
    return {"title": title, "svg": svg, "caption": caption}


def drawn(figures: Sequence[Figure]) -> list[Figure]:
    """Without the empty ones."""
    return [one for one in figures if 'class="nothing"' not in one["svg"]]


def smooth(points: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """Running mean over the last `window` points, for curves too noisy to read."""
    return [
        (x, sum(y for _, y in points[max(0, i - window + 1) : i + 1]) / min(i + 1, window))
        for i, (x, _) in enumerate(points)
    ]


def greatest(points: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """Running maximum over the last `window` points."""
    return [(x, max(y for _, y in points[max(0, i - window + 1) : i + 1])) for i, (x, _) in enumerate(points)]
