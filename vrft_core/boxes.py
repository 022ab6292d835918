"""Geometry of boxes as numpy arrays. What a box means belongs elsewhere."""

from collections.abc import Sequence

import numpy as np


def iou(box: np.ndarray, truth: np.ndarray, crowd: np.ndarray | bool = False) -> np.ndarray:
    """Intersection over union of xywh boxes [..., 4], elementwise; over the detection's own area for a crowd.

    The same operations in the same order as pycocotools' maskApi.c, bbIou.
    """
    (x, y, w, h), (tx, ty, tw, th) = np.moveaxis(box, -1, 0), np.moveaxis(truth, -1, 0)
    across = np.minimum(w + x, tw + tx) - np.maximum(x, tx)
    down = np.minimum(h + y, th + ty) - np.maximum(y, ty)
    overlap = np.where((across > 0) & (down > 0), across * down, 0)
    union = np.where(crowd, w * h, w * h + tw * th - overlap)
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0)


def xywh(boxes: Sequence[Sequence[float]]) -> np.ndarray:
    """xyxy boxes → xywh [n, 4]."""
    array = np.array(boxes, dtype=float).reshape(-1, 4)
    array[:, 2:] -= array[:, :2]
    return array
