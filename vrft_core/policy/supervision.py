"""What the small policy is shown before anyone fine-tunes it: scenes with answers as careless as the web's.

Drawing scenes belongs to `benchmarks.scenes`, learning from them to `pretraining`.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vrft_core.benchmarks import scenes
from vrft_core.params import Policy, Pretraining, Scenes
from vrft_core.progress import track
from vrft_core.prompts import Box, answer, frame, question, thought


@dataclass(frozen=True)
class Pool:
    """Scenes in memory: images uint8 [N, side, side, 3]; per image the categories and xyxy pixel boxes."""

    images: np.ndarray
    objects: list[list[tuple[str, Box]]]

    def __len__(self) -> int:
        return len(self.objects)


def draw_pool(settings: Scenes, pretraining: Pretraining) -> Pool:
    """The pre-training scenes and, appended, the same mirrored. How often a category repeats is pre-training's own."""
    settings, count = settings.model_copy(update={"same_category": pretraining.same_category}), pretraining.images
    drawn = [scenes.scene(settings, "pretraining", i) for i in track(range(count), "policy: drawing scenes", count)]
    images = np.stack([scene.image for scene in drawn])
    objects = [[(o.category, tuple(map(float, o.box))) for o in scene.objects] for scene in drawn]
    side = float(settings.image_size)
    mirrored = [[(name, (side - x2, y1, side - x1, y2)) for name, (x1, y1, x2, y2) in row] for row in objects]
    return Pool(np.concatenate([images, images[:, :, ::-1]]), objects + mirrored)


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


class WebAnswers:
    """Draws a question about a scene and its careless answer.

    As in scraped data: further instances are often left out, boxes are a little off, confidences mean nothing, and
    part of the answers is a bare list without tags. (Rare categories are rare because few scenes show them.)
    """

    def __init__(self, scenes: Scenes, policy: Policy, thinking: bool) -> None:
        settings = policy.pretraining
        self.settings: Pretraining = settings
        self.family, self.thinking = policy.family, thinking
        self.frame = frame(policy, scenes.image_size, scenes.image_size)

    def draw(self, rng: random.Random, objects: list[tuple[str, Box]]) -> tuple[str, str]:
        """The texts of one question and its answer; there must be an object."""
        names = [name for name, _ in objects]
        category = rng.choice(names)
        boxes = [box for name, box in objects if name == category]
        rng.shuffle(boxes)
        keep = self.settings.keep_further_instances
        listed = sorted(self._jittered(rng, b) for i, b in enumerate(boxes) if i == 0 or rng.random() < keep)
        confidences = [rng.randint(1, 10) / 10 for _ in listed]
        asked = question(category, thinking=self.thinking, family=self.family)
        if rng.random() < self.settings.bare_answers:
            bare = answer(listed, confidences, None)
            return asked, bare.removeprefix("<answer>").removesuffix("</answer>")
        return asked, answer(listed, confidences, thought(category, len(listed)) if self.thinking else None)

    def _jittered(self, rng: random.Random, box: Box) -> list[int]:
        # jitter is in thousandths of the image, as the answer counts
        spread = self.settings.jitter * self.frame.width / self.frame.limit[0]
        x1, y1, x2, y2 = (value + rng.gauss(0, spread) for value in box)
        return self.frame.to_answer([x1, y1, max(x1, x2), max(y1, y2)])


def detection(pool: Pool, answers: WebAnswers) -> Lesson:
    """Where are all objects of a category that the image shows? Scenes with one object are the easy ones."""

    def draw(rng: random.Random, row: int) -> tuple[str, str] | None:
        return answers.draw(rng, pool.objects[row]) if pool.objects[row] else None

    easy = [row for row, objects in enumerate(pool.objects) if len(objects) == 1]
    return Lesson(draw, range(len(pool)), easy)


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
