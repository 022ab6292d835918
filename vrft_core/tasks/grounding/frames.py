"""Grounding's data as frames: expressions, and answers read back by the parser that will read the model's."""

import json
from pathlib import Path

import pandas as pd

from vrft_core import data_frames, io, sampling
from vrft_core.annotations import xyxy
from vrft_core.data_frames import column
from vrft_core.expectations import IMAGE
from vrft_core.families.form import Form
from vrft_core.tasks.grounding.answers import parse

ANNOTATION = ["id", "image_id", "category_id", "bbox", "expression", "absent"]


def raw(directory: Path) -> dict[str, pd.DataFrame]:
    """`expressions`: one row each, its target as xyxy pixels (zeros where it is absent) and its image's size."""
    data = io.read_json(directory / "annotations.json")
    images = pd.DataFrame(data["images"], columns=IMAGE)
    found = pd.DataFrame(data["annotations"], columns=ANNOTATION)
    found[["x1", "y1", "x2", "y2"]] = [xyxy(bbox) for bbox in found.pop("bbox")]
    absent = found["absent"].fillna(False).astype(bool)
    found["has_area_or_is_absent"] = absent | ((found["x2"] > found["x1"]) & (found["y2"] > found["y1"]))
    found["says_something"] = [bool(str(text).strip()) for text in found["expression"]]
    found["category_known"] = found["category_id"].isin([category["id"] for category in data["categories"]])
    sizes = images.drop_duplicates("id").set_index("id")
    image = column(found, "image_id")
    return {
        "expressions": found.assign(
            image_width=image.map(column(sizes, "width")), image_height=image.map(column(sizes, "height"))
        )
    }


def prompts(directory: Path, raw_directory: Path, few_shot_directory: Path, form: Form) -> dict[str, pd.DataFrame]:
    """Of training and validation examples: `examples`, `strays`."""
    data = io.read_json(raw_directory / "annotations.json")
    examples = data_frames.examples(directory)
    rows = [_read_back(example, form) for example in examples.to_dict("records")]
    examples["answer_differs"] = [differs for differs, _ in rows]
    examples["answer_faults"] = [faults for _, faults in rows]
    pairs = set(sampling.pairs(io.read_json(few_shot_directory / "selection.json")))
    about: dict[tuple[int, int], list[int]] = {}
    for row in data["annotations"]:
        about.setdefault((row["image_id"], row["category_id"]), []).append(row["id"])
    chosen = set()
    for pair in pairs:
        ids = about.get(pair, [0])
        name = f"{pair[0]}-{pair[1]}"
        chosen |= {name} if len(ids) == 1 else {f"{name}-{i}" for i in ids}
    return {"examples": examples, "strays": data_frames.strays(examples, chosen, raw_directory)}


def _read_back(example: dict, form: Form) -> tuple[int, int]:
    """How many boxes the target answer says otherwise than the truth, and how many faults it has."""
    frame = form.frame(example["width"], example["height"])
    box, read = json.loads(example["truth"])["box"], parse(example["answer"], frame.limit, form.native)
    if box is None:
        return int(not read.says_none), len(read.reasons)
    expected = tuple(map(float, frame.to_answer(frame.to_pixels(box))))
    return int([detection.box for detection in read.detections] != [expected]), len(read.reasons)
