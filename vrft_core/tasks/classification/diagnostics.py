"""What accuracy hides: broken answers, names of no class, one name for everything, certainty without information.

Descriptive numbers: of one model's prediction rows (`diagnose`), and of a generation batch in training (`health`).
"""

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from vrft_core.annotations import Annotations, spoken
from vrft_core.evaluation.statistics import Calibration, auroc, calibration, mean
from vrft_core.tasks.answer_span import CUT_OFF
from vrft_core.tasks.classification.answers import Row, normalised, same
from vrft_core.tasks.completion import Completion
from vrft_core.tasks.task import Truth

GUARDS = {"empty": "answers/empty", "name_length": "names/length"}  # guard → the metric it watches
LIVE = {"answers/empty": "no name"}


class Names(TypedDict):
    empty: float | None
    unknown: float | None  # of no class
    different: int
    one_name: float | None  # how often the most frequent one is given
    length: float | None  # mean characters


class Certainty(TypedDict):
    mean: float | None
    calibration: Calibration
    auroc: float | None


class Diagnosis(TypedDict):
    queries: int
    reasons: dict[str, int]
    answers_with_reasons: float | None
    tokens: float | None
    cut_off: float | None
    identical_samples: float | None
    names: Names
    certainty: Certainty


def diagnose(rows: Sequence[Row], truth: Annotations) -> Diagnosis:
    """`predict`'s rows and the annotations they were asked about. Shares lie in [0, 1].

    All questions are alike, so that equal answers are no fault; how much the most frequent one is given (`one_name`)
    can be. None stands where there is nothing to measure.
    """
    known = {normalised(name) for category in truth.categories.values() for name in spoken(category)}
    said = [normalised(row["said"]) for row in rows]
    named = [name for name in said if name]
    certainty = np.array([row["certainty"] for row in rows])
    right = np.array([_right(row, truth) for row in rows], dtype=bool)
    agreement = [row["agreement"] for row in rows if "agreement" in row]
    return {
        "queries": len(rows),
        "reasons": dict(sorted(Counter(reason for row in rows for reason in row["reasons"]).items())),
        "answers_with_reasons": mean([bool(row["reasons"]) for row in rows]),
        "tokens": mean([row["tokens"] for row in rows]),
        "cut_off": mean([not CUT_OFF.isdisjoint(row["reasons"]) for row in rows]),
        "identical_samples": mean([value == 1 for value in agreement]),
        "names": {
            "empty": mean([not name for name in said]),
            "unknown": mean([name not in known for name in named]),
            "different": len(set(named)),
            "one_name": max(Counter(named).values()) / len(said) if named else None,
            "length": mean([len(name) for name in named]),
        },
        "certainty": {
            "mean": mean(certainty),
            "calibration": calibration(certainty, right),
            "auroc": auroc(certainty, right),
        },
    }


def _right(row: Row, truth: Annotations) -> bool:
    return row["category_id"] in truth.categories and same(row["said"], spoken(truth.categories[row["category_id"]]))


def health(completions: Sequence[Completion], truths: Sequence[Truth]) -> dict[str, float]:
    """What the answers of one generation batch look like.

    - `answers/empty`: share that gives no name.
    - `names/length`: mean characters of a name. Left out without names.
    - `names/different`: different names / different true classes.
    """
    names = [normalised(completion.parsed.name) for completion in completions]
    given = [name for name in names if name]
    found = {"answers/empty": 1 - len(given) / len(names) if names else 0.0}
    if given:
        found["names/length"] = sum(map(len, given)) / len(given)
        found["names/different"] = len(set(given)) / len({normalised(names[0]) for names in truths})
    return found


def measured(found: Diagnosis) -> dict[str, float | None]:
    """The values that `checks.LIMITS` are about, from `diagnose`; None where there is nothing to measure."""
    names = found["names"]
    return {"empty_names": names["empty"], "unknown_names": names["unknown"], "one_name": names["one_name"]}
