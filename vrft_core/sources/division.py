"""Which of a labelled folder's images are trained on, validated on and evaluated.

The folder's own splits hold where it has them; what it lacks is divided off the training images by their contents
alone, so that the same images always end in the same split. Images that look almost alike stay together.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path, PurePosixPath

import numpy as np

from vrft_core import near_duplicates
from vrft_core.errors import InputError
from vrft_core.sources.formats.labels import Item

EVALUATION_SHARE = 0.3
VALIDATION_SHARE = 0.25  # of what is left
ORDER = {"eval": 0, "val": 1, "train": 2}  # of equal images, those of the first stay


@dataclass
class Image:
    """An image that decodes: its size in pixels, and what it looks like (`near_duplicates`)."""

    item: Item
    sha256: str
    width: int
    height: int
    looks: np.ndarray | None
    split: str = ""


def divide(images: Sequence[Image], folder: Path) -> tuple[list[Image], list[str]]:
    """The images with their splits, and what a user should know about them.

    Copies of an evaluation image, byte by byte, are left out of the other splits; of images that merely look like one
    there is a remark. Raises InputError where too few images are left to train on, to validate on or to evaluate.
    """
    own, remarks = _own(images, folder), []
    for image in images:
        image.split = own.get(image.item.split or "", "train")
    kept = _without_copies(images)
    if len(kept) < len(images):
        remarks.append(f"left out: {len(images) - len(kept)} images that are also in another split")
    if "eval" not in own.values():
        _hold_out(kept, "eval", EVALUATION_SHARE)
        scored = sum(image.split == "eval" for image in kept)
        remarks.append(f"no split of its own to evaluate on: {scored} images are set aside for that")
    if "val" not in own.values():
        _hold_out(kept, "val", VALIDATION_SHARE)
    for split, use in (("train", "learn from"), ("val", "validate on"), ("eval", "evaluate on")):
        if not any(image.item.labels for image in kept if image.split == split):
            raise InputError(
                folder, f"too few images: none is left to {use}", "label at least four images of a category"
            )
    return kept, remarks + _alike(kept) + _contradicting(kept)


def _own(images: Sequence[Image], folder: Path) -> dict[str, str]:
    """The folder's name of a split → what it is used for; empty where all has to be divided here."""
    found = {image.item.split for image in images}
    if len(found) < 2:
        return {}
    if None in found:
        stray = next(image.item.name for image in images if image.item.split is None)
        raise InputError(folder, f"{stray!r} is in no split, other images are", "move it to a split's folder")
    if "train" not in found:
        raise InputError(folder, "has splits, but none to train on", "call one of them train")
    return {str(split): str(split) for split in found} if "eval" in found else {"train": "train", "val": "eval"}


def _without_copies(images: Sequence[Image]) -> list[Image]:
    owner: dict[str, str] = {}
    for image in sorted(images, key=lambda image: ORDER[image.split]):
        owner.setdefault(image.sha256, image.split)
    return [image for image in images if owner[image.sha256] == image.split]


def _hold_out(images: Sequence[Image], split: str, share: float) -> None:
    """Move groups of training images to `split`: first one for each name, the rarest first, then up to the share.

    No name loses more than half of its training images.
    """
    training = [image for image in images if image.split == "train"]
    groups = _groups(training)
    left = Counter(name for image in training for name in _names(image))
    keep, chosen = {name: ceil(count / 2) for name, count in left.items()}, Counter[str]()

    def take(group: list[Image]) -> bool:
        lost = Counter(name for image in group for name in _names(image))
        if any(image.split != "train" for image in group) or any(left[n] - lost[n] < keep[n] for n in lost):
            return False
        left.subtract(lost)
        chosen.update(lost)
        for image in group:
            image.split = split
        return True

    for name in sorted(left, key=lambda name: (left[name], name)):
        for group in groups if not chosen[name] else ():
            if any(name in _names(image) for image in group) and take(group):
                break
    for group in groups:
        if sum(image.split == split for image in training) + len(group) <= share * len(training):
            take(group)


def _groups(images: Sequence[Image]) -> list[list[Image]]:
    """Images that look alike, or that Roboflow made of one, in an order that follows from their contents."""
    looks = {image.item.name: image.looks for image in images}
    first: dict[str, str] = {}
    linked = [(one, other) for one, other, _ in near_duplicates.alike(looks, looks)]
    for name in looks:
        if source := re.match(r"(.+)\.rf\.[0-9a-f]{8,}\.", PurePosixPath(name).name):
            linked.append((name, first.setdefault(source[1], name)))
    group = {name: [name] for name in looks}
    for one, other in linked:
        if group[one] is not group[other]:
            group[one] += group[other]
            group |= dict.fromkeys(group[other], group[one])
    by_name = {image.item.name: image for image in images}
    found = {id(names): [by_name[name] for name in names] for names in group.values()}
    return sorted(found.values(), key=lambda images: min(image.sha256 for image in images))


def _names(image: Image) -> set[str]:
    return {label.name for label in image.item.labels if not label.crowd}


def _alike(images: Sequence[Image]) -> list[str]:
    """A remark on images to learn from that look almost like one to evaluate on."""
    scored = {image.item.name: image.looks for image in images if image.split == "eval"}
    taught = {image.item.name: image.looks for image in images if image.split != "eval"}
    pairs = near_duplicates.alike(taught, scored)
    if not pairs:
        return []
    one, other, _ = pairs[0]
    return [
        f"warning: {len({name for name, *_ in pairs})} images outside the evaluation look almost like one inside it, "
        f"such as {one} and {other}: scores will be too good"
    ]


def _contradicting(images: Sequence[Image]) -> list[str]:
    """A remark on copies of an image, byte by byte, that have other labels than it."""
    first: dict[str, Image] = {}
    pairs = [(image, one) for image in images if _names(one := first.setdefault(image.sha256, image)) != _names(image)]
    return [
        f"warning: {len(pairs)} images have other labels than a copy of theirs, such as {image.item.name} and "
        f"{one.item.name}, which are the same image with other labels: correct or remove one"
        for image, one in pairs[:1]
    ]
