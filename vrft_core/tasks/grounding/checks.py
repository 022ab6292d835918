"""What must hold of grounding's data beside what holds of any: plain data, about the frames that `frames` makes."""

from vrft_core.expectations import EXAMPLES, Expectation, among, at_least, filled, no_rows, ordered, true, unique

LABELS = "expressions"  # what a user's own images must have
GOOD = (
    "Accuracy at IoU 0.5 in points, 0 to 100: the share of expressions whose box overlaps the object that is meant by "
    "half or more. Compare with the untouched model; less than the interval's half width is noise. Look at `rejection` "
    "too: a model that always draws a box loses there."
)
DESCRIPTIONS = {
    "raw": {
        "expressions": "Not empty, of a known kind, about a known image; ids unique; each target inside its image.",
    },
    "prompts": {
        "examples": "Unique and complete; each target answer reads back to exactly its box, or to 'No Objects'.",
        "strays": "Training examples are the chosen ones; no example of another split.",
    },
}
EXPECTATIONS: dict[str, dict[str, list[Expectation]]] = {
    "raw": {
        "expressions": [
            unique("id"),
            filled("expression"),
            true("says_something"),
            true("category_known"),
            filled("image_width"),  # an expression about an image that is not there has none
            at_least("x1", 0),
            at_least("y1", 0),
            true("has_area_or_is_absent"),
            ordered("image_width", "x2", or_equal=True),
            ordered("image_height", "y2", or_equal=True),
        ]
    },
    "prompts": {
        "examples": [*EXAMPLES, among("answer_differs", [0]), among("answer_faults", [0])],
        "strays": [no_rows()],
    },
}
LIMITS = {  # of an evaluation's numbers: the most there should be, and what more means
    "several_boxes": (0.05, "Share of answers that list more than one box."),
    "no_box": (0.2, "Share of answers without a usable box where one is meant."),
    "false_alarms": (0.5, "Share of expressions without a target that are answered with a box."),
}
