"""ReasonSeg: 1,218 images with an instruction that takes thought, and the outline of what it means (Lai et al., 2023).

The authors' Google Drive cannot be fetched by a program; train and val come from a mirror with known checksums, the
test archive by hand.
"""

import json
from pathlib import Path
from typing import Literal

from vrft_core.errors import InputError
from vrft_core.sources import archives, selection, writing
from vrft_core.sources.download import fetch
from vrft_core.sources.licences import Licence
from vrft_core.sources.published import File
from vrft_core.sources.writing import Content, Images, box_inside

LICENCE = Licence(
    "reasonseg",
    "none is stated; images of OpenImages and ScanNet, mirrors say CC BY-NC 4.0",
    "Lai et al., LISA: Reasoning Segmentation via Large Language Model, CVPR 2024",
    "https://github.com/dvlab-research/LISA",
    ask=True,
)
DRIVE = "https://drive.google.com/drive/folders/125mewyg5Ao6tZ3ZdJ-1-E3n04LGVELqy"
MIRROR = (
    "https://huggingface.co/datasets/594zyc/GROUNDHOG-RAW/resolve/9adf3da433cbccad2118b58ebc525af1b4b6f920/ReasonSeg/"
)


def _is_annotation(name: str) -> bool:
    """Archives packed on a Mac hold a `._` file for each real one."""
    return name.endswith(".json") and not name.rpartition("/")[2].startswith("._")


def _is_split(path: Path) -> None:
    if not any(archives.members(path, _is_annotation)):
        raise InputError(path, "holds no annotations", f"it must be the authors' archive of {DRIVE}")


FILES = {
    "train": File(
        "reasonseg",
        "train.zip",
        (MIRROR + "train.zip",),
        LICENCE,
        523_907_775,
        "08976fe5445e68cff4dd543ebaec2652c55ac7626a71eb1c7e71654f6ac16b73",
        by_hand=DRIVE,
    ),
    "val": File(
        "reasonseg",
        "val.zip",
        (MIRROR + "val.zip",),
        LICENCE,
        277_101_832,
        "9248ec018f5896b91c09089d9c7cf3229102063985e6af6884a21bfea70d199c",
        by_hand=DRIVE,
    ),
    "test": File("reasonseg", "test.zip", (), LICENCE, check=_is_split, by_hand=f"test.zip: {DRIVE}"),
}
IMAGES = {"train": 239, "val": 200, "test": 779}
KINDS = [{"id": 1, "name": "phrase"}, {"id": 2, "name": "sentence"}]  # LISA reports both apart: short and long query


class Settings(selection.Settings):
    """`evaluate`: the official split to evaluate. With `val`, `validation` of the training images is held out for
    choosing checkpoints; with `test`, val is for that. `box`: what is to be found, the box around all targets or that
    of the first one in the file, which is what the paper trains and evaluates on."""

    evaluate: Literal["val", "test"] = "test"
    box: Literal["all", "first"] = "all"
    validation: float = 0.25


def write(directory: Path, settings: Settings, cache: Path) -> None:
    """Images and annotations.json; an annotation is one expression with what it means.

    Training images have up to five rephrasings of their instruction. `segmentation` has the outlines of all targets,
    `targets` the box of each (xywh pixels), in the file's order. Shapes labelled `ignore` stand in the image's row, as
    `ignore`: polygons that count neither way; `flag` is obsolete and dropped. Raises InputError as `download.fetch` and
    `writing.write` do, and for malformed annotations.
    """
    writing.write(directory, *content(settings, cache))


def content(settings: Settings, cache: Path) -> tuple[Content, Images]:
    """What is written, and where the images' bytes come from."""
    official = ["train", "val"] + (["test"] if settings.evaluate == "test" else [])
    paths = dict(zip(official, fetch([FILES[name] for name in official], cache).values(), strict=True))
    images: list[dict] = []
    annotations: list[dict] = []
    ids: dict[str, dict[str, int]] = {}
    for name, path in paths.items():
        texts = dict(archives.members(path, _is_annotation))
        if len(texts) != IMAGES[name]:
            raise InputError(path, f"has {len(texts)} annotated images, {IMAGES[name]} are right", "fetch it again")
        split = "eval" if name == settings.evaluate else name
        ids[name] = {}
        for member, text in sorted(texts.items()):
            image_id = len(images) + 1
            ids[name][member.removesuffix(".json") + ".jpg"] = image_id
            image, rows = _read(text, image_id, settings.box, f"{path}: {member}")
            images.append(image | {"file_name": f"{Path(member).stem}.jpg", "split": split})
            annotations += rows
    if settings.evaluate == "val":
        training = {row["file_name"]: {1} for row in images if row["split"] == "train"}
        held_out = selection.hold_out(training, settings.validation)
        for row in images:
            if row["split"] == "train" and row["file_name"] in held_out:
                row["split"] = "val"
    content = Content(images, annotations, KINDS, {"source": "reasonseg", **settings.model_dump()})
    return content, lambda rows: (
        (ids[name][member], data)
        for name, path in paths.items()
        for member, data in archives.members(path, ids[name].__contains__)
    )


def _read(text: bytes, image_id: int, box: str, where: str) -> tuple[dict, list[dict]]:
    """One annotation file: what its image's row gains, and its annotations. Some files are cp1252, not UTF-8."""
    try:
        try:
            data = json.loads(text.decode("utf-8"))
        except UnicodeDecodeError:
            data = json.loads(text.decode("cp1252"))
        shapes = [(str(shape["label"]).lower(), _outline(shape["points"])) for shape in data["shapes"]]
        expressions = [" ".join(str(expression).split()) for expression in data["text"]]
        kind = 2 if data["is_sentence"] else 1
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(where, f"is not as published: {type(error).__name__} {error}", "fetch it again") from None
    outlines = [outline for label, outline in shapes if "ignore" not in label and label != "flag" and outline]
    boxes = [_box(outline) for outline in outlines]
    if not all(boxes) or not boxes:
        raise InputError(where, "has no target, or one without area", "fetch it again")
    whole = _box([value for outline in outlines for value in outline])
    rows = [
        {
            "image_id": image_id,
            "category_id": kind,
            "bbox": whole if box == "all" else boxes[0],
            "area": sum(map(_area, outlines)),
            "segmentation": outlines,
            "targets": boxes,
            "expression": expression,
        }
        for expression in expressions
    ]
    ignored = [outline for label, outline in shapes if "ignore" in label and outline]
    return {"id": image_id, "ignore": ignored}, rows


def _outline(points: list) -> list[float]:
    """x1, y1, x2, y2, ... in pixels; empty for what is no area."""
    outline = [float(value) for x, y in points for value in (x, y)]
    if not all(abs(value) < 1e6 for value in outline):
        raise ValueError("points must be finite")
    return outline if len(outline) >= 6 else []


def _box(outline: list[float]) -> list[float] | None:
    """xywh of an outline; points left of or above the image are moved to its border."""
    xs, ys = [max(0.0, x) for x in outline[::2]], [max(0.0, y) for y in outline[1::2]]
    return box_inside([min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)], 10**6, 10**6)


def _area(outline: list[float]) -> float:
    """Of the polygon, square pixels."""
    points = list(zip(outline[::2], outline[1::2], strict=True))
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1], strict=True))) / 2
