"""Detection scenes: the drawing of a number, and a whole data set of them on disk.

What a scene looks like belongs to `composition`, which categories it holds to `plan`, the files to `saving`.
"""

import random
from collections import Counter
from pathlib import Path

from vrft_core.params import Scenes
from vrft_core.sources.scenes import plan, saving
from vrft_core.sources.scenes.composition import Scene, compose
from vrft_core.sources.scenes.glyphs import vocabulary

NEGATIVE_SHARE = 0.5  # of the categories in play that an image lacks: verified absent, as LVIS verifies only some
NOT_EXHAUSTIVE_SHARE = 0.1  # of the images with several instances of a frequent category: one is left unannotated


def scene(settings: Scenes, split: str, index: int) -> Scene:
    """The scene number `index` of a split: train, val, eval or pretraining. The same arguments draw the same bytes.

    Raises InputError for settings no drawing can satisfy, IndexError past the end of a split.
    """
    plan.check(settings)
    planned = plan.plan(settings, split, index)
    rng = random.Random(f"scene/{settings.seed}/{split}/{index}")
    while True:
        drawn = compose(planned.categories, split, settings, rng)
        if {thing.category for thing in drawn.objects} == set(planned.distinct):
            return drawn


def write(directory: Path, settings: Scenes) -> None:
    """Write `images/` and `annotations.json` of train, val and eval into `directory`, replacing it whole.

    Raises InputError for settings no drawing can satisfy.
    """
    saving.save(
        directory,
        settings,
        "Drawn scenes",
        lambda split, index: scene(settings, split, index),
        lambda drawn, split, index: _labels(drawn, settings, split, index),
        lambda images, instances: _categories(settings, images, instances),
    )


def _labels(drawn: Scene, settings: Scenes, split: str, index: int) -> tuple[list[int], list[int], list[dict]]:
    """Negative categories, not exhaustively annotated ones, annotations."""
    rng = random.Random(f"labels/{settings.seed}/{split}/{index}")
    ids = {name: vocabulary()[name].id for names in settings.categories.values() for name in names}
    objects, not_exhaustive = drawn.objects, []
    counts = Counter(thing.category for thing in objects)
    several = [name for name in settings.categories["f"] if counts[name] > 1]
    if split != "val" and several and rng.random() < NOT_EXHAUSTIVE_SHARE:
        name = rng.choice(several)
        left_out = rng.choice([thing for thing in objects if thing.category == name])
        objects, not_exhaustive = [thing for thing in objects if thing is not left_out], [ids[name]]
    absent = sorted(ids[name] for name in ids if name not in counts)
    negative = sorted(rng.sample(absent, int(NEGATIVE_SHARE * len(absent))))
    rows = [{"category_id": ids[thing.category]} | saving.region(thing.mask, thing.box) for thing in objects]
    return negative, not_exhaustive, rows


def _categories(settings: Scenes, images: Counter[int], instances: Counter[int]) -> list[dict]:
    chosen = [vocabulary()[name] for names in settings.categories.values() for name in names]
    plan.verify(settings, {category.name: images[category.id] for category in chosen})
    return [
        saving.category(c.id, c.name, c.synset, [c.name], "", images[c.id], instances[c.id])
        for c in sorted(chosen, key=lambda category: category.id)
    ]
