"""What may be said about a difference, in one sentence that claims no more than its interval."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from scipy.special import stdtrit

from vrft_core.evaluation.intervals import POWER, Intervals, needed_images, needed_seeds
from vrft_core.evaluation.scores import Ends, Entry, MetricSpec
from vrft_core.report.rows import Verdict

if TYPE_CHECKING:
    from vrft_core.report.rows import Results

NAMES = {"base": "the untouched model", "sft": "SFT", "rft": "RFT"}
Z = 1.96  # of a 95 % interval
MANY = 100  # times the images there are: beyond that no number is given
_POWER_FACTOR = (Z + float(stdtrit(float("inf"), POWER))) / Z  # as `evaluation.intervals` plans with
FEW_IMAGES = 50  # evaluation images: with fewer there is a warning
PAIRS = ("rft-sft", "rft-base", "sft-base")


def outcome(difference: Ends) -> str:
    """better, worse or undecided: only an interval clear of zero decides."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None or low <= 0 <= high:
        return "undecided"
    return "better" if low > 0 else "worse"


def sentence(pair: str, difference: Ends, title: str) -> str:
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


def verdict(found: Intervals, spec: MetricSpec, images: int, remarks: Sequence[str] = ()) -> Verdict:
    """The headline of a report: RFT against SFT, then both against the untouched model.

    `spec`: the metric that decides; `images`: how many were evaluated; `remarks`: sentences that the headline ends
    with, see `silence` and `stopped`.
    """
    differences = found["differences"]
    each = {pair: sentence(pair, differences[pair][spec.name], spec.title) for pair in PAIRS}
    main, also = each["rft-sft"], [each["rft-base"], each["sft-base"]]
    values = [found["models"][model][spec.name]["value"] for model in NAMES]
    if nothing := all(value is not None and points(value) == "0.0" for value in values):
        much = "next to nothing" if any(values) else "nothing"
        main = (
            f"The model finds {much} on these images, before or after training: {spec.title} is 0.0 for the untouched "
            "model, for SFT and for RFT."
        )
        also = ["To compare SFT and RFT, start from a model that finds something in such images: a larger recipe."]
    if images < FEW_IMAGES:
        also.append(
            f"There are only {images} evaluation images: small differences may well be chance, and below "
            f"{FEW_IMAGES} the intervals themselves are rough."
        )
    return {
        "metric": spec.name,
        "title": spec.title,
        "outcome": outcome(differences["rft-sft"][spec.name]),
        "nothing": nothing,
        "headline": " ".join([main, *remarks]),
        "main": main,
        "remarks": list(remarks),
        "also": also,
    }


def needs(difference: Entry, images: int, nothing: bool = False) -> str:
    """Whether the question is settled, and what it takes to know more: images, seeds; with a chance of 80 % each.

    `difference`: of one run, or with "std" and "se_images" of several. `nothing`: no model finds anything.
    """
    value, low, high = difference["value"], difference["low"], difference["high"]
    if low is None or high is None or not value or nothing:
        return "No difference was measured, so the number of images needed cannot be estimated."
    std, se_images, seeds = difference.get("std"), difference.get("se_images"), len(difference.get("per_seed") or [])
    several = std is not None and se_images is not None
    half = Z * se_images if several and se_images else (high - low) / 2
    shown = f"Differences of about {points(half * _POWER_FACTOR)} points or more"
    on = f"on {images:,} evaluation images"
    settled = outcome(difference) != "undecided"
    if several and std is not None and se_images is not None:
        wanted = needed_seeds(value, std, se_images)
        if settled:
            rest = f"{seeds} seeds {on} were enough."
        elif wanted is not None:
            rest = f"To show a difference as large as the one measured, {wanted} seeds are needed on these images."
        else:
            rest = f"No number of seeds shows one as large as that measured; {_images(value, half, images)}."
        return f"{shown} between the means over many seeds can be shown {on}, with a chance of 80 %. {rest}"
    rest = (
        "Other seeds say whether it holds for other examples."
        if settled
        else f"For one as large as that measured, {_images(value, half, images)}."
    )
    return f"{shown} can be shown {on}, with a chance of 80 %. {rest}"


def _images(value: float, half: float, images: int) -> str:
    more = needed_images(value, half, images)
    if more is not None and more > MANY * images:
        return f"more than {MANY} times as many images are needed: for most purposes the two are alike"
    return f"about {more:,} images are needed"


def findings(results: "Results") -> list[str]:
    """A sentence on each pair of models: in which metrics one is better, worse, or not shown to differ."""
    said = []
    for pair in PAIRS:
        first, second = (NAMES[name] for name in pair.split("-"))
        found: dict[str, list[str]] = {"better": [], "worse": [], "undecided": []}
        for metric, label in results["columns"]:
            entry = results["differences"][pair].get(metric)
            if entry is not None and entry["value"] is not None:
                kind = outcome(entry)
                by = "" if kind == "undecided" else f" ({points(entry['value'], True)})"
                found[kind].append(f"{label}{by}")
        parts = [
            f"{words} {', '.join(found[kind])}"
            for kind, words in (("better", "better in"), ("worse", "worse in"), ("undecided", "not shown to differ in"))
            if found[kind]
        ]
        if parts:
            said.append(f"{_capital(first)} against {second}: {'; '.join(parts)}.")
    return said


def finds_nothing(results: "Results") -> bool:
    """Whether the deciding metric is 0.0 for all three models: intervals around that say nothing about them."""
    return results["verdict"].get("nothing", False)  # a report of an older version does not have it


def blank(results: "Results") -> str:
    """One line in place of tables full of zeros, where no model finds anything by any metric; else empty."""
    entries = [each[metric] for metric, _ in results["columns"] for each in results["models"].values()]
    if not finds_nothing(results) or any(points(one["value"]) not in ("0.0", "–") for one in entries):
        return ""
    *labels, last = [label for _, label in results["columns"]]
    named = f"{', '.join(labels)} and {last} are" if labels else f"{last} is"
    high = max((one["high"] for one in entries if one["high"] is not None), default=None)
    more = f" {results['measured']['images']:,} images cannot say more: 95 % intervals reach up to {points(high)}."
    return f"{named} 0.0 points of 100 for all three models.{more if high is not None else ''}"


def points(value: float | None, sign: bool = False) -> str:
    """A share in [0, 1] as points of a hundred, one decimal."""
    if value is None:
        return "–"
    text = f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"
    return text.replace("-", "−") if float(text) else "0.0"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
