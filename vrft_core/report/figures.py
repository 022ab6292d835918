"""From results and training logs to the page's charts, each with a title and a caption that says how to read it."""

from collections.abc import Sequence

from markupsafe import Markup

from vrft_core.report import charts
from vrft_core.report.charts import Bars, Interval, Series
from vrft_core.report.summary import MODEL_NAMES, pair_name
from vrft_core.report.verdict import PAIRS
from vrft_core.tasks.detection.metrics.scores import metric_title

FREQUENCY_NAMES = {
    "r": "rare (in 1 to 10 training pictures)",
    "c": "common (in 11 to 100)",
    "f": "frequent (in more than 100)",
}
MOST_ROWS = 30  # categories in one chart; the table holds them all
SMOOTH_FROM = 30  # logged steps from which a curve is smoothed
WINDOW = 5
FEWEST = 10  # boxes behind a point of the reliability chart


def differences(found: dict, metric: str) -> dict:
    title = f"Differences in {metric_title(metric)}"
    rows = [
        Interval(pair_name(pair), pair.split("-")[0], *_points(found[pair][metric], "value", "low", "high"))
        for pair in PAIRS
    ]
    return _figure(
        title,
        charts.intervals(title, rows, "AP points, with 95 % interval"),
        "A bar that does not touch the line at zero is a difference that chance alone does not explain.",
    )


def seeds(per_seed: list[dict], pooled: dict, metric: str) -> dict:
    rows = [
        Interval(f"seed {one['seed']}", "base", *_points(one["differences"]["rft-sft"], "value", "low", "high"))
        for one in per_seed
    ]
    rows.append(Interval("all seeds", "rft", *_points(pooled["rft-sft"][metric], "value", "low", "high")))
    return _figure(
        "RFT − SFT, seed by seed",
        charts.intervals("RFT minus SFT by seed", rows, "AP points, with 95 % interval"),
        "A seed's own interval covers the choice of evaluation pictures; the last one the choice of seeds as well.",
    )


def learning(training: dict[str, dict]) -> list[dict]:
    """Validation AP of both, the parts of the reward, the loss of each."""
    found = [_validation(training), _rewards(training["rft"])]
    for method in ("sft", "rft"):
        found.append(_loss(method, training[method].get("log", [])))
    return found


def _validation(training: dict[str, dict]) -> dict:
    curves, start = [], None
    for method in ("sft", "rft"):
        record = training[method]
        points = [
            (row["step"], 100 * row["coco/AP"])
            for row in record.get("validation", [])
            if row.get("coco/AP") is not None
        ]
        start = next((y for x, y in points if x == 0), start)
        curves.append(Series(MODEL_NAMES[method], method, points, ring=record.get("chosen_step")))
    level = None if start is None else ("untouched model", start)
    return _figure(
        "Validation AP at each checkpoint",
        charts.lines("Validation AP", curves, "training step", "AP (COCO), points", level=level),
        "On the validation split, which shares no picture with the evaluation; asked for what is there (oracle "
        "presence). The ringed checkpoint was evaluated. "
        "A step of RFT costs more than one of SFT: see the table above.",
    )


def _rewards(record: dict) -> dict:
    log = record.get("log", [])
    total = Series("total", "s6", _smoothed(_curve(log, "reward")), marks=False)
    parts = [
        Series(name, f"s{number % 5 + 1}", _smoothed(_curve(log, key)), marks=False)
        for number, (name, key) in enumerate(reward_parts(log).items())
    ]
    return _figure(
        "RFT: reward by training step",
        charts.lines("Reward", [*parts, total], "training step", "mean reward", limits=(0, None)),
        "What the rules paid for the model's own answers, and the weighted total it is trained on." + _note(log),
    )


def _loss(method: str, log: list[dict]) -> dict:
    name = MODEL_NAMES[method]
    caption = {
        "sft": "How surprising the right answers still are; near zero the few examples are known by heart.",
        "rft": "The policy-gradient loss. It hovers about zero by construction and says little about progress.",
    }[method]
    curve = Series(name, method, _smoothed(_curve(log, "loss")), marks=False)
    return _figure(
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
        "Share of groups whose answers were all paid alike: there is nothing to prefer, so nothing is learned.",
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
        "How undecided the model is; near zero it no longer tries anything new.",
    ),
    (
        "Distance from the start (KL)",
        "kl",
        "nats a token",
        (0, None),
        "How far the model has moved from where it began.",
    ),
)


def health(log: list[dict]) -> list[dict]:
    """What to watch while reinforcement learning runs; only what was logged."""
    found = []
    for title, key, unit, limits, caption in HEALTH:
        if points := _curve(log, key):
            curve = Series("RFT", "rft", _smoothed(points), marks=False)
            svg = charts.lines(title, [curve], "training step", unit, limits=limits)
            found.append(_figure(title, svg, caption + _note(log)))
    return found


def reward_parts(log: list[dict]) -> dict[str, str]:
    """Reward name → its key in the log (TRL writes `rewards/<name>/mean`)."""
    keys = sorted({key for row in log for key in row if key.startswith("rewards/") and key.endswith("/mean")})
    return {key.split("/")[1]: key for key in keys}


def constant_parts(log: list[dict]) -> dict[str, str]:
    """Reward name → its key for the share of groups in which it is the same for all answers."""
    keys = sorted({key for row in log for key in row if key.startswith("rewards/") and key.endswith("/frac_zero_std")})
    return {key.split("/")[1]: key for key in keys}


def categories(per_category: dict) -> list[dict]:
    """Bars for each frequency group, and a table of everything behind them."""
    found = []
    for letter, words in FREQUENCY_NAMES.items():
        rows = [(name, row) for name, row in per_category.items() if row["frequency"] == letter and row["boxes"]]
        if not rows:
            continue
        caption = "1 category." if len(rows) == 1 else f"{len(rows)} categories."
        if len(rows) > MOST_ROWS:
            rows = sorted(rows, key=lambda item: -_gap(item[1]))[:MOST_ROWS]
            caption += f" Shown: the {MOST_ROWS} where RFT and SFT differ most; the table below has them all."
        drawn = [
            Bars(
                name.replace("_", " "),
                {m: _times100(row["AP"][m]) for m in MODEL_NAMES},
                "★" if row["few_shot"] else "",
            )
            for name, row in sorted(rows, key=lambda item: item[0])
        ]
        title = words[0].upper() + words[1:]
        found.append(_figure(title, charts.bars(title, drawn, MODEL_NAMES, "AP, points"), caption))
    return found


def reliability(models: dict[str, Sequence[dict]]) -> dict | None:
    """`models`: model → bins {"confidence", "precision", "boxes"}."""
    curves = [
        Series(MODEL_NAMES[m], m, [(100 * b["confidence"], 100 * b["precision"]) for b in bins if b["boxes"] >= FEWEST])
        for m, bins in models.items()
    ]
    if not any(curve.points for curve in curves):
        return None
    ideal = Series("as it should be", "s6", [(0, 0), (100, 100)], marks=False)
    return _figure(
        "Does stated confidence mean anything?",
        charts.lines(
            "Reliability", [*curves, ideal], "stated confidence, %", "boxes that are right, %", limits=(0, 100)
        ),
        "Of the boxes stated with a certain confidence, how many hit an object (IoU of 0.5 or more). On the diagonal "
        "the model knows how sure it may be; a single point at 100 % means it always claims to be certain. "
        f"Points rest on {FEWEST} boxes or more.",
    )


def _gap(row: dict) -> float:
    ap = row["AP"]
    return abs((ap["rft"] or 0) - (ap["sft"] or 0))


def _curve(log: list[dict], key: str) -> list[tuple[float, float]]:
    return [(row["step"], row[key]) for row in log if row.get(key) is not None]


def _smoothed(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return charts.smooth(points, WINDOW) if len(points) >= SMOOTH_FROM else points


def _note(log: list[dict]) -> str:
    return f" Mean of the last {WINDOW} steps." if len(log) >= SMOOTH_FROM else ""


def _points(entry: dict, *names: str) -> list[float | None]:
    return [_times100(entry[name]) for name in names]


def _times100(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _figure(title: str, svg: Markup, caption: str) -> dict:
    return {"title": title, "svg": svg, "caption": caption}
