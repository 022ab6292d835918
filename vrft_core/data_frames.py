"""What must be true of any task's data, as data frames in which a broken rule shows as a value or a row.

Pure functions: files in, frames out. A task adds frames of its own (`frames`); what the values must be is stated in
`expectations` and in each task's `checks`, and running them belongs to the orchestrator.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd

from vrft_core import io
from vrft_core.annotations import SPLITS, frequency
from vrft_core.expectations import CATEGORY, EXAMPLE, IMAGE

Frames = dict[str, pd.DataFrame]


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """pandas' annotations cannot say that a name gives one column."""
    return cast(pd.Series, frame[name])


def raw(directory: Path, expect: Mapping[Any, int] | None = None) -> Frames:
    """Of a source: `images`, `categories`, `split_leaks` (images found in two splits), `sizes` (of each split).

    `expect`: images of a split, and the number of `categories`, where a protocol has them. A source whose categories
    have official counts and letters (LVIS) need not give all the images that these count.
    """
    data = io.read_json(directory / "annotations.json")
    images = pd.DataFrame(data["images"], columns=IMAGE)
    images["file_exists"] = [(directory / "images" / str(name)).is_file() for name in images["file_name"]]
    categories = pd.DataFrame(data["categories"], columns=CATEGORY)
    pairs = pd.DataFrame(data["annotations"], columns=["image_id", "category_id"])
    taught = pairs.merge(images.loc[images["split"] == "train", "id"].rename("image_id"), on="image_id")
    shown = cast(pd.Series, taught.groupby("category_id")["image_id"].nunique())
    categories["images_found"] = column(categories, "id").map(shown).fillna(0).astype(int)
    categories["images_expected"] = column(categories, "images_found")
    if _official_counts(data.get("info") or {}):
        fewer = column(categories, "images_found") <= column(categories, "image_count")
        categories.loc[fewer, "images_expected"] = categories.loc[fewer, "image_count"]
    categories["letter_expected"] = [frequency(count) for count in categories["images_expected"]]
    return {
        "images": images,
        "categories": categories,
        "split_leaks": _in_two_splits(images),
        "sizes": _sizes(images, len(categories), expect or {}),
    }


def _official_counts(info: dict) -> bool:
    return "official" in (info.get("counts"), (info.get("official") or {}).get("counts"))


def _sizes(images: pd.DataFrame, categories: int, expect: Mapping[Any, int]) -> pd.DataFrame:
    """A row a split, and one for the categories; only validation images may be missing altogether."""
    found = {split: len(images[images["split"] == split]) for split in SPLITS} | {"categories": categories}
    return pd.DataFrame(
        [
            {"of": name, "found": count, "expected": expect.get(name, count), "least": int(name != "val")}
            for name, count in found.items()
        ]
    )


def _in_two_splits(images: pd.DataFrame) -> pd.DataFrame:
    """Images whose id or content is found in more than one split."""
    splits = {by: cast(pd.Series, images.groupby(by)["split"].transform("nunique")) for by in ("id", "sha256")}
    leaks = [images[count > 1].assign(same=by) for by, count in splits.items()]
    return cast(pd.DataFrame, pd.concat(leaks)[["same", "id", "file_name", "split", "sha256"]])


def few_shot(
    directory: Path, raw_directory: Path, wanted: list[int], shots: int, all_there_are: bool, published: bool = False
) -> Frames:
    """Of a sample: `counts` (a row a category), `choices` (a row a chosen image), `leaks` (chosen yet held out).

    `wanted`: ids of the categories to sample. `all_there_are`: take fewer where there are fewer than `shots`;
    `published`: all, however many.
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
    choices["sha256_recorded"] = column(choices, "image_id").map(column(images, "sha256"))
    files = column(choices, "image_id").map(column(images, "file_name"))
    choices["sha256_of_file"] = [_hash(raw_directory / "images" / str(name)) for name in files]

    held_out = images[images["split"] != "train"]
    by_id = choices[choices["image_id"].isin(list(held_out.index))].assign(same="id")
    by_content = choices[choices["sha256_of_file"].isin(list(held_out["sha256"]))].assign(same="sha256")

    counts = pd.DataFrame({"category_id": sorted({*wanted, *choices["category_id"]})})
    found = cast(pd.Series, choices.groupby("category_id")["image_id"].nunique())
    counts["images"] = column(counts, "category_id").map(found).fillna(0).astype(int)
    there_are = column(counts, "category_id").map(_usable(data)).fillna(0).astype(int)
    counts["expected"] = there_are if published else there_are.clip(upper=shots) if all_there_are else shots
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


def examples(directory: Path) -> pd.DataFrame:
    """Training and validation examples, each with its split, and the size of its image in place of its bytes."""
    return pd.concat(
        [_examples(directory / split).assign(split=split) for split in ("train", "val")], ignore_index=True
    )


def _examples(directory: Path) -> pd.DataFrame:
    """One split's examples, with the size of each embedded image in place of its bytes."""
    examples = pd.read_parquet(directory).reindex(columns=EXAMPLE)
    examples["image_bytes"] = [len(image["bytes"] or b"") for image in examples.pop("image")]
    return examples


def strays(found: pd.DataFrame, chosen: set[str], raw_directory: Path) -> pd.DataFrame:
    """Examples of an image of another split; training examples that were not `chosen`; chosen ones that are missing."""
    data = io.read_json(raw_directory / "annotations.json")
    splits = {image["id"]: image["split"] for image in data["images"]}
    train = set(found.loc[found["split"] == "train", "id"])
    split = column(found, "image_id").map(splits)
    return pd.DataFrame(
        [
            *({"id": e, "why": "of another split"} for e in found["id"][found["split"] != split]),
            *({"id": e, "why": "never chosen"} for e in sorted(train - chosen)),
            *({"id": e, "why": "chosen, yet missing"} for e in sorted(chosen - train)),
        ],
        columns=["id", "why"],
    )
