"""Models that name nothing, whatever they are asked: what a headline says of them. Silence is right about what is
absent, so counts of right answers alone make it look like a gain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NEARLY = 0.9  # share of the answers about something present from which it is said
AFTER = {"base": "Untouched", "sft": "After SFT", "rft": "After RFT"}


@dataclass(frozen=True)
class Silence:
    """Counts of one model's answers: all, and those about something present."""

    words: str  # what such an answer does, such as: names no object
    answers: int
    silent: int
    present: int
    silent_present: int

    @property
    def total(self) -> bool:
        return self.silent == self.answers > 0

    @property
    def nearly(self) -> bool:
        return self.present > 0 and self.silent_present >= NEARLY * self.present


def sentences(found: Mapping[int, Mapping[str, Silence]]) -> list[str]:
    """One on each model that is silent about everything, or nearly everything that is present. `found`: seed → model.

    For example: After RFT the model names no object in any of the 60 answers. The untouched model is the same for all
    seeds and is counted once.
    """
    said = []
    for model in AFTER:
        seeds = list(found)[:1] if model == "base" else list(found)
        quiet = [seed for seed in seeds if found[seed][model].total or found[seed][model].nearly]
        if quiet:
            where = "" if len(seeds) == 1 else f" ({_seeds(quiet, seeds)})"
            said.append(f"{AFTER[model]}{where}, the model {_sum([found[seed][model] for seed in quiet])}.")
    return said


def _seeds(quiet: Sequence[int], seeds: Sequence[int]) -> str:
    if len(quiet) == len(seeds):
        return f"all {len(seeds)} seeds"
    return f"seed{'s' if len(quiet) > 1 else ''} {', '.join(map(str, quiet))}"


def _sum(each: Sequence[Silence]) -> str:
    words = each[0].words
    if all(one.total for one in each):
        return f"{words} in any of the {sum(one.answers for one in each):,} answers"
    silent, present = sum(one.silent_present for one in each), sum(one.present for one in each)
    of = "any" if silent == present else f"{silent:,}"
    return f"{words} in {of} of the {present:,} answers about something present"
