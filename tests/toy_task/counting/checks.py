"""What must hold of counting's data: plain data, about the frames that `frames` makes."""

from vrft_core.expectations import EXAMPLES, Expectation, among, at_least, no_rows

LABELS = "boxes"
GOOD = "The share of images whose objects are counted right, in points."
DESCRIPTIONS = {
    "raw": {"counts": "Every image shows an animal."},
    "prompts": {
        "examples": "Unique and complete; each target answer reads back to its count.",
        "strays": "Training images are the chosen ones; no example of another split.",
    },
}
EXPECTATIONS: dict[str, dict[str, list[Expectation]]] = {
    "raw": {"counts": [at_least("animals", 1)]},
    "prompts": {
        "examples": [*EXAMPLES, among("answer_differs", [False]), among("answer_faults", [0])],
        "strays": [no_rows()],
    },
}
LIMITS = {
    "no_number": (0.05, "Share of answers without a number."),
    "one_number": (0.9, "Share of answers that give the most frequent number."),
}
