"""What must be true of the data, as data frames in which a broken rule is a value or a row anyone can point at.

Pure functions: files in, frames out. What the values must be is stated in `suites`; running them is `contracts`.
"""

import json
from pathlib import Path

import pandas as pd

from vrft_core import io
from vrft_core.annotations import frequency, xyxy
from vrft_core.answers import parse_detection
from vrft_core.params import Recipe
from vrft_core.prompts import frame

Frames = dict[str, pd.DataFrame]

# A field that a row lacks becomes a missing value here.
IMAGE = ["id", "file_name", "width", "height", "split", "sha256", "neg_category_ids", "not_exhaustive_category_ids"]
CATEGORY = ["id", "name", "synset", "synonyms", "def", "frequency", "image_count", "instance_count"]
ANNOTATION = ["id", "image_id", "category_id", "area", "bbox", "segmentation"]
EXAMPLE = ["example_id", "image", "width", "height", "category", "question", "answer", "boxes"]


def raw(directory: Path) -> Frames:
    """Of a source: `images`, `boxes` (xyxy pixels), `categories`, `split_leaks` (images found in two splits)."""
    data = io.read_json(directory / "annotations.json")
    images = pd.DataFrame(data["images"], columns=IMAGE)
    images["file_exists"] = [(directory / "images" / str(name)).is_file() for name in images["file_name"]]
    categories = pd.DataFrame(data["categories"], columns=CATEGORY)
    boxes = _boxes(data["annotations"], images)
    boxes["category_known"] = boxes["category_id"].isin(categories["id"])

    taught = boxes.merge(images.loc[images["split"] == "train", "id"].rename("image_id"), on="image_id")
    shown = taught.groupby("category_id")["image_id"].nunique()
    categories["images_found"] = categories["id"].map(shown).fillna(0).astype(int)
    categories["letter_expected"] = [frequency(count) for count in categories["images_found"]]
    return {"images": images, "boxes": boxes, "categories": categories, "split_leaks": _in_two_splits(images)}


def _boxes(annotations: list[dict], images: pd.DataFrame) -> pd.DataFrame:
    """One row a box: xyxy pixels, its shorter side, its mask's area, its image's size (missing if there is none)."""
    boxes = pd.DataFrame(annotations, columns=ANNOTATION)
    boxes[["x1", "y1", "x2", "y2"]] = [xyxy(bbox) for bbox in boxes.pop("bbox")]
    boxes["shorter_side"] = (boxes[["x2", "y2"]].values - boxes[["x1", "y1"]].values).min(axis=1)
    boxes["segmentation"] = boxes["segmentation"].notna()
    sizes = images.drop_duplicates("id").set_index("id")
    return boxes.assign(
        image_width=boxes["image_id"].map(sizes["width"]), image_height=boxes["image_id"].map(sizes["height"])
    )


def _in_two_splits(images: pd.DataFrame) -> pd.DataFrame:
    """Images whose id or content is found in more than one split."""
    leaks = [images[images.groupby(by)["split"].transform("nunique") > 1].assign(same=by) for by in ("id", "sha256")]
    return pd.concat(leaks)[["same", "id", "file_name", "split", "sha256"]]


def few_shot(directory: Path, raw_directory: Path, wanted: list[int], shots: int, all_there_are: bool) -> Frames:
    """Of a sample: `counts` (a row a category), `choices` (a row a chosen image), `leaks` (chosen yet held out).

    `wanted`: ids of the categories to sample. `all_there_are`: take fewer where there are fewer than `shots`.
    """
    data = io.read_json(raw_directory / "annotations.json")
    images = pd.DataFrame(data["images"]).drop_duplicates("id").set_index("id")
    selection = io.read_json(directory / "selection.json")
    choices = pd.DataFrame(
        [
            {"category_id": category["id"], "image_id": image["image_id"], "sha256": image["sha256"]}
            for category in selection["categories"]
            for image in category["images"]
        ],
        columns=["category_id", "image_id", "sha256"],
    )
    shown = {(row["image_id"], row["category_id"]) for row in data["annotations"]}
    choices["pair"] = [f"{i}-{c}" for i, c in zip(choices["image_id"], choices["category_id"], strict=True)]
    choices["shows_category"] = [
        pair in shown for pair in zip(choices["image_id"], choices["category_id"], strict=True)
    ]
    choices["sha256_recorded"] = choices["image_id"].map(images["sha256"])
    files = choices["image_id"].map(images["file_name"])
    choices["sha256_of_file"] = [_hash(raw_directory / "images" / str(name)) for name in files]

    held_out = images[images["split"] != "train"]
    by_id = choices[choices["image_id"].isin(held_out.index)].assign(same="id")
    by_content = choices[choices["sha256_of_file"].isin(held_out["sha256"])].assign(same="sha256")

    counts = pd.DataFrame({"category_id": sorted({*wanted, *choices["category_id"]})})
    found = choices.groupby("category_id")["image_id"].nunique()
    counts["images"] = counts["category_id"].map(found).fillna(0).astype(int)
    there_are = counts["category_id"].map(_usable(data)).fillna(0).astype(int)
    counts["expected"] = there_are.clip(upper=shots) if all_there_are else shots
    counts.loc[~counts["category_id"].isin(wanted), "expected"] = 0
    return {"counts": counts, "choices": choices, "leaks": pd.concat([by_id, by_content])}


def _hash(path: Path) -> str | None:
    return io.sha256(path) if path.is_file() else None


def _usable(data: dict) -> dict[int, int]:
    """Category id → number of different training images that show it with every instance annotated."""
    images = {image["id"]: image for image in data["images"] if image["split"] == "train"}
    contents: dict[int, set[str]] = {}
    for row in data["annotations"]:
        image = images.get(row["image_id"])
        if image and row["category_id"] not in image["not_exhaustive_category_ids"]:
            contents.setdefault(row["category_id"], set()).add(image["sha256"])
    return {category: len(found) for category, found in contents.items()}


def prompts(directory: Path, raw_directory: Path, few_shot_directory: Path, recipe: Recipe) -> Frames:
    """Of training and validation examples: `examples`, `boxes` (xyxy in the answer's frame), `strays`.

    A stray is an example of an image of another split, or a training pair that was not chosen, or a chosen one that
    is missing.
    """
    data = io.read_json(raw_directory / "annotations.json")
    splits = {image["id"]: image["split"] for image in data["images"]}
    in_raw = pd.Series([f"{row['image_id']}-{row['category_id']}" for row in data["annotations"]]).value_counts()
    examples = pd.concat(
        [_examples(directory / split).assign(split=split) for split in ("train", "val")], ignore_index=True
    )
    rows = [_read_back(example, recipe) for example in examples.to_dict("records")]
    examples["boxes_found"] = [len(row["boxes"]) for row in rows]
    examples["boxes_annotated"] = examples["example_id"].map(in_raw).fillna(0).astype(int)
    examples["answer_differs"] = [row["differs"] for row in rows]
    examples["answer_faults"] = [row["faults"] for row in rows]
    boxes = pd.DataFrame(
        [
            dict(
                zip(
                    ("example_id", "limit_x", "limit_y", "x1", "y1", "x2", "y2"),
                    (id_, *row["limit"], *box),
                    strict=True,
                )
            )
            for id_, row in zip(examples["example_id"], rows, strict=True)
            for box in row["boxes"]
        ],
        columns=["example_id", "limit_x", "limit_y", "x1", "y1", "x2", "y2"],
    )
    return {"examples": examples, "boxes": boxes, "strays": _strays(examples, splits, few_shot_directory)}


def _examples(directory: Path) -> pd.DataFrame:
    """One split's examples, with the size of each embedded image in place of its bytes."""
    examples = pd.read_parquet(directory).reindex(columns=EXAMPLE)
    examples["image_bytes"] = [len(image["bytes"] or b"") for image in examples.pop("image")]
    return examples


def _read_back(example: dict, recipe: Recipe) -> dict:
    """Read the target answer with the parser that will read the model's, and compare it with the true boxes."""
    coordinates = frame(recipe.policy, example["width"], example["height"])
    truth = json.loads(example["boxes"])
    expected = {tuple(map(float, coordinates.to_answer(coordinates.to_pixels(box)))) for box in truth}
    parsed = parse_detection(example["answer"], coordinates.limit)
    return {
        "limit": coordinates.limit,
        "boxes": truth,
        "differs": len(expected ^ {detection.box for detection in parsed.detections}),
        # two objects may fall on the same box of a coarse grid
        "faults": len(set(parsed.reasons) - {"duplicate_box"}),
    }


def _strays(examples: pd.DataFrame, splits: dict[int, str], few_shot_directory: Path) -> pd.DataFrame:
    selection = io.read_json(few_shot_directory / "selection.json")
    chosen = {f"{image['image_id']}-{row['id']}" for row in selection["categories"] for image in row["images"]}
    found = set(examples.loc[examples["split"] == "train", "example_id"])
    split = [splits.get(int(id_.split("-")[0])) for id_ in examples["example_id"]]
    return pd.DataFrame(
        [
            *({"example_id": e, "why": "of another split"} for e in examples["example_id"][examples["split"] != split]),
            *({"example_id": e, "why": "never chosen"} for e in sorted(found - chosen)),
            *({"example_id": e, "why": "chosen, yet missing"} for e in sorted(chosen - found)),
        ],
        columns=["example_id", "why"],
    )
