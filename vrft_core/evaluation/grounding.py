"""Grounding: how well one region answers one instruction; mIoU of boxes, and LISA's gIoU and cIoU of masks.

A missing answer counts as an empty region, never as a question less. Making masks from boxes with a segmentation
model does not belong here.
"""

from collections.abc import Sequence

import numpy as np

from vrft_core.evaluation.matching import iou, xywh

IGNORE = 255

Box = Sequence[float]


def box_scores(predicted: Sequence[Box | None], truth: Sequence[Box]) -> dict[str, float | None]:
    """mIoU and cIoU of xyxy boxes in one common frame; None for no answer. None in the result without questions.

    mIoU is the mean IoU; cIoU is summed intersections over summed unions, so that large objects weigh more.
    """
    if not truth:
        return {"mIoU": None, "cIoU": None}
    there = np.array([box is not None for box in predicted])
    said = xywh([box if box is not None else (0, 0, 0, 0) for box in predicted])
    true = xywh(truth)
    each = np.where(there, iou(said, true), 0)
    total = said[:, 2:].prod(axis=1) + true[:, 2:].prod(axis=1)
    # From IoU = i / u and i + u = both areas together.
    union = total / (1 + each)
    return {"mIoU": float(each.mean()), "cIoU": float((total - union).sum() / union.sum()) if union.any() else None}


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
    if not len(union):
        return {"gIoU": None, "cIoU": None}
    each = intersection / (union + 1e-5) + (union == 0)
    return {"gIoU": float(each.mean()), "cIoU": float(intersection.sum() / (union.sum() + 1e-10))}
