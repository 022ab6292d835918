"""What must hold of detection's data beside what holds of any: plain data, about the frames that `frames` makes."""

from vrft_core.expectations import (
    EXAMPLES,
    Expectation,
    among,
    at_least,
    equal,
    filled,
    mostly_at_least,
    no_rows,
    ordered,
    positive,
    true,
    unique,
)  # fmt: skip

SMALL = 4  # pixels

LABELS = "boxes"  # what a user's own images must have
GOOD = (
    "AP by the rules of LVIS, for any data, in points, 0 to 100: how many objects are found, how exactly they are "
    "framed, and whether confident answers are right more often. What is good depends on the data: compare with the "
    "untouched model. After a few images, some points more are a good result; less than the interval's half width is "
    "noise."
)
DESCRIPTIONS = {
    "raw": {"boxes": "Inside their image, of positive size, with known category and image; ids unique."},
    "prompts": {
        "examples": "Unique and complete; each target answer reads back to exactly its boxes.",
        "boxes": "Inside the answer's frame.",
        "strays": "Training pairs are the chosen ones; no example of another split.",
    },
}
EXPECTATIONS: dict[str, dict[str, list[Expectation]]] = {
    "raw": {
        "boxes": [
            unique("id"),
            true("category_known"),
            true("segmentation"),
            filled("image_width"),  # a box of an image that is not there has none
            at_least("x1", 0),
            at_least("y1", 0),
            ordered("x2", "x1"),
            ordered("y2", "y1"),
            ordered("image_width", "x2", or_equal=True),
            ordered("image_height", "y2", or_equal=True),
            positive("area"),
            mostly_at_least(
                "shorter_side", SMALL, 0.95, f"Hardly any object is less than {SMALL} pixels wide or high."
            ),
        ]
    },
    "prompts": {
        "examples": [
            *EXAMPLES,
            equal("boxes_found", "boxes_annotated"),
            among("answer_differs", [0]),
            among("answer_faults", [0]),
        ],
        "boxes": [
            at_least("x1", 0),
            at_least("y1", 0),
            ordered("x2", "x1"),
            ordered("y2", "y1"),
            ordered("limit_x", "x2", or_equal=True),
            ordered("limit_y", "y2", or_equal=True),
        ],
        "strays": [no_rows()],
    },
}
LIMITS = {  # of an evaluation's numbers: the most there should be, and what more means
    "box_inflation": (1.5, "Boxes for each true one."),
    "confidence_extremes": (0.8, "Share of boxes stated at exactly 0 or 1: such confidence ranks nothing."),
    "duplicates": (0.05, "Share of boxes that repeat another of the same answer, exactly or nearly."),
}
