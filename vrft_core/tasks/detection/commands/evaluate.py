"""Average precision of any detections file against ground truth: files in, an object and a table out."""

from pathlib import Path
from typing import Any, cast

import numpy as np

from vrft_core.errors import InputError, nearest
from vrft_core.tasks.detection.answers import Row
from vrft_core.tasks.detection.commands import silence
from vrft_core.tasks.detection.metrics import splits
from vrft_core.tasks.detection.metrics.average_precision import Matches, published_lvis, summary
from vrft_core.tasks.detection.metrics.columns import Detections, Truth, positions, read
from vrft_core.tasks.detection.metrics.matching import match
from vrft_core.tasks.detection.metrics.ranking import ranked
from vrft_core.tasks.detection.metrics.scores import detections as detections_of
from vrft_core.tasks.table import shown


def evaluate_files(
    rules: str,
    ground_truth: Path,
    detections: Path,
    categories: list[str] | None = None,
    published: bool = False,
    ranking: str = "stated",
    split: str | None = None,
) -> tuple[dict, str]:
    """The result as an object for JSON, and as a table to read.

    `detections` holds COCO results, or the rows of `vrft predict`: its content tells. `ranking` says which of the
    latter's scores count. `split`: which images of the ground truth count, see `splits.chosen`.

    Object: AP, AP50, … , AR@100 or AR@300 in [0, 1], None where the references say -1, and `per_category`
    {name: AP}; `split` where not all images count; for the rows of `vrft predict`, `silence` (see there), and
    `unanswered_images` where images with objects have no row; with `published`, `published_lvis` {"AP",
    "per_category"} as Visual-RFT's notebook counts it. Raises InputError on unreadable or malformed files and on
    unknown names of categories and splits.
    """
    if published and rules != "lvis":
        raise InputError("--published-lvis", "is another way to count LVIS AP", "use it with --rules lvis")
    data = read(ground_truth)
    truth = Truth.of(data, rules, ground_truth)
    found, answered, rows = _detections(detections, ranking, data)
    notes, counted = [], data
    if name := splits.chosen(data, answered, split, ground_truth):
        positions(found.image_id, truth.image_ids, str(detections), "image_id", "images")
        counted = splits.only(data, name)
        truth, everything = Truth.of(counted, rules, ground_truth), found
        found = found.of_images(truth.image_ids)
        notes.append(f"  split {name} alone" + ("" if split else ": all detections are of it; --split takes another"))
        if others := len(everything.score) - len(found.score):
            notes.append(f"  {others} detections are of other splits: left out")
    matches = match(truth, found, rules, _ids(truth, categories, ground_truth), where=detections)
    result: dict[str, Any] = {**summary(matches)}
    if name:
        result["split"] = name
    if unanswered := len(np.setdiff1d(matches.image_ids[np.unique(matches.truth_image)], answered)):
        notes.append(f"  {unanswered} images with objects have no {'answer' if rows else 'detection'}: all missed")
        if rows:
            result["unanswered_images"] = unanswered
    if rows:
        result["silence"] = silence.silence(rows, counted, rules)
        notes += silence.lines(result["silence"])
    result["per_category"] = matches.average_precision()["per_category"]
    if published:
        result["published_lvis"] = published_lvis(matches)
    return result, _table(result, matches, found, truth, notes)


def _detections(path: Path, ranking: str, ground_truth: dict) -> tuple[Detections, np.ndarray, list[Row]]:
    """Detections, ids of the images they speak of, and the answers of `vrft predict`, where these are some."""
    rows = read(path)
    rows = [rows] if isinstance(rows, dict) and "boxes" in rows else rows
    if not (isinstance(rows, list) and rows and isinstance(rows[0], dict) and "boxes" in rows[0]):
        if ranking != "stated":
            raise InputError("--ranked-by", f"{path} holds one score a box", "it is for the rows of `vrft predict`")
        found = Detections.of(rows, path)
        return found, np.unique(found.image_id), []
    names = {
        field: {row["id"]: row.get(name) for row in ground_truth[table]}
        for field, table, name in (("file_name", "images", "file_name"), ("category", "categories", "name"))
    }
    found = []
    for number, row in enumerate(rows, 1):
        try:
            found += detections_of(*ranked(cast(list[Row], [row]), ranking))
            numbers = {"file_name": row["image_id"], "category": row["category_id"]}
            if any(type(one) is not int or abs(one) >= 2**53 for one in numbers.values()):
                raise ValueError
        except InputError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError):
            raise InputError(
                f"{path}: row {number}", "is not one of `vrft predict`",
                "it needs image_id, category_id, boxes [[x1, y1, x2, y2], …] and as many scores",
            ) from None  # fmt: skip
        for field, known in names.items():  # predicted without annotations, images and categories are numbered again
            true = known.get(numbers[field])
            if row.get(field, true) != true and true is not None:
                raise InputError(
                    f"{path}: row {number}", f"{field} {row[field]!r} has the id of {true!r} in the ground truth",
                    "predict with --annotations, which gives the ids",
                )  # fmt: skip
    answered = np.array(sorted({row["image_id"] for row in rows}), dtype=np.int64)
    return Detections.of(found, f"{path}: boxes"), answered, cast(list[Row], rows)


def _ids(truth: Truth, names: list[str] | None, where: Path) -> list[int] | None:
    if names is None:
        return None
    known = {category["name"] for category in truth.categories}
    for name in names:
        if name not in known:
            raise InputError("--categories", f"{where} has no category {name!r}", nearest(name, known))
    return [category["id"] for category in truth.categories if category["name"] in names]


def _table(result: dict, matches: Matches, found: Detections, truth: Truth, notes: list[str]) -> str:
    total, objects = len(found.score), np.bincount(matches.truth_category, minlength=len(matches.categories))
    lines = [f"{len(matches.image_ids)} images, {len(matches.truth_category)} objects, {total} detections", *notes]
    if unknown := int((~np.isin(found.category_id, truth.category_ids)).sum()):
        lines.append(f"  {unknown} detections are of categories that the ground truth does not have: left out")
    rule = {
        "coco": "over 100 of a category in an image",
        "lvis": "over 300 in an image, of a category that was not verified there, or without area",
    }[matches.rules]
    chosen = np.isin(found.category_id, [category["id"] for category in matches.categories])
    if capped := int(chosen.sum()) - len(matches.row):
        lines.append(f"  {capped} detections are {rule}: left out")
    lines += [
        "",
        "Shares of 1:",
        *(f"{name:<8}{shown(value)}" for name, value in result.items() if name.startswith(("AP", "AR"))),
    ]
    if published := result.get("published_lvis"):
        lines += ["", f"as Visual-RFT counted it, a mean over four area ranges: {shown(published['AP']).strip()}"]
    rows = list(zip(result["per_category"].items(), objects.tolist(), strict=True))
    width = max([len(name) for (name, _), count in rows if count], default=8)
    lines += ["", f"{'category':<{width}}  {'objects':>7}  {'AP':>6}"]
    lines += [f"{name:<{width}}  {count:>7}  {shown(value)}" for (name, value), count in rows if count]
    if empty := sum(not count for _, count in rows):
        lines.append(f"({empty} categories without an object in these images count in no mean)")
    return "\n".join(lines)
