"""Which questions a model answers without a box: rightly about something absent, wrongly about something present."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from vrft_core.tasks.detection.answers import Row

FREQUENCIES = {"f": "frequent", "c": "common", "r": "rare"}


class Silence(TypedDict):
    questions: int
    silent: float  # share of them, in [0, 1]
    by_frequency: dict[str, float]  # frequent, common, rare → share; empty where the ground truth has no frequencies


def silence(rows: Sequence[Row], truth: dict, rules: str) -> dict[str, Silence]:
    """present, absent → answers without a box. `truth`: a COCO or LVIS object, whose images alone count.

    By LVIS's rules a category is absent from an image only where that was verified (`neg_category_ids`): answers about
    the others are in neither. By COCO's rules what is not annotated is absent. A kind without questions is left out.
    """
    present = {(row["image_id"], row["category_id"]) for row in truth["annotations"]}
    negatives = {image["id"]: set(image.get("neg_category_ids") or ()) for image in truth["images"]}
    frequency = {category["id"]: category.get("frequency") for category in truth["categories"]}
    found: dict[str, list[tuple[str | None, bool]]] = {"present": [], "absent": []}
    for row in rows:
        image, category = row["image_id"], row["category_id"]
        if image not in negatives or category not in frequency:
            continue
        answer = frequency[category], not row["boxes"]
        if (image, category) in present:
            found["present"].append(answer)
        elif rules == "coco" or category in negatives[image]:
            found["absent"].append(answer)
    return {kind: _share(answers) for kind, answers in found.items() if answers}


def _share(answers: list[tuple[str | None, bool]]) -> Silence:
    groups = {name: [silent for letter, silent in answers if letter == wanted] for wanted, name in FREQUENCIES.items()}
    return {
        "questions": len(answers),
        "silent": float(np.mean([silent for _, silent in answers])),
        "by_frequency": {name: float(np.mean(group)) for name, group in groups.items() if group},
    }


def lines(found: dict[str, Silence]) -> list[str]:
    """To read in a terminal."""
    said = []
    for kind, one in found.items():
        groups = ", ".join(f"{name} {100 * share:.1f}" for name, share in one["by_frequency"].items())
        share = f"{100 * one['silent']:.1f} %" + (f" ({groups})" if groups else "")
        said.append(f"  {one['questions']} questions about something {kind}: answered without a box in {share}")
    return said
