"""Counting's data as frames: animals an image, and answers read back by the parser that will read the model's."""

import json
from pathlib import Path

import pandas as pd

from vrft_core import data_frames, io, sampling
from vrft_core.annotations import Annotations
from vrft_core.families.form import Form
from vrft_core.tasks.counting.answers import parse


def raw(directory: Path) -> dict[str, pd.DataFrame]:
    """`counts`: a row an image."""
    by_image = Annotations.load(directory / "annotations.json").by_image
    rows = [{"image_id": image, "animals": len(found)} for image, found in by_image.items()]
    return {"counts": pd.DataFrame(rows, columns=["image_id", "animals"])}


def prompts(directory: Path, raw_directory: Path, few_shot_directory: Path, form: Form) -> dict[str, pd.DataFrame]:
    """Of training and validation examples: `examples`, `strays`."""
    examples = data_frames.examples(directory)
    read = [parse(answer) for answer in examples["answer"]]
    counts = [json.loads(truth)["count"] for truth in examples["truth"]]
    examples["answer_differs"] = [one.count != count for one, count in zip(read, counts, strict=True)]
    examples["answer_faults"] = [len(one.reasons) for one in read]
    chosen = sampling.pairs(io.read_json(few_shot_directory / "selection.json"))
    wanted = {f"animals-{image}" for image, _ in chosen}
    return {"examples": examples, "strays": data_frames.strays(examples, wanted, raw_directory)}
