"""What may be said about a difference, in one sentence that claims no more than its interval."""

from vrft_core.evaluation.scores import MetricSpec

NAMES = {"base": "the untouched model", "sft": "SFT", "rft": "RFT"}
PAIRS = ("rft-sft", "rft-base", "sft-base")


def outcome(difference: dict) -> str:
    """better, worse or undecided, from {"value", "low", "high"}: only an interval clear of zero decides."""
    if difference["low"] is None or difference["low"] <= 0 <= difference["high"]:
        return "undecided"
    return "better" if difference["low"] > 0 else "worse"


def sentence(pair: str, difference: dict, title: str) -> str:
    """For example: RFT beats SFT by 4.2 points of LVIS AP (oracle presence), 95 % interval +2.1 to +6.3."""
    first, second = (NAMES[name] for name in pair.split("-"))
    if difference["value"] is None:
        return f"{_capital(first)} and {second} cannot be compared: {title} is not defined here."
    of = f"points of {title}, 95 % interval {points(difference['low'], True)} to {points(difference['high'], True)}"
    by = f"by {points(abs(difference['value']))} {of}"
    match outcome(difference):
        case "better":
            return f"{_capital(first)} beats {second} {by}."
        case "worse":
            return f"{_capital(first)} is worse than {second} {by}."
    measured = f"measured: {points(difference['value'], True)} {of}"
    return f"No difference between {first} and {second} can be shown; {measured}."


def verdict(differences: dict, spec: MetricSpec) -> dict:
    """The headline of a report: what came of RFT against SFT, then both against the untouched model.

    `differences`: pair → metric → {"value", "low", "high"}; `spec`: the metric that decides.
    → {"metric", "title", "outcome", "headline", "also": [sentence]}
    """
    each = {pair: sentence(pair, differences[pair][spec.name], spec.title) for pair in PAIRS}
    return {
        "metric": spec.name,
        "title": spec.title,
        "outcome": outcome(differences["rft-sft"][spec.name]),
        "headline": each["rft-sft"],
        "also": [each["rft-base"], each["sft-base"]],
    }


def points(value: float | None, sign: bool = False) -> str:
    """A share in [0, 1] as points of a hundred, one decimal."""
    if value is None:
        return "–"
    text = f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"
    return text.replace("-", "−") if float(text) else "0.0"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
