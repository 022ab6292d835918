"""What boxes are ranked by: the confidence a model states, or what its own probabilities say about the box.

All scores but `consistency` come out of the one pass that writes the answer, and are read off it in `answers`. Fitting
`combined` belongs to the module of that name, average precision to `average_precision`.

| ranking       | score of a box, in [0, 1]                                                            |
|---------------|--------------------------------------------------------------------------------------|
| `stated`      | the confidence in the answer                                                         |
| `likelihood`  | geometric mean, over the four coordinates, of their probabilities                    |
| `certainty`   | exp(-H), H the mean entropy of the four coordinates' distributions, times the        |
|               | probability that there is anything at all, as the model saw it where it decided      |
| `combined`    | predicted IoU, from the above, the box's size and their number; see `combined`        |
| `consistency` | mean IoU with the nearest box of each of n sampled answers: n more passes            |
| `oracle`      | highest IoU with a true box: what the best of all rankings would give, never a score |
"""

from collections.abc import Sequence

from vrft_core.annotations import Annotations
from vrft_core.boxes import iou, xywh
from vrft_core.errors import InputError
from vrft_core.tasks.detection.answers import Row

FREE = ("stated", "likelihood", "certainty")  # no pass of their own


def ranked(rows: Sequence[Row], ranking: str) -> list[Row]:
    """Prediction rows with that ranking's scores in the place of the stated ones. Raises InputError without them."""
    if ranking == "stated":
        return list(rows)
    if any(ranking not in row.get("rankings", {}) for row in rows):
        raise InputError("predictions", f"hold no scores called {ranking!r}", "evaluate the model again")
    return [{**row, "scores": row.get("rankings", {})[ranking]} for row in rows]


def by_truth(rows: Sequence[Row], truth: Annotations) -> list[Row]:
    """Rows ranked as only the truth can: each box by its highest IoU with an object of its category."""
    found = []
    for row in rows:
        objects = xywh(truth.boxes(row["image_id"], row["category_id"]))
        highest = iou(xywh(row["boxes"])[:, None], objects[None]).max(axis=1, initial=0)
        found.append({**row, "scores": highest.tolist()})
    return found
