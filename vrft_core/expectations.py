"""What must hold of a data frame's columns, as plain data: `kind` names an expectation of Great Expectations.

Running them belongs to the orchestrator's checks, which turn each into that library's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vrft_core.annotations import SPLITS

# A field that a row lacks becomes a missing value here.
IMAGE = ["id", "file_name", "width", "height", "split", "sha256", "neg_category_ids", "not_exhaustive_category_ids"]
CATEGORY = ["id", "name", "synset", "synonyms", "def", "frequency", "image_count", "instance_count"]
EXAMPLE = ["id", "image_id", "image", "width", "height", "label", "question", "answer", "truth"]
SHA256 = r"^[0-9a-f]{64}$"


@dataclass(frozen=True)
class Expectation:
    """`kind` is the class in `great_expectations.expectations`, `arguments` its fields; a critical one blocks."""

    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)
    critical: bool = True


def filled(column: str) -> Expectation:
    return Expectation("ExpectColumnValuesToNotBeNull", {"column": column})


def unique(column: str) -> Expectation:
    return Expectation("ExpectColumnValuesToBeUnique", {"column": column})


def among(column: str, values: Sequence) -> Expectation:
    return Expectation("ExpectColumnValuesToBeInSet", {"column": column, "value_set": list(values)})


def true(column: str) -> Expectation:
    return among(column, [True])


def matches(column: str, pattern: str) -> Expectation:
    return Expectation("ExpectColumnValuesToMatchRegex", {"column": column, "regex": pattern})


def at_least(column: str, value: float) -> Expectation:
    return Expectation("ExpectColumnValuesToBeBetween", {"column": column, "min_value": value})


def positive(column: str) -> Expectation:
    return Expectation("ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0, "strict_min": True})


def ordered(greater: str, smaller: str, or_equal: bool = False) -> Expectation:
    columns = {"column_A": greater, "column_B": smaller, "or_equal": or_equal}
    return Expectation("ExpectColumnPairValuesAToBeGreaterThanB", columns)


def equal(one: str, other: str) -> Expectation:
    return Expectation("ExpectColumnPairValuesToBeEqual", {"column_A": one, "column_B": other})


def no_rows() -> Expectation:
    return Expectation("ExpectTableRowCountToEqual", {"value": 0})


def mostly_at_least(column: str, value: float, share: float, description: str) -> Expectation:
    """Only warns."""
    arguments = {"column": column, "min_value": value, "mostly": share, "description": description}
    return Expectation("ExpectColumnValuesToBeBetween", arguments, critical=False)


# Of any task's data: stage → frame (`data_frames`) → what must hold.
RAW: dict[str, list[Expectation]] = {
    "images": [
        *map(filled, IMAGE),
        unique("id"),
        unique("file_name"),
        among("split", SPLITS),
        at_least("width", 1),
        at_least("height", 1),
        true("file_exists"),
        matches("sha256", SHA256),
    ],
    "categories": [
        *map(filled, CATEGORY),
        unique("id"),
        unique("name"),
        equal("frequency", "letter_expected"),
        equal("image_count", "images_expected"),
    ],
    "split_leaks": [no_rows()],
    "sizes": [equal("found", "expected"), ordered("found", "least", or_equal=True)],
}
FEW_SHOT: dict[str, list[Expectation]] = {
    "counts": [equal("images", "expected")],
    "choices": [
        unique("pair"),
        true("shows_category"),
        equal("sha256", "sha256_recorded"),
        equal("sha256", "sha256_of_file"),
    ],
    "leaks": [no_rows()],
}
EXAMPLES: list[Expectation] = [
    *(filled(column) for column in EXAMPLE if column != "image"),
    unique("id"),
    positive("image_bytes"),
]
DESCRIPTIONS = {
    "raw": {
        "images": "Ids and names unique, every field there, every file there.",
        "categories": "Frequency letters and counts agree with the training images.",
        "split_leaks": "No image in two splits, by id or by content.",
        "sizes": "Images to train and to evaluate on; as many of each split, and categories, as the protocol has.",
    },
    "few_shot": {
        "counts": "Exactly K images a category (or all there are, where the recipe says so).",
        "choices": "Each chosen once, showing its category; hashes equal to those of the raw files.",
        "leaks": "No validation or evaluation image, by id or by content.",
    },
}
