"""`vrft evaluate`: a ground-truth file and a detections file in, the AP family out, as an object or as a table.

The metrics themselves belong to `average_precision`.
"""

from difflib import get_close_matches
from pathlib import Path

import numpy as np

from vrft_core.errors import InputError
from vrft_core.evaluation.average_precision import Matches, published_lvis, summary
from vrft_core.evaluation.columns import Detections, Truth
from vrft_core.evaluation.matching import match


def evaluate(
    protocol: str, ground_truth: Path, detections: Path, categories: list[str] | None = None, published: bool = False
) -> tuple[dict, str]:
    """The result as an object for JSON, and as a table to read.

    Object: AP, AP50, … , AR@100 or AR@300 in [0, 1], None where the references say -1, and `per_category`
    {name: AP}; with `published`, `published_lvis` {"AP", "per_category"} as Visual-RFT's notebook counts it.
    Raises InputError on unreadable or malformed files and on unknown category names.
    """
    if published and protocol != "lvis":
        raise InputError("--published-lvis", "is another way to count LVIS AP", "use it with --protocol lvis")
    truth = Truth.load(ground_truth, protocol)
    found = Detections.load(detections)
    matches = match(truth, found, protocol, _ids(truth, categories, ground_truth), where=detections)
    result = summary(matches)
    result["per_category"] = matches.average_precision()["per_category"]
    if published:
        result["published_lvis"] = published_lvis(matches)
    return result, _table(result, matches, found, truth)


def _ids(truth: Truth, names: list[str] | None, where: Path) -> list[int] | None:
    if names is None:
        return None
    known = {category["name"] for category in truth.categories}
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, 3)
            raise InputError(
                "--categories", f"{where} has no category {name!r}", close and f"is it {' or '.join(close)}?"
            )
    return [category["id"] for category in truth.categories if category["name"] in names]


def _table(result: dict, matches: Matches, found: Detections, truth: Truth) -> str:
    total, objects = len(found.score), np.bincount(matches.truth_category, minlength=len(matches.categories))
    lines = [f"{len(matches.image_ids)} images, {len(matches.truth_category)} objects, {total} detections"]
    if unknown := int((~np.isin(found.category_id, truth.category_ids)).sum()):
        lines.append(f"  {unknown} detections are of categories that the ground truth does not have: left out")
    rule = {
        "coco": "over 100 of a category in an image",
        "lvis": "over 300 in an image, or of a category that was not verified there",
    }[matches.protocol]
    chosen = np.isin(found.category_id, [category["id"] for category in matches.categories])
    if capped := int(chosen.sum()) - len(matches.row):
        lines.append(f"  {capped} detections are {rule}: left out")
    lines += ["", *(f"{name:<8}{_shown(value)}" for name, value in result.items() if not isinstance(value, dict))]
    if published := result.get("published_lvis"):
        lines += ["", f"as Visual-RFT counted it, a mean over four area ranges: {_shown(published['AP']).strip()}"]
    rows = list(zip(result["per_category"].items(), objects.tolist(), strict=True))
    width = max([len(name) for (name, _), count in rows if count], default=8)
    lines += ["", f"{'category':<{width}}  {'objects':>7}  {'AP':>6}"]
    lines += [f"{name:<{width}}  {count:>7}  {_shown(value)}" for (name, value), count in rows if count]
    if empty := sum(not count for _, count in rows):
        lines.append(f"({empty} categories without an object in these images count in no mean)")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return f"{'–':>6}" if value is None else f"{value:6.3f}"
