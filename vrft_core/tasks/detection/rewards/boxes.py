"""Rewards for detection: how well the boxes of an answer fit the true ones, and whether its confidences are earned.

Functions of (completion, truth) with values in [0, 1], and None for 'does not apply'; truth is a list of xyxy boxes in
the answer's frame, empty where the image holds no such object. There 'No Objects' earns 1.0 and anything else 0.0,
whatever the reward.
No text is looked at here.
"""

from bisect import bisect_left
from collections.abc import Sequence
from operator import itemgetter

from vrft_core.tasks.box_answers import Box, Detection
from vrft_core.tasks.completion import Completion

PUBLISHED_GATE = 0.5
MANY = 8  # true boxes from which on it pays to skip those out of reach
AP_THRESHOLDS = tuple((50 + 5 * step) / 100 for step in range(10))
_BOX, _CONFIDENCE = itemgetter(0), itemgetter(1)


def iou(completion: Completion, truth: Sequence[Box], gate: float = PUBLISHED_GATE) -> float:
    """Sum of the IoU of matched boxes / max(true, predicted); arXiv 2503.01785 as its code has it, without the faults.

    Boxes are matched as in `match`; a match at IoU <= gate earns nothing, and gate 0.0 makes the reward dense.
    Boxes that the parser refused, repeated ones among them, count as predicted.
    """
    parsed = completion.parsed
    if not truth:
        return 1.0 if parsed.says_none else 0.0
    total = 0.0
    for overlap, _ in _pairs(completion, truth, gate):
        total += overlap
    predicted = len(parsed.detections) + parsed.dropped
    return total / (predicted if predicted > len(truth) else len(truth))


def iou_dense(completion: Completion, truth: Sequence[Box]) -> float:
    """`iou` without a gate: every overlap earns its IoU."""
    return iou(completion, truth, gate=0.0)


def confidence(completion: Completion, truth: Sequence[Box]) -> float:
    """Confidence staked on found objects minus confidence staked on wrong boxes, per true object, at least 0.0.

    The published linear rule (found: c, wrong: 1 - c, mean over predictions) less what it pays for being wrong: its
    slope in c is the same, but silence, junk at confidence 0 and missed objects earn nothing. Linear, so not proper:
    the best statement is 1 or 0. Found means IoU > 0.5. A wrong box without usable confidence counts as staking 1.
    """
    parsed = completion.parsed
    if not truth:
        return 1.0 if parsed.says_none else 0.0
    staked = 0.0
    for overlap, (_, stated, usable) in _pairs(completion, truth, PUBLISHED_GATE):
        staked += stated if overlap else -stated if usable else -1.0
    return staked / len(truth) if staked > 0 else 0.0


def confidence_brier(completion: Completion, truth: Sequence[Box]) -> float:
    """Proper: the best confidence to state for a box is the chance that it is right (Brier's rule).

    (1 + gain / true objects) / 2, where a found box (IoU > 0.5) gains 1 - (1 - c)^2 and a wrong one loses c^2, losses
    limited to the number of true objects. A missed object gains nothing. 'No Objects' where there are objects is
    wrong with certainty and earns 0.0. A proper rule must tell an unsure wrong box from a sure one, so any answer with
    a box at confidence 0 has 0.5 here: adding a wrong box never raises the reward except from no box at all.
    """
    parsed = completion.parsed
    if not truth:
        return 1.0 if parsed.says_none else 0.0
    if not parsed.detections:
        return 0.0
    gain = 0.0
    for overlap, (_, stated, usable) in _pairs(completion, truth, PUBLISHED_GATE):
        gain += stated * (2.0 - stated) if overlap else -stated * stated if usable else -1.0
    return (1.0 + max(-1.0, gain / len(truth))) / 2.0


def ranking(completion: Completion, truth: Sequence[Box]) -> float | None:
    """Whether the stated confidences rank the boxes of the whole group by their true overlap, per true object.

    Each box is compared with every box of the group's *other* answers whose overlap differs; its share is how often the
    one that fits better is stated surer, half for equal confidences. A found box earns its share, a wrong one loses
    what its share lacks of 1; the sum is divided by the number of true objects and is at least 0.0. Found, and the
    overlap compared, is the matched IoU where that is above 0.5; all wrong boxes count as equal. None where no box can
    be compared, as where `completion.group` is not set; an answer without boxes earns 0.0.

    Against its own boxes nothing is compared, else a wrong box at confidence 0 would be one more that the found ones
    outrank. So no wrong or repeated box raises the reward of its own answer, though it may raise another's. What cannot
    hold here: a better fitting box earns more only if its confidence goes with it, and an answer is worth more or less
    by the company it is in. Values of different questions' boxes are never compared.
    """
    parsed = completion.parsed
    if not truth:
        return 1.0 if parsed.says_none else 0.0
    if not parsed.detections:
        return 0.0
    others = [
        (overlap, stated)
        for answer in completion.group
        if answer is not completion
        for overlap, (_, stated, _) in _pairs(answer, truth, PUBLISHED_GATE)
    ]
    earned, compared = 0.0, False
    for overlap, (_, stated, usable) in _pairs(completion, truth, PUBLISHED_GATE):
        share = _ranked_right(overlap, stated, others)
        if share is not None:
            compared = True
            share = share if usable else 0.0
            earned += share if overlap else share - 1.0
    if not compared:
        return None
    return max(0.0, earned / len(truth))


def _ranked_right(overlap: float, stated: float, others: Sequence[tuple[float, float]]) -> float | None:
    """Share of the (overlap, confidence) pairs of other overlap that lie on the right side; None without any."""
    right = compared = 0.0
    for other, other_stated in others:
        if other != overlap:
            compared += 1.0
            right += 0.5 if stated == other_stated else (stated > other_stated) == (overlap > other)
    return right / compared if compared else None


def average_precision(completion: Completion, truth: Sequence[Box]) -> float:
    """AP of this one answer, mean over IoU .50:.05:.95, times true / (true + false positives) at each threshold.

    AP is the area under the interpolated precision-recall curve, boxes ranked by confidence. The factor makes every
    false positive cost, also one ranked below all found objects.
    """
    parsed = completion.parsed
    if not truth:
        return 1.0 if parsed.says_none else 0.0
    total = 0.0
    for threshold in AP_THRESHOLDS:
        hits = [overlap > 0 for overlap, _ in match(parsed.detections, truth, threshold, inclusive=True)]
        found = sum(hits)
        best = area = 0.0
        for rank in range(len(hits), 0, -1):
            if hits[rank - 1]:
                best = max(best, sum(hits[:rank]) / rank)
                area += best
        false = len(hits) + parsed.dropped - found
        total += area / (len(truth) + false)
    return total / len(AP_THRESHOLDS)


NO_BOX: Box = (0.0, 0.0, 0.0, 0.0)


def match(
    detections: Sequence[Detection], truth: Sequence[Box], gate: float, inclusive: bool = False
) -> list[tuple[float, Detection]]:
    """Pair boxes greedily: (IoU with the true box it takes, or 0.0; detection), most confident first.

    Each detection in turn takes the best true box that is still free, if their IoU > gate (>= gate if inclusive).
    Equal confidences go by their boxes, left to right: neither the answer's order nor the truth's matters.
    """
    free, left_edges = list(truth), None
    if len(free) > MANY:  # floats, since each will be compared often, and comparing floats with integers is slow
        free = sorted([(float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in free])
        left_edges = [box[0] for box in free]
    ranked = list(detections)
    if len(ranked) > 1:
        ranked.sort(key=_BOX)
        ranked.sort(key=_CONFIDENCE, reverse=True)
    matched = []
    for detection in ranked:
        x1, y1, x2, y2 = detection[0]
        best, taken = 0.0, NO_BOX
        near = free
        if left_edges:  # IoU > gate needs a width <= (x2 - x1) / gate: no box that begins further left can reach it
            first = bisect_left(left_edges, x1 - (x2 - x1) / gate) if gate else 0
            near = free[first : bisect_left(left_edges, x2, first)]
        for box in near:
            tx1, ty1, tx2, ty2 = box
            if tx1 < x2 and tx2 > x1 and ty1 < y2 and ty2 > y1:
                width = (x2 if x2 < tx2 else tx2) - (x1 if x1 > tx1 else tx1)
                overlap = width * ((y2 if y2 < ty2 else ty2) - (y1 if y1 > ty1 else ty1))
                overlap /= (x2 - x1) * (y2 - y1) + (tx2 - tx1) * (ty2 - ty1) - overlap
                if overlap > best or (overlap == best > 0 and tuple(box) < tuple(taken)):
                    best, taken = overlap, box
        if best > gate or (inclusive and best >= gate and best):
            index = bisect_left(free, taken) if left_edges else free.index(taken)
            del free[index]
            if left_edges:
                del left_edges[index]
            matched.append((best if best < 1.0 else 1.0, detection))
        else:
            matched.append((0.0, detection))
    return matched


def _pairs(completion: Completion, truth: Sequence[Box], gate: float) -> list[tuple[float, Detection]]:
    """`match`, done once for all rewards that ask for the same gate."""
    kept = completion.pairings.get(gate)
    if kept is None or kept[0] is not truth:
        kept = completion.pairings[gate] = (truth, match(completion.parsed.detections, truth, gate))
    return kept[1]
