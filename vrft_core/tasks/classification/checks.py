"""What must hold of classification's data beside what holds of any: plain data about what `frames` makes."""

from vrft_core.expectations import EXAMPLES, Expectation, among, at_least, equal, no_rows, true, unique

LABELS = "classes"  # what a user's own images must have
GOOD = (
    "Accuracy in points, 0 to 100: the share of images called by the right name. A model that guesses gets 100 divided "
    "by the number of classes. Few images a class can add tens of points; less than the interval's half width is noise."
)
DESCRIPTIONS = {
    "raw": {
        "labels": "One annotation an image, of a known class.",
        "names": "No name, synonyms among them, means two classes.",
    },
    "prompts": {
        "examples": "Unique and complete, an image once a split; each target answer reads back to its class alone.",
        "strays": "Training images are the chosen ones; no example of another split.",
    },
}
EXPECTATIONS: dict[str, dict[str, list[Expectation]]] = {
    "raw": {
        "labels": [unique("image_id"), true("image_known"), among("annotations", [1]), true("category_known")],
        "names": [unique("name"), at_least("length", 1)],
    },
    "prompts": {
        "examples": [
            *EXAMPLES,
            unique("image_of_split"),
            equal("label", "label_annotated"),
            true("reads_back"),
            among("other_classes", [0]),
            among("answer_faults", [0]),
        ],
        "strays": [no_rows()],
    },
}
LIMITS = {  # of an evaluation's numbers: the most there should be, and what more means
    "empty_names": (0.05, "Share of answers without a name."),
    "unknown_names": (0.2, "Share of names that no class goes by: the answers are not in the classes' words."),
    "one_name": (0.5, "Share of answers that give the most frequent name: the images may not be looked at."),
}
