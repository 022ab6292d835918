"""Which detection finds which object, by the rules of pycocotools and of lvis-api, for all images at once.

Matching happens once; what follows from it (average precision, resampling) only counts and belongs elsewhere.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from vrft_core.annotations import Annotations
from vrft_core.boxes import iou
from vrft_core.errors import InputError
from vrft_core.tasks.detection.metrics.average_precision import FALSE, IGNORED, TRUE, Matches
from vrft_core.tasks.detection.metrics.columns import Detections, Truth, positions

# np.arange would put thresholds slightly above their true value (pycocotools cocoeval.py, lvis eval.py).
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
MAX_DETECTIONS = {"coco": 100, "lvis": 300}  # an image and category; an image over all categories
_PAIRS_AT_ONCE = 100_000  # what stays in the processor's cache


def match(
    ground_truth: "Truth | Annotations | dict",
    detections: "Detections | list[dict]",
    rules: str,
    category_ids: list[int] | None = None,
    where: object = "detections",
) -> Matches:
    """Assign detections to objects at IoU .50:.05:.95.

    `ground_truth`: COCO or LVIS v1 JSON as a dict, Annotations, or Truth. `detections`: rows of image_id, category_id,
    bbox (xywh pixels, as in COCO results files) and score, or Detections. `category_ids` restricts the evaluation;
    the cap of 300 an image still counts all detections, as in lvis-api. `where` names the detections in errors.

    Equal scores keep the order of the list. Detections of categories that the ground truth does not know are left
    out. Raises InputError on malformed rows and on images that the ground truth does not know.

    Rules: pycocotools 2.0.11 `COCOeval.evaluateImg` (100 detections an image and category, crowds match often and
    count never); lvis-api 0.5.3 `LVISEval`, `LVISResults` (300 detections an image over all categories; only
    categories verified in an image count there; unmatched detections of a category that is not exhaustively annotated
    there are ignored; objects and detections of area 0 are left out, so that such an object verifies no category, but
    such a detection takes one of the 300 places). One deviation: an annotation whose id is 0 can be found here;
    pycocotools takes id 0 for 'no match'.
    """
    truth = ground_truth if isinstance(ground_truth, Truth) else Truth.of(ground_truth, rules)
    if truth.rules != rules:
        raise ValueError(f"ground truth read for {truth.rules}, matching asked for {rules}")
    found = detections if isinstance(detections, Detections) else Detections.of(detections, where)
    known, width = truth.category_ids, len(truth.categories)
    wanted = known if category_ids is None else np.array(category_ids, dtype=np.int64)
    if not np.isin(wanted, known).all():
        raise InputError("category_ids", f"{wanted[~np.isin(wanted, known)][0]} is not in the ground truth")

    image = positions(found.image_id, truth.image_ids, str(where), "image_id", "images")
    keep = np.isin(found.category_id, wanted)
    if rules == "lvis":
        keep &= _among_best(MAX_DETECTIONS["lvis"], image, found.score)
    row = np.flatnonzero(keep)
    pair = image[row] * width + np.searchsorted(known, found.category_id[row])
    truth_pair = truth.image * width + truth.category
    solid = truth.area > 0 if rules == "lvis" else np.ones(len(truth.area), dtype=bool)
    if rules == "lvis":
        verified = np.isin(pair, np.concatenate([truth.negatives, truth_pair[solid]])) & (
            found.box[row, 2:].prod(1) > 0
        )
        row, pair = row[verified], pair[verified]
    order = np.lexsort((-found.score[row], pair))
    row, pair = row[order], pair[order]
    rank = _within(pair)
    if rules == "coco":
        keep = rank < MAX_DETECTIONS["coco"]
        row, pair, rank = row[keep], pair[keep], rank[keep]

    objects = np.flatnonzero(np.isin(truth.category, np.searchsorted(known, wanted)) & solid)
    objects = objects[np.argsort(truth_pair[objects], kind="stable")]
    box, crowd = found.box[row], truth.crowd[objects]
    candidates = _candidates(pair, box, truth_pair[objects], truth.box[objects], crowd)
    area, size = truth.area[objects], box[:, 2] * box[:, 3]
    partial = np.isin(pair, truth.not_exhaustive)
    outcome = np.empty((len(AREAS), len(IOU_THRESHOLDS), len(row)), dtype=np.uint8)
    counted = np.empty((len(AREAS), len(objects)), dtype=bool)
    for index, (low, high) in enumerate(AREAS.values()):
        counted[index] = ~truth.ignored[objects] & (area >= low) & (area <= high)
        unmatched = np.where((size < low) | (size > high) | partial, IGNORED, FALSE).astype(np.uint8)
        outcome[index] = _assign(pair, candidates, ~counted[index], crowd, unmatched)

    # pycocotools' order within a category: falling score, then image id, then rank in the image.
    order = np.lexsort((-found.score[row], pair % width))
    index = np.searchsorted(known, np.unique(wanted))
    starts = np.searchsorted((pair % width)[order], index)
    return Matches(
        rules=rules,
        image_ids=truth.image_ids,
        categories=[truth.categories[k] for k in index],
        row=row[order],
        image=(pair // width)[order],
        score=found.score[row][order],
        rank=rank[order],
        starts=np.append(starts, len(row)),
        outcome=outcome[:, :, order],
        truth_image=truth.image[objects],
        truth_category=np.searchsorted(index, truth.category[objects]),
        truth_counted=counted,
    )


def _among_best(limit: int, group: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Which elements are among so many of the highest score in their group; ties in order of appearance."""
    best = np.ones(len(group), dtype=bool)
    crowded = np.flatnonzero((np.bincount(group) > limit)[group])
    order = crowded[np.lexsort((-score[crowded], group[crowded]))]
    best[order] = _within(group[order]) < limit
    return best


def _within(group: np.ndarray) -> np.ndarray:
    """0, 1, 2, … within each run of equal values."""
    if not len(group):
        return np.empty(0, dtype=np.int64)
    first = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    return np.arange(len(group)) - np.repeat(first, np.diff(np.append(first, len(group))))


def _candidates(pair: np.ndarray, box: np.ndarray, truth_pair: np.ndarray, truth_box: np.ndarray, crowd: np.ndarray):
    """(detection, object, IoU) of one image and category with IoU of .5 or more, each detection's best one last."""
    first = np.searchsorted(truth_pair, pair, side="left")
    count = np.searchsorted(truth_pair, pair, side="right") - first
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for chunk in _chunks(count):
        detection = np.repeat(np.arange(chunk.start, chunk.stop), count[chunk])
        target = np.repeat(first[chunk], count[chunk]) + _within(detection)
        overlap = iou(box[detection], truth_box[target], crowd[target])
        close = overlap >= IOU_THRESHOLDS[0]
        parts.append((detection[close], target[close], overlap[close]))
    detection, target, overlap = (np.concatenate(column) for column in zip(*parts, strict=True))
    # Among equal overlaps the references take the later object.
    order = np.lexsort((target, overlap, detection))
    return detection[order], target[order], overlap[order]


def _chunks(count: np.ndarray) -> Iterator[slice]:
    """Slices of detections with few pairs each, so that memory stays bounded."""
    total = np.cumsum(count)
    cuts = np.searchsorted(total, np.arange(_PAIRS_AT_ONCE, total[-1] if len(total) else 0, _PAIRS_AT_ONCE))
    edges = np.unique(np.concatenate([[0], cuts, [len(count)]]))
    yield from (slice(a, b) for a, b in pairwise(edges))


def _assign(pair: np.ndarray, candidates: tuple, ignored: np.ndarray, crowd: np.ndarray, unmatched: np.ndarray):
    """Outcome [T, D]: by falling score, each detection takes the free object that it overlaps most.

    An object that counts is preferred to an ignored one. All images advance together: one round for each rank.
    """
    detection, target, overlap = candidates
    outcome = np.repeat(unmatched[:, None], len(IOU_THRESHOLDS), axis=1)
    taken = np.zeros((len(ignored), len(IOU_THRESHOLDS)), dtype=bool)
    rivals, segment = np.unique(detection, return_inverse=True)
    turn = _within(pair[rivals])[segment]
    order = np.argsort(turn, kind="stable")
    for edge in np.split(order, np.flatnonzero(np.diff(turn[order])) + 1) if len(order) else []:
        who, what = detection[edge], target[edge]
        free = (overlap[edge, None] >= IOU_THRESHOLDS) & ~(taken[what] & ~crowd[what, None])
        place = np.arange(1, len(edge) + 1)
        preference = np.where(free, (place + np.where(ignored[what], 0, len(edge)))[:, None], 0)
        first = np.flatnonzero(np.append(True, who[1:] != who[:-1]))
        best = np.maximum.reduceat(preference, first)
        at, threshold = np.nonzero(best)
        choice = (best[at, threshold] - 1) % len(edge)
        outcome[who[choice], threshold] = np.where(ignored[what[choice]], IGNORED, TRUE)
        taken[what[choice], threshold] = True
    return outcome.T
