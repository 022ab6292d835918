"""What the frames must hold, as Great Expectations suites: frame → expectations. `critical` blocks, `warning` does not.

Importing this module imports great_expectations (seconds): only a check that runs may do so.
"""

from collections.abc import Sequence

import great_expectations.expectations as gxe

from vrft_core.tasks.detection.checks import CATEGORY, EXAMPLE, IMAGE
from vrft_core.annotations import SPLITS

Suites = dict[str, list[gxe.Expectation]]

SHA256 = r"^[0-9a-f]{64}$"
SMALL = 4  # pixels


def raw() -> Suites:
    return {
        "images": [
            *(_filled(column) for column in IMAGE),
            _unique("id"),
            _unique("file_name"),
            _among("split", SPLITS),
            _at_least("width", 1),
            _at_least("height", 1),
            _true("file_exists"),
            gxe.ExpectColumnValuesToMatchRegex(column="sha256", regex=SHA256, severity="critical"),
        ],
        "boxes": [
            _unique("id"),
            _true("category_known"),
            _true("segmentation"),
            _filled("image_width"),  # a box of an image that is not there has none
            _at_least("x1", 0),
            _at_least("y1", 0),
            _ordered("x2", "x1"),
            _ordered("y2", "y1"),
            _ordered("image_width", "x2", or_equal=True),
            _ordered("image_height", "y2", or_equal=True),
            _positive("area"),
            gxe.ExpectColumnValuesToBeBetween(
                column="shorter_side",
                min_value=SMALL,
                mostly=0.95,
                severity="warning",
                description=f"Hardly any object is less than {SMALL} pixels wide or high.",
            ),
        ],
        "categories": [
            *(_filled(column) for column in CATEGORY),
            _unique("id"),
            _unique("name"),
            _equal("frequency", "letter_expected"),
            _equal("image_count", "images_found"),
        ],
        "split_leaks": [_no_rows()],
    }


def few_shot() -> Suites:
    return {
        "counts": [_equal("images", "expected")],
        "choices": [
            _unique("pair"),
            _true("shows_category"),
            _equal("sha256", "sha256_recorded"),
            _equal("sha256", "sha256_of_file"),
        ],
        "leaks": [_no_rows()],
    }


def prompts() -> Suites:
    return {
        "examples": [
            *(_filled(column) for column in EXAMPLE if column != "image"),
            _unique("example_id"),
            _positive("image_bytes"),
            _equal("boxes_found", "boxes_annotated"),
            _among("answer_differs", [0]),
            _among("answer_faults", [0]),
        ],
        "boxes": [
            _at_least("x1", 0),
            _at_least("y1", 0),
            _ordered("x2", "x1"),
            _ordered("y2", "y1"),
            _ordered("limit_x", "x2", or_equal=True),
            _ordered("limit_y", "y2", or_equal=True),
        ],
        "strays": [_no_rows()],
    }


def _filled(column: str) -> gxe.Expectation:
    return gxe.ExpectColumnValuesToNotBeNull(column=column, severity="critical")


def _unique(column: str) -> gxe.Expectation:
    return gxe.ExpectColumnValuesToBeUnique(column=column, severity="critical")


def _among(column: str, values: Sequence) -> gxe.Expectation:
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(values), severity="critical")


def _true(column: str) -> gxe.Expectation:
    return _among(column, [True])


def _at_least(column: str, value: float) -> gxe.Expectation:
    return gxe.ExpectColumnValuesToBeBetween(column=column, min_value=value, severity="critical")


def _positive(column: str) -> gxe.Expectation:
    return gxe.ExpectColumnValuesToBeBetween(column=column, min_value=0, strict_min=True, severity="critical")


def _ordered(greater: str, smaller: str, or_equal: bool = False) -> gxe.Expectation:
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=greater, column_B=smaller, or_equal=or_equal, severity="critical"
    )


def _equal(one: str, other: str) -> gxe.Expectation:
    return gxe.ExpectColumnPairValuesToBeEqual(column_A=one, column_B=other, severity="critical")


def _no_rows() -> gxe.Expectation:
    return gxe.ExpectTableRowCountToEqual(value=0, severity="critical")
