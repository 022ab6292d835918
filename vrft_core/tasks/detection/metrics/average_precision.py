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
_COUNTS_AT_ONCE = 30_000  # rows of a batch of weightings: what stays in the processor's cache


@dataclass(frozen=True)
class Matches:
    """What became of each detection that counts, sorted by category, then by falling score.

    I images, K categories, D detections, G objects, A area ranges (all, small, medium, large), T IoU thresholds.
    `matching.match` makes these.
    """

    rules: str
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
    weight: np.ndarray | None = None  # [D], how often a detection counts where it is wrong; once where None

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
        return ("AP", "AP50", "AP75", *(f"AP{f}" for f in _FREQUENCIES if self.rules == "lvis"))

    @cached_property
    def names(self) -> list[str]:
        """Category names; two of one name are told apart by their ids."""
        names = [category["name"] for category in self.categories]
        return [c["name"] if names.count(c["name"]) == 1 else f"{c['name']} ({c['id']})" for c in self.categories]

    def headline(self, table: np.ndarray) -> np.ndarray:
        """Headline metrics [..., M] from precision tables [..., K, T]; NaN where nothing counts."""
        values = [mean_precision(table), _mean(table[..., 0], -1), _mean(table[..., 5], -1)]
        if self.rules == "lvis":
            frequency = np.array([category["frequency"] for category in self.categories])
            values += [mean_precision(table[..., frequency == letter, :]) for letter in _FREQUENCIES]
        return np.stack(values, axis=-1)

    def precision_table(self, weights: np.ndarray | None = None, area: int = 0) -> np.ndarray:
        """AP [K, T] for each category and IoU threshold, NaN without objects: mean precision at 101 recalls.

        Many weightings [B, I] at once give [B, K, T]. Precision at a recall is the highest at that recall or beyond
        (pycocotools, COCOeval.accumulate), and the highest always stands at a true positive: only there need it be
        computed.
        """
        weights = np.ones(len(self.image_ids)) if weights is None else np.asarray(weights, dtype=float)
        if weights.ndim == 1:
            return self._precision_tables(weights[None], area)[0]
        rows = max(len(self._hits[area].image), len(self.image), len(self.truth_image), 1)
        step = max(_COUNTS_AT_ONCE // rows, 1)
        chunks = [self._precision_tables(weights[at : at + step], area) for at in range(0, len(weights), step)]
        return np.concatenate(chunks) if chunks else np.empty((0, len(self.categories), len(self.outcome[area])))

    def _precision_tables(self, weights: np.ndarray, area: int) -> np.ndarray:
        """[B, K, T] for weights [B, I]: the segments of all weightings one after the other."""
        hits, positives = self._hits[area], self._positives(weights, area)
        table = np.where(positives > 0, 0.0, np.nan)[..., None] * np.ones(len(self.outcome[area]))
        # Without weight, a true positive adds no recall, and no precision above that of the one before it.
        weight = weights[:, hits.image].ravel()
        kept = np.flatnonzero(weight)
        if not len(kept):
            return table
        draw, hit = np.divmod(kept, len(hits.image))
        segment = draw * (hits.segment[-1] + 1) + hits.segment[hit]
        begins = np.append(True, segment[1:] != segment[:-1])
        first = np.flatnonzero(begins)
        length = np.diff(np.append(first, len(hit)))
        of, which = draw[first], np.searchsorted(hits.segment[hits.first], hits.segment[hit[first]])
        true = _running(weight[kept], first, length)
        listed = _cumulated(weights[:, self.image] * hits.listed)
        ignored = _cumulated(weights[:, hits.ignored_image] * hits.ignored)
        counted = _at(listed, draw, hits.listed_until[hit])
        before = _at(listed, of, hits.listed_from[which])
        if len(hits.ignored_image):
            counted -= _at(ignored, draw, hits.ignored_until[hit])
            before -= _at(ignored, of, hits.ignored_from[which])
        counted -= np.repeat(before, length)
        precision = _highest_to_come(true / (counted + np.spacing(1)), np.cumsum(begins))
        category = hits.category[which]
        recall = true / np.repeat(positives[of, category], length)
        reached = np.searchsorted(RECALLS, recall, side="right")
        gained = np.append(reached[0], reached[1:] - reached[:-1])
        gained[first] = reached[first]
        table[of, category, hits.threshold[which]] = np.add.reduceat(gained * precision, first) / len(RECALLS)
        return table

    def recall_table(self, area: int = 0, max_detections: int | None = None) -> np.ndarray:
        """Highest recall [K, T] with at most so many detections an image and category, NaN without objects."""
        positives = self._positives(np.ones((1, len(self.image_ids))), area)[0]
        hits = self._hits[area]
        allowed = slice(None) if max_detections is None else self.rank[hits.listed_until - 1] < max_detections
        thresholds, categories = len(self.outcome[area]), len(self.categories)
        found = np.bincount(hits.segment[allowed], minlength=thresholds * categories).reshape(thresholds, categories)
        return (found / np.where(positives > 0, positives, np.nan)).T

    def _positives(self, weights: np.ndarray, area: int) -> np.ndarray:
        """How many objects of each category are to be found, [B, K] for weights [B, I]."""
        counted = weights[:, self.truth_image] * self.truth_counted[area]
        shape = (len(weights), len(self.categories))
        place = np.arange(shape[0])[:, None] * shape[1] + self.truth_category
        return np.bincount(place.ravel(), counted.ravel(), minlength=shape[0] * shape[1]).reshape(shape)

    @cached_property
    def _hits(self) -> list["_Hits"]:
        return [_Hits.of(self, outcome) for outcome in self.outcome]


@dataclass(frozen=True)
class _Hits:
    """The true positives of one area range, and where to look up how many detections count before each.

    They are listed by threshold, category and falling score; a threshold and category make a segment.
    """

    image: np.ndarray  # [P] position in image_ids
    segment: np.ndarray  # [P], ascending
    first: np.ndarray  # [S], where each segment begins
    length: np.ndarray  # [S]
    threshold: np.ndarray  # [S]
    category: np.ndarray  # [S]
    listed: np.ndarray  # [D]: how often a detection counts, 0 for those that count at no threshold
    listed_from: np.ndarray  # [S], the segment's first detection
    listed_until: np.ndarray  # [P], just behind this detection
    ignored: np.ndarray  # [N]: how often each of these would have counted
    ignored_image: np.ndarray  # [N]: those among them that do not count, by threshold and detection
    ignored_from: np.ndarray  # [S]
    ignored_until: np.ndarray  # [P]

    @classmethod
    def of(cls, matches: Matches, outcome: np.ndarray) -> "_Hits":
        """`outcome`: uint8 [T, D]"""
        categories, detections = len(matches.categories), outcome.shape[1]
        category = np.repeat(np.arange(categories), np.diff(matches.starts))
        threshold, detection = np.nonzero(outcome == TRUE)
        segment = threshold * categories + category[detection]
        segments, first = np.unique(segment, return_index=True)
        listed = (outcome != IGNORED).any(axis=0)
        at, which = np.nonzero((outcome == IGNORED) & listed)
        place = at * detections + which
        begin = matches.starts[segments % categories]
        return cls(
            image=matches.image[detection],
            segment=segment,
            first=first,
            length=np.diff(np.append(first, len(segment))),
            threshold=segments // categories,
            category=segments % categories,
            listed=listed if matches.weight is None else listed * matches.weight,
            listed_from=begin,
            listed_until=detection + 1,
            ignored=np.ones(len(which)) if matches.weight is None else matches.weight[which],
            ignored_image=matches.image[which],
            ignored_from=np.searchsorted(place, segments // categories * detections + begin),
            ignored_until=np.searchsorted(place, threshold * detections + detection),
        )


def summary(matches: Matches) -> dict[str, float | None]:
    """The whole family under the names of pycocotools (`AR@100`) and of lvis-api (`AR@300`); None for their -1."""
    values = dict(zip(matches.metrics, matches.headline(matches.precision_table()), strict=True))
    areas = list(enumerate(_AREAS))[1:]
    values |= {f"AP{name[0]}": _mean(matches.precision_table(area=area)) for area, name in areas}
    cap = 100 if matches.rules == "coco" else 300
    if matches.rules == "coco":
        values |= {f"AR@{n}": _mean(matches.recall_table(max_detections=n)) for n in (1, 10)}
    values[f"AR@{cap}"] = _mean(matches.recall_table())
    values |= {f"AR{name[0]}@{cap}": _mean(matches.recall_table(area)) for area, name in areas}
    return dict(zip(values, _none(values.values()), strict=True))


def published_lvis(matches: Matches) -> dict:
    """AP as Visual-RFT's LVIS notebook had it: a category's mean over the four area ranges, empty ones dropped.

    Not LVIS AP; for comparison with the paper's tables 4 and 8 only. {"AP", "per_category"}
    """
    tables = np.stack([matches.precision_table(area=area) for area in range(len(_AREAS))], axis=1)
    each = np.asarray(_mean(tables.reshape(len(tables), -1), axis=1))
    return {"AP": _none([_mean(each)])[0], "per_category": dict(zip(matches.names, _none(each), strict=True))}


def mean_precision(table: np.ndarray) -> np.ndarray:
    """AP [...] from a precision table [..., K, T]; NaN where no category has an object."""
    return np.asarray(_mean(table.reshape((*table.shape[:-2], -1)), -1))


def _cumulated(values: np.ndarray) -> np.ndarray:
    """Cumulative sums of rows [B, D], from 0: [B, D + 1]."""
    total = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=total[:, 1:])
    return total


def _at(table: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    return table.ravel()[row * table.shape[1] + column]


def _running(values: np.ndarray, first: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Cumulative sums that restart at each segment."""
    total = np.cumsum(values)
    return total - np.repeat(np.where(first > 0, total[first - 1], 0), length)


def _highest_to_come(values: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """The highest of this value and those behind it in the same segment; values lie in [0, 1], segments ascend.

    Backwards, each segment is lifted above the one before, so that one running maximum serves all. It only says
    where the highest stands; the value is read from there, unrounded. (The lift costs 12 decimals at most: enough to
    tell apart any two precisions of a category with fewer than half a million detections.)
    """
    backwards = values[::-1] + 2.0 * (segment[-1] - segment[::-1])
    highest = backwards == np.maximum.accumulate(backwards)
    place = np.maximum.accumulate(np.where(highest, np.arange(len(values)), 0))
    return values[::-1][place][::-1]


def _mean(values: np.ndarray, axis: int | None = None) -> np.ndarray | float:
    """Mean of what is not NaN; NaN where nothing is left."""
    there = ~np.isnan(values)
    count = there.sum(axis=axis)
    return np.where(count > 0, np.where(there, values, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)[()]


def _none(values) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
