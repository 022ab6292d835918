"""Average precision and recall, counted from matches, as pycocotools and lvis-api define them.

Counting only: images may carry weights, so that a resample is a new count and never a new match.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

FALSE, TRUE, IGNORED = 0, 1, 2
RECALLS = np.linspace(0.0, 1.0, 101)
_AREAS = ("all", "small", "medium", "large")
_FREQUENCIES = ("r", "c", "f")


@dataclass(frozen=True)
class Matches:
    """What became of each detection that counts, sorted by category, then by falling score.

    I images, K categories, D detections, G objects, A area ranges (all, small, medium, large), T IoU thresholds.
    `matching.match` makes these.
    """

    protocol: str
    image_ids: np.ndarray  # [I], every evaluated image, ascending
    categories: list[dict]  # [K], ascending by id
    row: np.ndarray  # [D], position in the list of detections
    image: np.ndarray  # [D], position in image_ids
    score: np.ndarray  # [D]
    rank: np.ndarray  # [D], within its image and category, by falling score
    starts: np.ndarray  # [K + 1], where each category's detections begin
    outcome: np.ndarray  # uint8 [A, T, D]: FALSE, TRUE or IGNORED
    truth_image: np.ndarray  # [G], position in image_ids
    truth_category: np.ndarray  # [G], position in categories
    truth_counted: np.ndarray  # bool [A, G]: object to be found

    def average_precision(self, weights: np.ndarray | None = None) -> dict:
        """AP, AP50, AP75 (and APr, APc, APf for LVIS) in [0, 1], and `per_category`: {name: AP}.

        None where no category has an object to be found. `weights`: how often each image counts, [I] integers.
        """
        table = self.precision_table(weights)
        values = dict(zip(self.metrics, _none(self.headline(table)), strict=True))
        return {**values, "per_category": dict(zip(self.names, _none(_mean(table, axis=1)), strict=True))}

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the headline metrics."""
        return ("AP", "AP50", "AP75", *(f"AP{f}" for f in _FREQUENCIES if self.protocol == "lvis"))

    @cached_property
    def names(self) -> list[str]:
        """Category names; two of one name are told apart by their ids."""
        names = [category["name"] for category in self.categories]
        return [c["name"] if names.count(c["name"]) == 1 else f"{c['name']} ({c['id']})" for c in self.categories]

    def headline(self, table: np.ndarray) -> np.ndarray:
        """Headline metrics [M] from a precision table; NaN where nothing counts."""
        values = [_mean(table), _mean(table[:, 0]), _mean(table[:, 5])]
        if self.protocol == "lvis":
            frequency = np.array([category["frequency"] for category in self.categories])
            values += [_mean(table[frequency == letter]) for letter in _FREQUENCIES]
        return np.array(values)

    def precision_table(self, weights: np.ndarray | None = None, area: int = 0) -> np.ndarray:
        """AP [K, T] for each category and IoU threshold, NaN without objects: mean precision at 101 recalls.

        Precision at a recall is the highest at that recall or beyond (pycocotools accumulate). That highest one stands
        at a true positive, so only detections that are one at some threshold are looked at; the rest are summed.
        """
        weights = np.ones(len(self.image_ids)) if weights is None else np.asarray(weights, dtype=float)
        positives = self._positives(weights, area)
        varying, hit, miss, always_false, segments = self._summary[area]
        table = np.where(positives > 0, 0.0, np.nan)[:, None] * np.ones(hit.shape[0])
        if not len(varying):
            return table
        categories, first = segments
        length = np.diff(np.append(first, len(varying)))
        weight = weights[self.image[varying]]
        before = np.concatenate([[0], np.cumsum(weights[self.image] * always_false)])
        false = before[varying] - np.repeat(before[self.starts[categories]], length)
        true = _running(hit * weight, first, length)
        false = false + _running(miss * weight, first, length)
        precision = true / (false + true + np.spacing(1))
        for start, stop in zip(first, first + length, strict=True):
            backwards = precision[:, start:stop][:, ::-1]
            np.maximum.accumulate(backwards, axis=1, out=backwards)
        total = positives[categories]
        recall = true / np.repeat(np.where(total > 0, total, np.nan), length)
        reached = np.searchsorted(RECALLS, recall, side="right")
        gained = np.diff(reached, axis=1, prepend=0)
        gained[:, first] = reached[:, first]
        area_under = np.add.reduceat(gained * precision, first, axis=1) / len(RECALLS)
        table[categories] = np.where(total > 0, area_under, np.nan).T
        return table

    def recall_table(self, area: int = 0, max_detections: int | None = None) -> np.ndarray:
        """Highest recall [K, T] with at most so many detections an image and category, NaN without objects."""
        positives = self._positives(np.ones(len(self.image_ids)), area)
        true = self.outcome[area] == TRUE
        if max_detections is not None:
            true &= self.rank < max_detections
        total = np.concatenate([np.zeros((len(true), 1)), np.cumsum(true, axis=1)], axis=1)
        found = total[:, self.starts[1:]] - total[:, self.starts[:-1]]
        return (found / np.where(positives > 0, positives, np.nan)).T

    def _positives(self, weights: np.ndarray, area: int) -> np.ndarray:
        """How many objects of each category are to be found, [K]."""
        counted = weights[self.truth_image] * self.truth_counted[area]
        return np.bincount(self.truth_category, counted, minlength=len(self.categories))

    @cached_property
    def _summary(self) -> list[tuple]:
        """For each area range what resampling needs again and again."""
        summaries = []
        for outcome in self.outcome:
            always_false = (outcome == FALSE).all(axis=0)
            varying = np.flatnonzero(~always_false & ~(outcome == IGNORED).all(axis=0))
            category = np.searchsorted(self.starts, varying, side="right") - 1
            segments = np.unique(category, return_index=True)
            part = outcome[:, varying]
            summaries.append((varying, part == TRUE, part == FALSE, always_false, segments))
        return summaries


def summary(matches: Matches) -> dict[str, float | None]:
    """The whole family under the names of pycocotools (`AR@100`) and of lvis-api (`AR@300`); None for their -1."""
    values = dict(zip(matches.metrics, matches.headline(matches.precision_table()), strict=True))
    areas = list(enumerate(_AREAS))[1:]
    values |= {f"AP{name[0]}": _mean(matches.precision_table(area=area)) for area, name in areas}
    cap = 100 if matches.protocol == "coco" else 300
    if matches.protocol == "coco":
        values |= {f"AR@{n}": _mean(matches.recall_table(max_detections=n)) for n in (1, 10)}
    values[f"AR@{cap}"] = _mean(matches.recall_table())
    values |= {f"AR{name[0]}@{cap}": _mean(matches.recall_table(area)) for area, name in areas}
    return dict(zip(values, _none(values.values()), strict=True))


def published_lvis(matches: Matches) -> dict:
    """AP as Visual-RFT's LVIS notebook had it: a category's mean over the four area ranges, empty ones dropped.

    Not LVIS AP; for comparison with the paper's tables 4 and 8 only. {"AP", "per_category"}
    """
    tables = np.stack([matches.precision_table(area=area) for area in range(len(_AREAS))], axis=1)
    each = _mean(tables.reshape(len(tables), -1), axis=1)
    return {"AP": _none([_mean(each)])[0], "per_category": dict(zip(matches.names, _none(each), strict=True))}


def _running(values: np.ndarray, first: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Cumulative sums [T, V] that begin anew at each segment."""
    total = np.cumsum(values, axis=1)
    before = np.where(first > 0, total[:, first - 1], 0)
    return total - np.repeat(before, length, axis=1)


def _mean(values: np.ndarray, axis: int | None = None) -> np.ndarray | float:
    """Mean of what is not NaN; NaN where nothing is left."""
    there = ~np.isnan(values)
    count = there.sum(axis=axis)
    return np.where(count > 0, np.where(there, values, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)[()]


def _none(values) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
