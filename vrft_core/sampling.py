"""Few-shot sampling: which training images teach which category.

A choice depends on the seed, the category and the images' contents, never on the order of rows. Turning the chosen
images into questions belongs to `prompts`.
"""

import hashlib
import heapq
from collections.abc import Sequence
from operator import itemgetter
from typing import Literal, NotRequired, TypedDict

from vrft_core.annotations import Annotations
from vrft_core.errors import InputError
from vrft_core.params import FewShot

Names = list[str] | Literal["all"] | None


class ChosenImage(TypedDict):
    image_id: int
    sha256: str
    negatives: NotRequired[list[int]]  # categories verified absent from it that are asked about too


class ChosenCategory(TypedDict):
    id: int
    name: str
    frequency: str
    images: list[ChosenImage]


class Selection(TypedDict):
    """Content of `selection.json`."""

    seed: int
    shots: int
    categories: list[ChosenCategory]


def targets(source: Annotations, frequencies: Sequence[str], names: Names = None) -> list[dict]:
    """Categories to sample, by id: those named, or all, or without names those with one of the frequency letters.

    Raises InputError for a name the annotations do not know, and when nothing is left to sample.
    """
    by_name = {category["name"]: category for category in source.categories.values()}
    if names == "all":
        names = list(by_name)
    wanted = None if names is None else frozenset(names)
    if unknown := sorted((wanted or frozenset()) - set(by_name)):
        raise InputError(
            "params.yaml", f"categories: the annotations have no category {unknown[0]!r}", "check its spelling"
        )
    chosen = [
        category
        for category in by_name.values()
        if (category["name"] in wanted if wanted is not None else category["frequency"] in frequencies)
    ]
    if not chosen:
        raise InputError("params.yaml", "few_shot.frequencies and categories select nothing", "name some categories")
    return sorted(chosen, key=lambda category: category["id"])


def taught(source: Annotations, settings: FewShot, names: Names = None) -> frozenset[int]:
    """Ids of the categories that `targets` samples."""
    return frozenset(category["id"] for category in targets(source, settings.frequencies, names))


def usable_images(source: Annotations) -> dict[int, list[int]]:
    """Category id → training images that show it and in which every instance of it is annotated, ascending.

    Of images with the same bytes only the lowest id counts.
    """
    usable: dict[int, list[int]] = {category: [] for category in source.categories}
    seen: set[str] = set()
    category_of = itemgetter("category_id")
    for image_id in sorted(source.images):
        image = source.images[image_id]
        if image["split"] != "train" or image["sha256"] in seen:
            continue
        seen.add(image["sha256"])
        shown = set(map(category_of, source.by_image[image_id]))
        for category in shown.difference(image["not_exhaustive_category_ids"]):
            usable[category].append(image_id)
    return usable


def choose(
    source: Annotations, categories: list[dict], settings: FewShot, shots: int, seed: int, evaluated: Sequence[int] = ()
) -> Selection:
    """K training images for each category.

    With one seed the images for K = 1 are the first of those for K = 2, and so on: candidates are put in the order of
    a hash over (seed, category id, image sha256), and the first K are taken.

    With `settings.negatives`, each chosen image also names that many of the `evaluated` categories that are verified
    absent from it, in the order of a hash over (seed, category id, image sha256, absent category id); all, where there
    are fewer. With `settings.published`, every usable training image is taken: the authors have chosen.

    Raises InputError naming a category that has too few images (unless `when_short` is `all` and it has some), and
    naming an image that is also, by its content, a validation or evaluation image.
    """
    usable = usable_images(source)
    if settings.published:
        shots = max(shots, *(len(usable[c["id"]]) for c in categories))
    any_number = settings.published or settings.when_short == "all"
    short = [c for c in categories if len(usable[c["id"]]) < (1 if any_number else shots)]
    if short:
        have, more = len(usable[short[0]["id"]]), f" (and {len(short) - 1} more fall short)" if short[1:] else ""
        raise InputError(
            "params.yaml",
            f"category {short[0]['name']!r} has {have} usable training images, {shots} shots need {shots}{more}",
            "ask for fewer shots, leave the category out of `categories`"
            + (", or set few_shot.when_short to `all`" if have else ""),
        )

    digests = {image_id: image["sha256"].encode() for image_id, image in source.images.items()}

    def first(category_id: int) -> list[int]:
        begin = f"{seed}/{category_id}/".encode()
        lots = ((hashlib.sha256(begin + digests[i]).digest(), i) for i in usable[category_id])
        return [image_id for _, image_id in heapq.nsmallest(shots, lots)]

    def described(category_id: int, image_id: int) -> ChosenImage:
        digest = source.images[image_id]["sha256"]
        entry: ChosenImage = {"image_id": image_id, "sha256": digest}
        if settings.negatives:
            absent = set(evaluated) & set(source.images[image_id]["neg_category_ids"])

            def lot(absent_id: int) -> bytes:
                return hashlib.sha256(f"{seed}/{category_id}/{digest}/{absent_id}".encode()).digest()

            entry["negatives"] = sorted(absent, key=lot)[: settings.negatives]
        return entry

    selection: Selection = {
        "seed": seed,
        "shots": shots,
        "categories": [
            {
                "id": c["id"],
                "name": c["name"],
                "frequency": c["frequency"],
                "images": [described(c["id"], image_id) for image_id in first(c["id"])],
            }
            for c in categories
        ],
    }
    refuse_leaks(source, selection)
    return selection


def refuse_leaks(source: Annotations, selection: Selection) -> None:
    """Raise InputError naming the first chosen image that is held out, by its id or by its content."""
    held_out = {image["sha256"]: image for image in source.images.values() if image["split"] != "train"}
    for category in selection["categories"]:
        for image in category["images"]:
            by_id = source.images[image["image_id"]]
            leak = by_id if by_id["split"] != "train" else held_out.get(image["sha256"])
            if leak:
                raise InputError(
                    "annotations.json",
                    f"training image {image['image_id']} ({by_id['file_name']}) for {category['name']!r} is also the "
                    f"{leak['split']} image {leak['id']} ({leak['file_name']})",
                    "remove one of the two from the source",
                )


def pairs(selection: Selection, negatives: bool = False) -> list[tuple[int, int]]:
    """(image id, category id) of every choice, category by category; each followed by its negatives if wanted."""
    return [
        (image["image_id"], category)
        for row in selection["categories"]
        for image in row["images"]
        for category in (row["id"], *(image.get("negatives", ()) if negatives else ()))
    ]


def subset(source: Annotations, selection: Selection) -> dict:
    """The chosen images once each, with the annotations of the categories they were chosen for and no others."""
    chosen: dict[int, set[int]] = {}
    for category in selection["categories"]:
        for image in category["images"]:
            chosen.setdefault(image["image_id"], set()).add(category["id"])
    return {
        "info": {"description": f"{selection['shots']}-shot sample, seed {selection['seed']}"},
        "licenses": [],
        "images": [source.images[i] for i in sorted(chosen)],
        "annotations": sorted(
            (row for i in chosen for row in source.by_image[i] if row["category_id"] in chosen[i]),
            key=lambda row: row["id"],
        ),
        "categories": [source.categories[i] for i in sorted(source.categories)],
    }
