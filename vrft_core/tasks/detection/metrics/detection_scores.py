"""Detection as `Scores`: average precision under the LVIS and the COCO rules together, from finished matches.

`APr`, `APc` and `APf` average categories by their frequency in LVIS; `APtaught` and `APuntaught` those with few-shot
examples and those without, where there are both (what open-vocabulary papers call AP base and AP novel).
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

import numpy as np

from vrft_core.evaluation.scores import MetricSpec
from vrft_core.tasks.detection.metrics.average_precision import Matches, mean_precision

_FREQUENCIES = {"APr": "r", "APc": "c", "APf": "f"}
_TAUGHT = {"APtaught": True, "APuntaught": False}
_GROUPS = (*_FREQUENCIES, *_TAUGHT)
MEASURES = ("AP", "AP50", "AP75", *_GROUPS)


def ap_metric(name: str) -> MetricSpec:
    """`lvis/oracle/APr`: rules first, then how it was decided what to ask, last what is measured.

    The second may be missing. The bias of a mean over a group of categories is estimated over all of them.
    """
    rules, *presence, measure = name.split("/")
    if measure not in MEASURES:
        raise ValueError(f"{name!r} does not end in one of {', '.join(MEASURES)}")
    title = " ".join([rules.upper(), measure, *(f"({one} presence)" for one in presence)])
    pool = "/".join([rules, *presence, "AP"]) if measure in _GROUPS else None
    return MetricSpec(name, title, "ap", pool=pool, banded=measure in _FREQUENCIES)


class DetectionScores:
    """`Scores` of one model, K categories."""

    def __init__(self, matches: Mapping[str, Matches], names: Sequence[str], taught: Collection[int] = ()) -> None:
        """`matches`: by rules, about the same images and categories. `names`: see `ap_metric`. `taught`: ids."""
        first = next(iter(matches.values()))
        for one in matches.values():
            same_categories = [c["id"] for c in one.categories] == [c["id"] for c in first.categories]
            if not (same_categories and np.array_equal(one.image_ids, first.image_ids)):
                raise ValueError("the rules were matched on different images or categories")
        self.units = first.image_ids
        self.metrics = tuple(map(ap_metric, names))
        self._where = [(name.split("/")[0], name.split("/")[-1]) for name in names]
        self._matches = {rules: matches[rules] for rules, _ in dict.fromkeys(self._where)}
        self._groups = _groups(first.categories, set(taught))
        everyone = np.ones(len(first.categories), dtype=bool)
        self._members = np.array([self._groups.get(measure, everyone) for _, measure in self._where])  # [M, K]

    def values(self, weights: np.ndarray | None = None) -> np.ndarray:
        """[..., M], exactly as `Matches.headline`."""
        found = {}
        for rules, matches in self._matches.items():
            table = matches.precision_table(weights)
            values = matches.headline(table)
            found |= {(rules, measure): values[..., at] for at, measure in enumerate(matches.metrics)}
            found |= {(rules, one): mean_precision(table[..., self._groups[one], :]) for one in _TAUGHT}
        return np.stack([found[where] for where in self._where], axis=-1)

    def parts(self, weights: np.ndarray | None = None) -> np.ndarray:
        """AP by category [..., M, K]."""
        tables = {}
        for rules, matches in self._matches.items():
            table = matches.precision_table(weights)
            each = table.mean(axis=-1)
            tables |= {(rules, measure): each for measure in ("AP", *_GROUPS)}
            tables |= {(rules, "AP50"): table[..., 0], (rules, "AP75"): table[..., 5]}
        return np.where(self._members, np.stack([tables[where] for where in self._where], axis=-2), np.nan)

    @cached_property
    def support(self) -> np.ndarray:
        """[M, K]: images with an object of that category to be found."""
        return np.array([self._present[p].sum(axis=0) for p, _ in self._where]) * self._members

    @cached_property
    def counted(self) -> np.ndarray:
        """[M]: images with an object to be found."""
        pairs = zip(self._where, self._members, strict=True)
        return np.array([self._present[rules][:, members].any(axis=1).sum() for (rules, _), members in pairs])

    @cached_property
    def _present(self) -> dict[str, np.ndarray]:
        """Protocol → bool [N, K]"""
        found = {}
        for rules, one in self._matches.items():
            found[rules] = np.zeros((len(one.image_ids), len(one.categories)), dtype=bool)
            there = one.truth_counted[0]
            found[rules][one.truth_image[there], one.truth_category[there]] = True
        return found


def _groups(categories: list[dict], taught: set[int]) -> dict[str, np.ndarray]:
    """Measure → bool [K], the categories it averages; none are taught or untaught where all or none are."""
    groups = {
        measure: np.array([category.get("frequency") == letter for category in categories], dtype=bool)
        for measure, letter in _FREQUENCIES.items()
    }
    known = np.array([category["id"] in taught for category in categories], dtype=bool)
    divided = known.any() and not known.all()
    return groups | {measure: (known == value) & divided for measure, value in _TAUGHT.items()}
