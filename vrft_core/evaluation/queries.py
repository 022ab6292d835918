"""Which question is asked about which image: the presence protocols of detection evaluation.

| protocol | asked about an image                                 | what it measures                      |
|----------|------------------------------------------------------|---------------------------------------|
| `oracle` | the categories truly present                         | localising alone: an upper bound      |
| `self`   | the categories verified to be present, or absent     | the model's own 'No Objects' as well  |
| `map`    | what a stored map claims to be present (`presence`)  | as the paper did, with its base model |

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


def verified(annotations: Annotations, category_ids: list[int]) -> list[tuple[int, int]]:
    """Pairs whose answer is known: present, or listed in the image's `neg_category_ids` (protocol `self`).

    COCO annotates every category of every image, so that its absent ones all are listed (`benchmarks.coco_json`).
    """
    pairs = []
    for image_id, image in annotations.images.items():
        known = {*annotations.category_ids(image_id), *image["neg_category_ids"]}
        pairs += [(image_id, c) for c in category_ids if c in known]
    return pairs


def mapped(annotations: Annotations, category_ids: list[int], presence: dict[int, list[int]]) -> list[tuple[int, int]]:
    """Pairs that a presence map (image → category ids) claims; see `presence.read`."""
    wanted = set(category_ids)
    return [(i, c) for i in annotations.images for c in sorted(set(presence[i]) & wanted)]
