"""What may be said about a difference, in one sentence that claims no more than its interval."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vrft_core.evaluation.intervals import Intervals, needed_images, needed_seeds
from vrft_core.evaluation.scores import Ends, Entry, MetricSpec
from vrft_core.report.rows import Verdict

if TYPE_CHECKING:
    from vrft_core.training.record import Description

NAMES = {"base": "the untouched model", "sft": "SFT", "rft": "RFT"}
Z = 1.96  # of a 95 % interval
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


def verdict(found: Intervals, spec: MetricSpec, images: int, stopped: Sequence[str] = ()) -> Verdict:
    """The headline of a report: what came of RFT against SFT, then both against the untouched model.

    `spec`: the metric that decides; `images`: how many were evaluated; `stopped`: see `stops`.
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
            f"There are only {images} evaluation images: small differences cannot be told from chance, and the "
            f"intervals themselves are rough; use {FEW_IMAGES} or more."
        )
    return {
        "metric": spec.name,
        "title": spec.title,
        "outcome": outcome(differences["rft-sft"][spec.name]),
        "nothing": nothing,
        "headline": " ".join([*stopped, main]),
        "also": also,
    }


def stops(training: "Mapping[int, Mapping[str, Description]]") -> list[str]:
    """A sentence on each training that a guard ended. `training`: seed → method → its record.

    For example: RFT was stopped at step 31 (kl is 5.2, above 5); its best checkpoint, of step 15, is compared here.
    """
    found = []
    for seed, records in training.items():
        for method, record in records.items():
            if stopped := record.get("stopped"):
                of = f", seed {seed}," if len(training) > 1 else ""
                step, chosen = stopped["step"], record["chosen_step"]
                kept = f"its best checkpoint, of step {chosen}, is" if chosen < step else "the weights it had there are"
                found.append(
                    f"{NAMES[method]}{of} was stopped at step {step} ({stopped['limit']}); {kept} compared here."
                )
    return found


def needs(difference: Entry, images: int, nothing: bool = False) -> str:
    """How many evaluation images, and seeds, would show a difference of the measured size with a chance of 80 %.

    `difference`: of one run, or with "std" and "se_images" of several. `nothing`: no model finds anything.
    """
    value, low, high = difference["value"], difference["low"], difference["high"]
    if low is None or high is None or not value or nothing:
        return "No difference was measured, so the number of images needed cannot be estimated."
    std, se_images = difference.get("std"), difference.get("se_images")
    if std is not None and se_images is not None:
        seeds = needed_seeds(value, std, se_images)
        if seeds is not None:
            return f"To show a difference of this size with a chance of 80 %, {seeds} seeds are needed on these images."
        more = needed_images(value, Z * se_images, images)
        return f"No number of seeds shows a difference of this size on {images:,} images; about {more:,} are needed."
    more = needed_images(value, (high - low) / 2, images)
    return (
        f"To show a difference of this size with a chance of 80 %, about {more:,} evaluation images are needed; "
        f"there are {images:,}."
    )


def points(value: float | None, sign: bool = False) -> str:
    """A share in [0, 1] as points of a hundred, one decimal."""
    if value is None:
        return "–"
    text = f"{100 * value:+.1f}" if sign else f"{100 * value:.1f}"
    return text.replace("-", "−") if float(text) else "0.0"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
