"""Grounding: how well one region answers one instruction; mIoU of boxes, and LISA's gIoU and cIoU of masks.

A missing answer counts as an empty region, never as a question less. Making masks from boxes belongs to
`segmentation`.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from vrft_core.boxes import iou, xywh

IGNORE = 255
MOST_PIXELS = 100_000_000
_PUBLISHED_BOX = re.compile(r"\(\s*+(\d++)\s*+,\s*+(\d++)\s*+\)\s*+,\s*+\(\s*+(\d++)\s*+,\s*+(\d++)\s*+\)")

Box = Sequence[float]


def box_scores(predicted: Sequence[Box | None], truth: Sequence[Box]) -> dict[str, float | None]:
    """mIoU and cIoU of xyxy boxes in one common frame; None for no answer. None in the result without questions.

    mIoU is the mean IoU; cIoU is summed intersections over summed unions, so that large objects weigh more.
    """
    each, intersection, union = box_areas(predicted, truth)
    if not len(each):
        return {"mIoU": None, "cIoU": None}
    return {"mIoU": float(each.mean()), "cIoU": float(intersection.sum() / union.sum()) if union.any() else None}


def box_areas(predicted: Sequence[Box | None], truth: Sequence[Box]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU, intersection and union of each pair of xyxy boxes, [n] each; a missing box is an empty one."""
    there = np.array([box is not None for box in predicted], dtype=bool)
    said = xywh([box if box is not None else (0, 0, 0, 0) for box in predicted])
    true = xywh(truth)
    each = np.where(there, iou(said, true), 0)
    total = said[:, 2:].prod(axis=1) + true[:, 2:].prod(axis=1)
    # From IoU = i / u and i + u = both areas together.
    union = total / (1 + each)
    return each, total - union, union


def published_box(completion: str) -> Box | None:
    """The box that Visual-RFT's evaluation reads: the first `(x1,y1),(x2,y2)` of whole numbers anywhere in the text.

    White space may stand beside every number and between the corners, and the digits may be those of any script
    (lisa_evaluation/Qwen2_VL_lisa_infere.py). None where there is none, where a number is too large for a float, and
    where its corners are not in order, all of which count as no overlap there.
    """
    found = _PUBLISHED_BOX.search(completion)
    try:
        x1, y1, x2, y2 = (float(int(number)) for number in found.groups()) if found else (0.0,) * 4
    except (ValueError, OverflowError):
        return None
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def published_ious(
    completions: Sequence[str], truth: Sequence[Box], frames: Sequence[tuple[float, float]]
) -> np.ndarray:
    """IoU [n] of the boxes that Visual-RFT's evaluation reads with xyxy true boxes, as it takes it.

    That is with 1e-6 of the image's area (`frames`: its width and height in the boxes' coordinates) added to the union,
    so that even an exact answer stays below 1: 0.999 for a thousandth of the image.
    """
    _, intersection, union = box_areas([published_box(text) for text in completions], truth)
    return intersection / (union + 1e-6 * np.array(frames, dtype=float).reshape(-1, 2).prod(axis=1))


def mask_scores(
    predicted: Sequence[np.ndarray | None], target: Sequence[np.ndarray], ignore: bool = True
) -> dict[str, float | None]:
    """gIoU and cIoU of masks by LISA's rules (dvlab-research/LISA, train_ds.py, validate).

    gIoU is the mean over images of intersection / (union + 1e-5), and 1 where both are empty; cIoU is summed
    intersections over summed unions. Pixels that the target marks 255 count on neither side.

    Args:
        predicted: bool [H, W] each, or None for no answer.
        target: uint8 [H, W] each: 1 object, 0 background, 255 to be ignored.
        ignore: False counts the ignored pixels as background, as Visual-RFT does, which never draws them.

    Raises ValueError on a mask of another size than its target.
    """
    each, intersection, union = mask_areas(predicted, target, ignore)
    if not len(each):
        return {"gIoU": None, "cIoU": None}
    return {"gIoU": float(each.mean()), "cIoU": float(intersection.sum() / (union.sum() + 1e-10))}


def mask_areas(
    predicted: Sequence[np.ndarray | None], target: Sequence[np.ndarray], ignore: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU as LISA takes it, intersection and union in pixels of each pair, [n] each; see `mask_scores`."""
    intersections, unions = [], []
    for said, true in zip(predicted, target, strict=True):
        if said is not None and said.shape != true.shape:
            raise ValueError(f"mask of {said.shape} for a target of {true.shape}")
        counted = (true != IGNORE) | (not ignore)
        inside, said = (
            (true == 1) & counted,
            np.zeros(true.shape, bool) if said is None else said.astype(bool) & counted,
        )
        intersections.append(int((inside & said).sum()))
        unions.append(int((inside | said).sum()))
    intersection, union = np.array(intersections, dtype=float), np.array(unions, dtype=float)
    return intersection / (union + 1e-5) + (union == 0), intersection, union


def decode(rle: Any) -> np.ndarray:
    """COCO's run-length encoding, {"size": [H, W], "counts": text or numbers} → uint8 [H, W].

    Raises ValueError for anything else. (pycocotools reads beyond its memory where counts and size disagree.)
    """
    try:
        (height, width), counts = rle["size"], rle["counts"]
        counts = np.array(_runs(counts) if isinstance(counts, str) else counts, dtype=np.int64)
        if not (0 < height * width <= MOST_PIXELS) or (counts < 0).any() or counts.sum() != height * width:
            raise ValueError
        inside = (np.arange(len(counts)) % 2).astype(np.uint8)
        return np.repeat(inside, counts).reshape(width, height).T.copy()
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError("not a run-length encoded mask") from None


def _runs(text: str) -> list[int]:
    """The numbers in COCO's compressed counts (pycocotools, maskApi.c, rleFrString)."""
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode():
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("not a letter of compressed counts")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
