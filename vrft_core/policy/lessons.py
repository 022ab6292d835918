"""What pre-training asks about: images in memory with their objects, and lessons, each a kind of question about them.

Which questions a task asks, and how careless the answers are, belongs to the task's `supervision`.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np

from vrft_core.families.frames import Box
from vrft_core.params import Pretraining

Seen = tuple[np.ndarray, Sequence[tuple[str, Box]], Any]  # what a pool holds of an image


@dataclass(frozen=True)
class Pool:
    """Scenes in memory: images uint8 [N, side, side, 3]; per image the names and xyxy pixel boxes of its objects."""

    images: np.ndarray
    objects: Sequence[Sequence[tuple[str, Box]]]
    notes: Sequence[Any]  # what else a lesson needs to know of each image

    def __len__(self) -> int:
        return len(self.objects)

    @staticmethod
    def of(count: int, side: int, scenes: Iterable[tuple[int, Seen, Seen]]) -> "Pool":
        """`count` scenes and, appended, the same mirrored. Each comes with its number, in any order."""
        images = np.empty((2 * count, side, side, 3), np.uint8)
        objects: list[Sequence[tuple[str, Box]]] = [()] * len(images)
        notes: list[Any] = [None] * len(images)
        for number, *both in scenes:
            for row, seen in zip((number, count + number), both, strict=True):
                images[row], objects[row], notes[row] = seen
        return Pool(images, objects, notes)

    @staticmethod
    def joined(pools: list["Pool"]) -> "Pool":
        """All images in one pool. The list is emptied: the images are in memory once, and one part of them twice."""
        images = np.empty((sum(map(len, pools)), *pools[0].images.shape[1:]), np.uint8)
        objects, notes, first = [], [], 0
        while pools:
            part = pools.pop(0)
            images[first : first + len(part)] = part.images
            objects += part.objects
            notes += part.notes
            first += len(part)
        return Pool(images, objects, notes)


@dataclass(frozen=True)
class Lesson:
    """One kind of question about some images of a pool. Several kinds may ask about the same images.

    `draw(rng, row)` gives the texts of a question about one image and of its answer, or None where there is nothing to
    ask. All its random numbers come from `rng`.
    """

    draw: Callable[[random.Random, int], tuple[str, str] | None]
    rows: Sequence[int]  # of the pool
    easy: Sequence[int] = ()  # of the pool; in the first quarter of the steps they are asked about half of the time
    share: float = 1.0  # of all examples, relative to the other lessons'


@dataclass(frozen=True)
class Example:
    row: int  # of the pool
    question: str
    answer: str


def mirrored(image: np.ndarray, objects: Sequence[tuple[str, Box]]) -> Seen:
    """What a mirror shows, without notes."""
    side = float(image.shape[1])
    return image[:, ::-1], [(name, (side - x2, y1, side - x1, y2)) for name, (x1, y1, x2, y2) in objects], None


def in_order(opening: Sequence[Lesson], lessons: Sequence[Lesson], settings: Pretraining) -> Iterator[Example]:
    """Examples of `opening`, if there are any, for `settings.opening` steps, then of `lessons`, without end."""
    first = settings.opening if opening else 0
    begun = examples(opening, settings.model_copy(update={"steps": first}))
    rest = settings.model_copy(update={"steps": settings.steps - first})
    return chain(islice(begun, first * settings.batch_size), examples(lessons, rest))


def examples(lessons: Sequence[Lesson], settings: Pretraining) -> Iterator[Example]:
    """Examples of all lessons, mixed by their shares, without end. The same arguments give the same examples."""
    rng = random.Random(settings.seed)
    shares = [lesson.share for lesson in lessons]
    early = settings.steps * settings.batch_size // 4
    number = 0
    while True:
        lesson = rng.choices(lessons, shares)[0] if len(lessons) > 1 else lessons[0]
        said = None
        while said is None:
            easy = lesson.easy and number < early and rng.random() < 0.5
            row = rng.choice(lesson.easy if easy else lesson.rows)
            said = lesson.draw(rng, row)
            number += 1
        yield Example(row, *said)


def dense_targets(pool: Pool, categories: list[str], cell: int) -> tuple[np.ndarray, np.ndarray]:
    """For each `cell`-pixel square: the category of the object covering most of it, and that object's box.

    Returns labels int64 [N, T] (T squares in row order; `len(categories)` where nothing covers a quarter) and boxes
    float32 [N, T, 4], xyxy as shares of the side.
    """
    side = pool.images.shape[1]
    low = np.arange(0, side, cell)
    labels = np.full((len(pool), len(low), len(low)), len(categories), np.int64)
    boxes = np.zeros((len(pool), len(low), len(low), 4), np.float32)
    for i, objects in enumerate(pool.objects):
        best = np.full((len(low), len(low)), cell * cell / 4)
        for name, box in objects:
            wide = np.clip(np.minimum(box[2], low + cell) - np.maximum(box[0], low), 0, None)
            high = np.clip(np.minimum(box[3], low + cell) - np.maximum(box[1], low), 0, None)
            covered = np.outer(high, wide)
            won = covered > best
            best[won] = covered[won]
            labels[i][won] = categories.index(name)
            boxes[i][won] = np.array(box) / side
    return labels.reshape(len(pool), -1), boxes.reshape(len(pool), -1, 4)
