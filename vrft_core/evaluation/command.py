"""`vrft evaluate`: files in, metrics out, as an object or as a table. AP of detections against ground truth, or
accuracy and overlap of logged answers.

The metrics themselves belong to `average_precision`, `accuracy` and `grounding`.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from vrft_core.answers import parse_grounding
from vrft_core.errors import InputError
from vrft_core.evaluation import columns, splits
from vrft_core.evaluation.accuracy import accuracy, judge
from vrft_core.evaluation.average_precision import Matches, published_lvis, summary
from vrft_core.evaluation.bootstrap import bootstrap_ratios
from vrft_core.evaluation.columns import Detections, Truth
from vrft_core.evaluation.grounding import IGNORE, box_areas, decode, mask_areas, published_box, published_ious
from vrft_core.evaluation.matching import match
from vrft_core.evaluation.ranking import ranked
from vrft_core.evaluation.scoring import detections as detections_of
from vrft_core.scoring import frame_of, limit_of, read_log, truth_of

RESAMPLES, SEED = 1000, 0


def evaluate(
    protocol: str,
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
    {name: AP}; `split` where not all images count; for the rows of `vrft predict`, `unanswered_images` where images
    with objects have no row; with `published`, `published_lvis` {"AP", "per_category"} as Visual-RFT's notebook counts
    it. Raises InputError on unreadable or malformed files and on unknown names of categories and splits.
    """
    if published and protocol != "lvis":
        raise InputError("--published-lvis", "is another way to count LVIS AP", "use it with --protocol lvis")
    data = columns.read(ground_truth)
    truth = Truth.of(data, protocol, ground_truth)
    found, answered, asked = _detections(detections, ranking, data)
    notes = []
    if name := splits.chosen(data, answered, split, ground_truth):
        columns.positions(found.image_id, truth.image_ids, str(detections), "image_id", "images")
        truth, everything = Truth.of(splits.only(data, name), protocol, ground_truth), found
        found = found.of_images(truth.image_ids)
        notes.append(f"  split {name} alone" + ("" if split else ": all detections are of it; --split takes another"))
        if others := len(everything.score) - len(found.score):
            notes.append(f"  {others} detections are of other splits: left out")
    matches = match(truth, found, protocol, _ids(truth, categories, ground_truth), where=detections)
    result = summary(matches)
    if name:
        result["split"] = name
    if unanswered := len(np.setdiff1d(matches.image_ids[np.unique(matches.truth_image)], answered)):
        notes.append(f"  {unanswered} images with objects have no {'answer' if asked else 'detection'}: all missed")
        if asked:
            result["unanswered_images"] = unanswered
    result["per_category"] = matches.average_precision()["per_category"]
    if published:
        result["published_lvis"] = published_lvis(matches)
    return result, _table(result, matches, found, truth, notes)


def _detections(path: Path, ranking: str, ground_truth: dict) -> tuple[Detections, np.ndarray, bool]:
    """Detections, ids of the images they speak of, and whether the file says so of images without any box."""
    rows = columns.read(path)
    rows = [rows] if isinstance(rows, dict) and "boxes" in rows else rows
    if not (isinstance(rows, list) and rows and isinstance(rows[0], dict) and "boxes" in rows[0]):
        if ranking != "stated":
            raise InputError("--ranked-by", f"{path} holds one score a box", "it is for the rows of `vrft predict`")
        found = Detections.of(rows, path)
        return found, np.unique(found.image_id), False
    names = {
        field: {row["id"]: row.get(name) for row in ground_truth[table]}
        for field, table, name in (("file_name", "images", "file_name"), ("category", "categories", "name"))
    }
    found = []
    for number, row in enumerate(rows, 1):
        try:
            found += detections_of(*ranked([row], ranking))
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
        for field, known in names.items():  # predicted without annotations, images and categories are numbered anew
            true = known.get(numbers[field])
            if row.get(field, true) != true and true is not None:
                raise InputError(
                    f"{path}: row {number}", f"{field} {row[field]!r} has the id of {true!r} in the ground truth",
                    "predict with --annotations, which gives the ids",
                )  # fmt: skip
    answered = np.array(sorted({row["image_id"] for row in rows}), dtype=np.int64)
    return Detections.of(found, f"{path}: boxes"), answered, True


def evaluate_answers(protocol: str, path: str, sam: Path | None = None, images: Path | None = None) -> tuple[dict, str]:
    """A log of answers, as `vrft score` reads it → the result as an object for JSON, and as a table to read.

    Object: `metrics` {name: {"value", "low", "high"}} with 95 % intervals over answers, `queries`, and
    * classification: accuracy/strict, accuracy/lenient (Visual-RFT's rule), and `confusions`;
    * grounding: box/mIoU and box/cIoU in the answers' frame, published/mIoU (the first box anywhere in the text); where
      rows hold run-length masks, `mask` (predicted, null for none) and `target` with an optional `ignore`, also
      mask/gIoU and mask/cIoU by LISA's rules, and published/gIoU and published/cIoU, which heed no `ignore`. Given
      `sam`, a folder of SAM's weights, masks are made from the answer's box and from the published one, in the row's
      `image` in the folder `images`.

    Raises InputError on rows that cannot be used.
    """
    rows = list(read_log(path))
    truths = [truth_of(row, where, protocol, limit_of(row)) for where, row in rows]
    completions = [row["completion"] for _, row in rows]
    result: dict = {"queries": len(rows)}
    lines = [f"{len(rows)} answers", ""]
    ones = np.ones(len(rows))
    if protocol == "classification":
        found = accuracy(completions, truths)
        judged = [judge(completion, truth) for completion, truth in zip(completions, truths, strict=True)]
        strict, lenient = ([row[index] for row in judged] for index in (2, 3))
        parts = {"accuracy/strict": (strict, ones), "accuracy/lenient": (lenient, ones)}
        result["confusions"] = found["confusions"]
    else:
        said = [
            (parse_grounding(text, limit_of(row)).detections or (None,))[0]
            for text, (_, row) in zip(completions, rows, strict=True)
        ]
        each, intersection, union = box_areas([one and one.box for one in said], truths)
        published = published_ious(completions, truths, [frame_of(row) for _, row in rows])
        parts = {"box/mIoU": (each, ones), "box/cIoU": (intersection, union), "published/mIoU": (published, ones)}
        parts |= _mask_parts(rows, _sam_masks(rows, sam, images) if sam else _logged_masks(rows))
    result["metrics"] = bootstrap_ratios(parts, RESAMPLES, SEED)
    for name, entry in result["metrics"].items():
        lines.append(f"{name:<18}{_shown(entry['value'])}  [{_shown(entry['low'])}, {_shown(entry['high'])}]")
    if result.get("confusions"):
        lines += ["", "   n  true → said (* right by the published rule)"]
        for row in result["confusions"]:
            lines.append(f"{row['count']:>4}  {row['true']} → {row['said'] or '(nothing)'}{' *' * row['lenient']}")
    return result, "\n".join(lines)


Masks = Iterable[tuple[int, list[np.ndarray | None]]]  # row number, masks for the metrics mask/… and published/…


def _mask_parts(rows: list[tuple[str, dict]], masks: Masks) -> dict:
    """Numerators and denominators of the mask metrics; none where there are no masks."""
    areas = {"mask": np.zeros((3, len(rows))), "published": np.zeros((3, len(rows)))}
    measured = False
    for number, said in masks:
        measured = True
        where, row = rows[number]
        true = _decoded(where, row, "target")
        if row.get("ignore") is not None:
            ignored = _decoded(where, row, "ignore")
            if ignored.shape == true.shape:
                true[(ignored == 1) & (true == 0)] = IGNORE
            else:
                raise _unusable(where, f"`ignore` of {ignored.shape} for a target of {true.shape}")
        try:
            for (name, into), mask in zip(areas.items(), said, strict=True):
                into[:, number] = np.concatenate(mask_areas([mask], [true], ignore=name == "mask"))
        except ValueError as error:
            raise _unusable(where, error) from None
    if not measured:
        return {}
    parts = {}
    for name, (each, intersection, union) in areas.items():
        parts |= {f"{name}/gIoU": (each, np.ones(len(rows))), f"{name}/cIoU": (intersection, union)}
    return parts


def _logged_masks(rows: list[tuple[str, dict]]) -> Masks:
    if any("target" in row for _, row in rows):
        for number, (where, row) in enumerate(rows):
            yield number, [None if row.get("mask") is None else _decoded(where, row, "mask")] * 2


def _sam_masks(rows: list[tuple[str, dict]], sam: Path, images: Path) -> Masks:
    """Of the box that is read here, and of the one that the published evaluation reads."""
    from vrft_core.evaluation import segmentation

    paths, boxes = [], []
    for where, row in rows:
        if not isinstance(row.get("image"), str):
            raise InputError(where, "`image` is missing", "--sam needs the image's file name in --images")
        if not (images / row["image"]).is_file():
            raise InputError(where, f"no image {images / row['image']}", "--images is the folder that `image` is in")
        _decoded(where, row, "target")  # before the model is loaded
        if "mask" in row:
            raise InputError(where, "`mask` is given, which --sam would make", "leave one of them out")
        width, height = frame_of(row)
        if limit_of(row) != (width, height):
            raise InputError(where, "`frame` is missing", "say what the coordinates of boxes go up to: [width, height]")
        said = (parse_grounding(row["completion"], (width, height)).detections or (None,))[0]
        both = said and said.box, published_box(row["completion"])
        boxes.append([box and (box[0] / width, box[1] / height, box[2] / width, box[3] / height) for box in both])
        paths.append(images / row["image"])
    yield from segmentation.row_masks(segmentation.load(sam), paths, boxes)


def _decoded(where: str, row: dict, field: str) -> np.ndarray:
    try:
        return decode(row.get(field))
    except ValueError as error:
        raise _unusable(where, f"`{field}`: {error}") from None


def _unusable(where: str, why: object) -> InputError:
    return InputError(where, f"its masks cannot be used: {why}", "`target`, `mask`, `ignore` are RLE of one size")


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


def _table(result: dict, matches: Matches, found: Detections, truth: Truth, notes: list[str]) -> str:
    total, objects = len(found.score), np.bincount(matches.truth_category, minlength=len(matches.categories))
    lines = [f"{len(matches.image_ids)} images, {len(matches.truth_category)} objects, {total} detections", *notes]
    if unknown := int((~np.isin(found.category_id, truth.category_ids)).sum()):
        lines.append(f"  {unknown} detections are of categories that the ground truth does not have: left out")
    rule = {
        "coco": "over 100 of a category in an image",
        "lvis": "over 300 in an image, of a category that was not verified there, or without area",
    }[matches.protocol]
    chosen = np.isin(found.category_id, [category["id"] for category in matches.categories])
    if capped := int(chosen.sum()) - len(matches.row):
        lines.append(f"  {capped} detections are {rule}: left out")
    lines += ["", *(f"{name:<8}{_shown(value)}" for name, value in result.items() if name.startswith(("AP", "AR")))]
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
