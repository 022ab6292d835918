"""What boxes are ranked by: the confidence a model states, or what its own probabilities say about the box.

All scores but `consistency` come out of the one pass that writes the answer. Generating belongs to `decoding`, fitting
`combined` to `calibration`, average precision to `average_precision`.

| ranking       | score of a box, in [0, 1]                                                            |
|---------------|--------------------------------------------------------------------------------------|
| `stated`      | the confidence in the answer                                                         |
| `likelihood`  | geometric mean, over the four coordinates, of their probabilities                    |
| `certainty`   | exp(-H), H the mean entropy of the four coordinates' distributions                   |
| `combined`    | overlap foretold from the above, the box's size and their number; see `calibration`  |
| `consistency` | mean IoU with the nearest box of each of n sampled answers: n more passes            |
| `oracle`      | highest IoU with a true box: what the best of all rankings would give, never a score |
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from vrft_core.annotations import Annotations
from vrft_core.errors import InputError
from vrft_core.evaluation.matching import iou, xywh

FREE = ("stated", "likelihood", "certainty")  # no pass of their own
_NUMBER = r"[+-]?[0-9]{1,18}+(?:\.[0-9]{0,18}+)?+"
_FOUR = re.compile(
    rf"[\[(]\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+[\])]?+\s*+,\s*+[\[(]?+\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+[\])]"
)
DIGITS = 6


def token_scores(
    text: str,
    boxes: Sequence[Sequence[float]],
    places: Sequence[tuple[int, int]],
    logprobs: Sequence[float],
    entropies: Sequence[float],
) -> dict[str, list[float]]:
    """{"likelihood", "certainty"} of each box, from the tokens that spell its coordinates.

    `boxes` are as the parser read them, in the answer's frame; `places` says where in `text` each token stands. A box
    whose numbers cannot be found there in one piece gets 0: it ranks last.
    """
    written: dict[tuple[float, ...], tuple[int, int]] = {}
    for found in _FOUR.finditer(text):
        written.setdefault(tuple(map(float, found.groups())), (found.start(1), found.end(4)))
    scores: dict[str, list[float]] = {"likelihood": [], "certainty": []}
    for box in boxes:
        span = written.get(tuple(box))
        tokens = [i for i, (start, end) in enumerate(places) if span and start < span[1] and end > span[0]]
        for name, values in (("likelihood", logprobs), ("certainty", [-entropy for entropy in entropies])):
            total = sum(values[i] for i in tokens)
            scores[name].append(round(float(np.exp(total / 4)), DIGITS) if tokens else 0.0)
    return scores


def places(tokenizer: Any, tokens: Sequence[int], text: str) -> list[tuple[int, int]]:
    """Start and end of each token in the decoded `text`; characters that several tokens spell belong to the last."""
    if not tokens:
        return []
    pieces = tokenizer.batch_decode([[token] for token in tokens], skip_special_tokens=True)
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    if "".join(pieces) != text:  # a character is spread over tokens
        starts = (tokenizer.decode(tokens[: i + 1], skip_special_tokens=True) for i in range(len(tokens)))
        ends = [len(start.rstrip("�")) for start in starts]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def consistency(boxes: Sequence[Sequence[float]], samples: Sequence[Sequence[Sequence[float]]]) -> list[float]:
    """Mean over sampled answers of each box's highest IoU with one of their boxes; xyxy of one frame."""
    own = xywh(boxes)[:, None]
    highest = [iou(own, xywh(sample)[None]).max(axis=1, initial=0) for sample in samples]
    return [round(float(value), DIGITS) for value in np.mean(highest, axis=0)]


def ranked(rows: Sequence[dict], ranking: str) -> list[dict]:
    """Prediction rows with that ranking's scores in the place of the stated ones. Raises InputError without them."""
    if ranking == "stated":
        return list(rows)
    if any(ranking not in row.get("rankings", {}) for row in rows):
        raise InputError("predictions", f"hold no scores called {ranking!r}", "evaluate the model again")
    return [row | {"scores": row["rankings"][ranking]} for row in rows]


def by_truth(rows: Sequence[dict], truth: Annotations) -> list[dict]:
    """Rows ranked as only the truth can: each box by its highest IoU with an object of its category."""
    found = []
    for row in rows:
        objects = xywh(truth.boxes(row["image_id"], row["category_id"]))
        found.append(row | {"scores": iou(xywh(row["boxes"])[:, None], objects[None]).max(axis=1, initial=0).tolist()})
    return found
