"""How many evaluation images are enough, for everything that says so before training.

Half the paired 95 % interval of a share of right answers, one an image: 1.96 · √(DISAGREE / images). Average precision
has other spread: of 500 drawn scenes with 16 categories it was ± 1.4 points, where this says ± 4.4.
"""

import math
from collections import Counter
from collections.abc import Iterable

from vrft_core.annotations import Annotations

HOPED = 10.0  # points of 100: the difference between two models that one hopes to see
DISAGREE = 0.25  # share of images on which one of two models is right and the other wrong


def half(images: int) -> float:
    """Half the interval that so many images give, in points of 100."""
    return 100 * 1.96 * math.sqrt(DISAGREE / max(images, 1))


def images_for(points: float) -> int:
    """The least number of images that shows a difference of so many points of 100."""
    return math.ceil(DISAGREE * (100 * 1.96 / points) ** 2)


def seen_once(truth: Annotations, categories: Iterable[int]) -> list[str]:
    """Names of those categories that one evaluation image shows, or none."""
    images = truth.split("eval").images
    shown = Counter(category for image in images for category in truth.category_ids(image))
    return [truth.categories[category]["name"] for category in categories if shown[category] < 2]
