"""Masks of logged grounding answers: as they stand in the log, or made by SAM; and what they are scored on."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vrft_core.commands.score import frame_of, limit_of
from vrft_core.errors import InputError
from vrft_core.tasks.grounding.answers import parse
from vrft_core.tasks.grounding.metrics.overlap import IGNORE, decode, mask_areas, published_box

Masks = Iterable[tuple[int, list[np.ndarray | None]]]  # row number, masks for the metrics mask/… and published/…


def mask_parts(rows: list[tuple[str, dict]], masks: Masks) -> dict:
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


def logged_masks(rows: list[tuple[str, dict]]) -> Masks:
    if any("target" in row for _, row in rows):
        for number, (where, row) in enumerate(rows):
            yield number, [None if row.get("mask") is None else _decoded(where, row, "mask")] * 2


def sam_masks(rows: list[tuple[str, dict]], sam: Path, images: Path) -> Masks:
    """Of the box that is read here, and of the one that the published evaluation reads."""
    from vrft_core.tasks.grounding.metrics import segmentation

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
        said = (parse(row["completion"], (width, height)).detections or (None,))[0]
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
