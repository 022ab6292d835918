"""What the sources of fine-grained classification share: labelled lists of images → content to write."""

from typing import Literal

from vrft_core.annotations import SPLITS
from vrft_core.errors import InputError
from vrft_core.sources import selection
from vrft_core.sources.writing import Content

Labels = dict[str, int]  # image → label from 0


class Settings(selection.Settings):
    """`splits`: the official ones, or those of CoOp that the paper uses. `validation`: the share of training images
    that is held out where the split has no validation images of its own."""

    splits: Literal["official", "coop"] = "official"
    validation: float = 0.25


def content(splits: dict[str, Labels], names: list[str], ids: dict[str, int], info: dict) -> Content:
    """One annotation an image: its class, over the whole image. Class ids count from 1; `ids` gives image ids."""
    return Content(
        [
            {"id": ids[image], "file_name": image, "split": split}
            for split in SPLITS
            for image in sorted(splits.get(split, {}))
        ],
        [
            {"image_id": ids[image], "category_id": label + 1, "bbox": None}
            for split in SPLITS
            for image, label in sorted(splits.get(split, {}).items())
        ],
        [{"id": number, "name": name} for number, name in enumerate(names, 1)],
        info,
    )


def with_validation(splits: dict[str, Labels], share: float) -> dict[str, Labels]:
    """Splits in which some training images became validation images, unless there were some."""
    if splits.get("val"):
        return splits
    held_out = selection.hold_out({image: {label} for image, label in splits["train"].items()}, share)
    return splits | {
        "train": {image: label for image, label in splits["train"].items() if image not in held_out},
        "val": {image: label for image, label in splits["train"].items() if image in held_out},
    }


def agreed(rows: dict[str, list[tuple[str, int, str]]], official: Labels, where: object) -> dict[str, Labels]:
    """A foreign split's labels, compared with the official ones. Raises InputError naming the first that differs."""
    splits: dict[str, Labels] = {}
    seen: set[str] = set()
    for split, items in rows.items():
        for image, label, _ in items:
            if official.get(image) != label:
                raise InputError(
                    where,
                    f"{split}: {image[:100]!r} has label {label}, officially {official.get(image)}",
                    "fetch it by hand",
                )
            if image in seen:
                raise InputError(where, f"{image[:100]!r} is listed twice", "fetch it by hand")
            seen.add(image)
        splits[split] = {image: label for image, label, _ in items}
    return splits
