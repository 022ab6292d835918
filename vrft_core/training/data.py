"""Training examples as TRL wants them, and validation examples as `evaluation` wants them.

Making examples belongs to the stage `prompts`.
"""

import json
from pathlib import Path

from datasets import Dataset, Image

from vrft_core.annotations import Annotations
from vrft_core.errors import InputError
from vrft_core.evaluation.predict import Query
from vrft_core.params import Policy
from vrft_core.prompts import frame

COLUMNS = ("example_id", "image", "width", "height", "category", "question", "answer", "boxes")


def load_examples(directory: Path) -> Dataset:
    """The parquet rows of `train` or `val`. Raises InputError when there are none or a column is missing."""
    files = sorted(str(path) for path in Path(directory).glob("*.parquet"))
    if not files:
        raise InputError(directory, "no examples (*.parquet)", "run the stage `prompts` first")
    rows = Dataset.from_parquet(files)
    if missing := [name for name in COLUMNS if name not in rows.column_names]:
        raise InputError(directory, f"no column {missing[0]!r}", "run the stage `prompts` again")
    if not len(rows):
        raise InputError(directory, "no rows", "is there any image with the sampled categories in this split?")
    return rows.cast_column("image", Image(mode="RGB"))


def sft_columns(examples: Dataset, targets: str = "as_asked") -> Dataset:
    """prompt, completion, image; and the example's id, for messages. Targets `answer_only` leave the thought out."""

    def target(row: dict) -> str:
        return row["answer"] if targets == "as_asked" else row["answer"][row["answer"].index("<answer>") :]

    return examples.map(
        lambda row: {"prompt": _turn("user", row["question"]), "completion": _turn("assistant", target(row))}
    ).select_columns(["prompt", "completion", "image", "example_id"])


def grpo_columns(examples: Dataset) -> Dataset:
    """prompt, image; and what the rewards need: boxes (JSON), width, height, example_id, category."""
    columns = ["prompt", "image", "boxes", "width", "height", "example_id", "category"]
    return examples.map(lambda row: {"prompt": _turn("user", row["question"])}).select_columns(columns)


def validation_set(examples: Dataset, policy: Policy) -> tuple[list[Query], Annotations]:
    """Queries and their truth (COCO rules, xywh pixels) from validation examples."""
    names = sorted(set(examples["category"]))
    queries, images, annotations = [], {}, []
    for row in examples:
        image_id, category_id = map(int, row["example_id"].split("-"))
        coordinates = frame(policy, row["width"], row["height"])
        queries.append(Query(image_id, category_id, row["question"], row["image"], coordinates))
        images[image_id] = {"id": image_id, "width": row["width"], "height": row["height"]}
        for box in json.loads(row["boxes"]):
            x1, y1, x2, y2 = coordinates.to_pixels(box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_id,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    ids = {row["category"]: int(row["example_id"].split("-")[1]) for row in examples.select_columns(
        ["category", "example_id"])}  # fmt: skip
    categories = [{"id": ids[name], "name": name, "frequency": "f"} for name in names]
    truth = {"images": list(images.values()), "annotations": annotations, "categories": categories}
    return queries, Annotations.from_dict(truth)


def _turn(role: str, text: str) -> list[dict]:
    return [{"role": role, "content": text}]
