"""Classification's data as frames: labels, names, and answers read back by the parser that will read the model's."""

import json
from pathlib import Path
from typing import cast

import pandas as pd

from vrft_core import data_frames, io, sampling
from vrft_core.annotations import spoken
from vrft_core.data_frames import column
from vrft_core.expectations import CATEGORY, IMAGE
from vrft_core.families.form import Form
from vrft_core.tasks.classification.answers import normalised, parse, same


def raw(directory: Path) -> dict[str, pd.DataFrame]:
    """`labels`: a row an image, its number of annotations, and whether their classes are known; also a row for each
    image that is annotated, yet not there. `names`: a row for each name of a class, as answers are compared with it.
    """
    data = io.read_json(directory / "annotations.json")
    images = pd.DataFrame(data["images"], columns=IMAGE)["id"].drop_duplicates()
    rows = pd.DataFrame(data["annotations"], columns=["image_id", "category_id"])
    categories = pd.DataFrame(data["categories"], columns=CATEGORY)
    rows["known"] = rows["category_id"].isin(categories["id"])
    labels = pd.DataFrame({"image_id": pd.concat([images, rows["image_id"]]).drop_duplicates()})
    labels["image_known"] = labels["image_id"].isin(images)
    labeled, found = column(labels, "image_id"), column(rows, "image_id").value_counts()
    labels["annotations"] = labeled.map(found).fillna(0).astype(int)
    known = cast(pd.Series, rows.groupby("image_id")["known"].all())
    labels["category_known"] = labeled.map(known).fillna(False).astype(bool)
    names = [
        {"category_id": category["id"], "name": name}
        for category in data["categories"]
        for name in dict.fromkeys(map(normalised, spoken(category)))
    ]
    named = pd.DataFrame(names, columns=["category_id", "name"])
    return {"labels": labels, "names": named.assign(length=named["name"].str.len())}


def prompts(directory: Path, raw_directory: Path, few_shot_directory: Path, form: Form) -> dict[str, pd.DataFrame]:
    """Of training and validation examples: `examples`, `strays`."""
    data = io.read_json(raw_directory / "annotations.json")
    names = {category["id"]: spoken(category) for category in data["categories"]}
    labels = {row["image_id"]: names.get(row["category_id"], [""]) for row in data["annotations"]}
    examples = data_frames.examples(directory)
    examples["image_of_split"] = [f"{s} {i}" for s, i in zip(examples["split"], examples["image_id"], strict=True)]
    examples["label_annotated"] = [labels.get(image, [""])[0] for image in examples["image_id"]]
    read = [parse(answer) for answer in examples["answer"]]
    truths = [json.loads(truth)["names"] for truth in examples["truth"]]
    pairs = list(zip(read, truths, strict=True))
    examples["reads_back"] = [same(one.name, truth) for one, truth in pairs]
    examples["other_classes"] = [
        sum(same(one.name, other) for other in names.values() if other[0] != truth[0]) for one, truth in pairs
    ]
    examples["answer_faults"] = [len(one.reasons) for one in read]
    chosen = sampling.pairs(io.read_json(few_shot_directory / "selection.json"))
    wanted = {f"{image}-{category}" for image, category in chosen}
    return {"examples": examples, "strays": data_frames.strays(examples, wanted, raw_directory)}
