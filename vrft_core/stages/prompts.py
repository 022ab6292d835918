"""Stage `prompts`: few-shot sample → training examples; validation images → examples that choose checkpoints."""

import json
from collections.abc import Iterator
from pathlib import Path

from vrft_core import io
from vrft_core.annotations import Annotations
from vrft_core.cell import Cell, Layout
from vrft_core.evaluation.queries import evaluated_categories, oracle
from vrft_core.images import embeddable
from vrft_core.params import Params, Recipe
from vrft_core.prompts import answer, frame, question, thought


def prompts(layout: Layout, params: Params, cell: Cell) -> dict:
    """Writes `train/` (the sampled image-category pairs) and `val/` (every evaluated category in validation images)."""
    recipe, raw = params.recipe(cell), layout.raw(cell)
    everything = Annotations.load(raw / "annotations.json")
    selection = io.read_json(layout.few_shot(cell) / "selection.json")
    validation = everything.split("val")
    train = [(image["image_id"], row["id"]) for row in selection["categories"] for image in row["images"]]
    categories = evaluated_categories(everything, params.benchmarks[cell.benchmark])
    chosen = set(list(validation.images)[: recipe.evaluation.validation_images])
    val = [pair for pair in oracle(validation, categories) if pair[0] in chosen]
    with io.new_directory(layout.prompts(cell)) as directory:
        for name, pairs in (("train", train), ("val", val)):
            _write(directory / name, list(_examples(pairs, everything, raw / "images", recipe)))
    return {"train": len(train), "val": len(val)}


def _examples(pairs: list[tuple[int, int]], annotations: Annotations, images: Path, recipe: Recipe) -> Iterator[dict]:
    policy, thinking = recipe.policy, recipe.prompts.thinking
    for image_id, category_id in pairs:
        image, name = annotations.images[image_id], annotations.categories[category_id]["name"]
        truth = annotations.boxes(image_id, category_id)
        path = images / image["file_name"]
        in_frame = frame(policy, image["width"], image["height"], path)
        yield {
            "example_id": f"{image_id}-{category_id}",
            "image": {"bytes": embeddable(path, (image["width"], image["height"])), "path": path.name},
            "width": image["width"],
            "height": image["height"],
            "category": name,
            "question": question(name, thinking=thinking, family=policy.family),
            "answer": answer(
                [in_frame.to_answer(box) for box in truth],
                [1.0] * len(truth),
                thought(name, len(truth)) if thinking else None,
            ),
            "boxes": json.dumps([[round(value, 3) for value in in_frame.scale(box)] for box in truth]),
        }


def _write(directory: Path, rows: list[dict]) -> None:
    """One parquet file that `datasets.load_dataset` reads; images are embedded."""
    from datasets import Dataset, Features, Image, Value

    text = Value("string")
    features = Features(
        {
            "example_id": text,
            "image": Image(),
            "width": Value("int32"),
            "height": Value("int32"),
            "category": text,
            "question": text,
            "answer": text,
            "boxes": text,
        }
    )
    directory.mkdir()
    Dataset.from_list(rows, features=features).to_parquet(directory / "data.parquet")
