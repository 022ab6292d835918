"""Detection's data as frames: boxes, and answers read back by the parser that will read the model's."""

import json
from pathlib import Path

import pandas as pd

from vrft_core import data_frames, io
from vrft_core.annotations import xyxy
from vrft_core.data_frames import column
from vrft_core.expectations import IMAGE
from vrft_core.families.form import Form
from vrft_core.tasks.detection.answers import parse
from vrft_core.tasks.detection.prompts import training

ANNOTATION = ["id", "image_id", "category_id", "area", "bbox", "segmentation"]


def raw(directory: Path) -> dict[str, pd.DataFrame]:
    """`boxes`: a row a box, xyxy pixels, its shorter side, its mask's area, its image's size (missing without one)."""
    data = io.read_json(directory / "annotations.json")
    images = pd.DataFrame(data["images"], columns=IMAGE)
    boxes = pd.DataFrame(data["annotations"], columns=ANNOTATION)
    boxes[["x1", "y1", "x2", "y2"]] = [xyxy(bbox) for bbox in boxes.pop("bbox")]
    boxes["shorter_side"] = (boxes[["x2", "y2"]].to_numpy() - boxes[["x1", "y1"]].to_numpy()).min(axis=1)
    boxes["segmentation"] = boxes["segmentation"].notna()
    boxes["category_known"] = boxes["category_id"].isin([category["id"] for category in data["categories"]])
    sizes = images.drop_duplicates("id").set_index("id")
    image = column(boxes, "image_id")
    return {
        "boxes": boxes.assign(
            image_width=image.map(column(sizes, "width")), image_height=image.map(column(sizes, "height"))
        )
    }


def prompts(directory: Path, raw_directory: Path, few_shot_directory: Path, form: Form) -> dict[str, pd.DataFrame]:
    """Of training and validation examples: `examples`, `boxes` (xyxy in the answer's frame), `strays`."""
    data = io.read_json(raw_directory / "annotations.json")
    in_raw = pd.Series([f"{row['image_id']}-{row['category_id']}" for row in data["annotations"]]).value_counts()
    examples = data_frames.examples(directory)
    rows = [_read_back(example, form) for example in examples.to_dict("records")]
    examples["boxes_found"] = [len(row["boxes"]) for row in rows]
    examples["boxes_annotated"] = column(examples, "id").map(in_raw).fillna(0).astype(int)
    examples["answer_differs"] = [row["differs"] for row in rows]
    examples["answer_faults"] = [row["faults"] for row in rows]
    columns = ["id", "limit_x", "limit_y", "x1", "y1", "x2", "y2"]
    boxes = pd.DataFrame(
        [
            dict(zip(columns, (id_, *row["limit"], *box), strict=True))
            for id_, row in zip(examples["id"], rows, strict=True)
            for box in row["boxes"]
        ],
        columns=columns,
    )
    pairs = training(io.read_json(few_shot_directory / "selection.json"))
    chosen = {f"{image_id}-{category_id}" for image_id, category_id in pairs}
    return {"examples": examples, "boxes": boxes, "strays": data_frames.strays(examples, chosen, raw_directory)}


def _read_back(example: dict, form: Form) -> dict:
    """Read the target answer with the parser that will read the model's, and compare it with the true boxes."""
    coordinates = form.frame(example["width"], example["height"])
    truth = json.loads(example["truth"])["boxes"]
    expected = {tuple(map(float, coordinates.to_answer(coordinates.to_pixels(box)))) for box in truth}
    parsed = parse(example["answer"], coordinates.limit, form.native)
    return {
        "limit": coordinates.limit,
        "boxes": truth,
        "differs": len(expected ^ {detection.box for detection in parsed.detections}),
        # two objects may fall on the same box of a coarse grid
        "faults": len(set(parsed.reasons) - {"duplicate_box"}),
    }
