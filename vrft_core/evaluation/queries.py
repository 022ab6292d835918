"""Which question is asked about which image: the presence protocols of detection evaluation.

Asking belongs to `predict`, scoring to `average_precision`.
"""

from vrft_core.annotations import Annotations
from vrft_core.params import Benchmark


def evaluated_categories(annotations: Annotations, benchmark: Benchmark) -> list[int]:
    """The benchmark's chosen categories, or all of them; ascending ids."""
    names = set(benchmark.categories or (c["name"] for c in annotations.categories.values()))
    return sorted(i for i, category in annotations.categories.items() if category["name"] in names)


def oracle(annotations: Annotations, category_ids: list[int]) -> list[tuple[int, int]]:
    """(image, category) pairs for the categories truly present: an upper bound that needs the truth."""
    wanted = set(category_ids)
    return [(i, c) for i in annotations.images for c in annotations.category_ids(i) if c in wanted]
