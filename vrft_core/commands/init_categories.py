"""Which categories of a user's own data are taught, and what is said about the others."""

import shlex
from collections.abc import Sequence

from vrft_core import sampling
from vrft_core.annotations import Annotations
from vrft_core.errors import InputError, nearest
from vrft_core.tasks import get_task

MANY = 10  # categories: with more there is a hint to choose


def many(source: Annotations, benchmark: dict, name: str) -> list[str]:
    """What to do where so many categories are taken that asking about each in every image takes long."""
    taken = benchmark["categories"]
    if len(taken) <= MANY or get_task(benchmark["task"]).checks.LABELS != "boxes":
        return []
    usable = {source.categories[i]["name"]: len(images) for i, images in sampling.usable_images(source).items()}
    first = sorted(taken, key=lambda category: -usable[category])[:2]
    return [
        f"{len(taken)} categories: every model is asked about each of them in every evaluation image. To teach fewer: "
        f"vrft remove {name}, then the same command with some, such as --categories {' '.join(map(shlex.quote, first))}"
    ]


def pick(source: Annotations, enough: int, names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Category names to sample, and a line on each group of categories that was left out."""
    usable = sampling.usable_images(source)
    evaluated = {category for i in source.split("eval").images for category in source.category_ids(i)}
    count = {category["name"]: len(usable[i]) for i, category in source.categories.items()}
    scored = {source.categories[i]["name"] for i in evaluated}
    if names:
        if unknown := [name for name in names if name not in count]:
            remedy = f"{nearest(unknown[0], count)} known: {some(sorted(count))}".lstrip()
            raise InputError("--categories", f"the data has no category {unknown[0]!r}", remedy)
        short = [f"{name} ({count[name]})" for name in dict.fromkeys(names) if count[name] < enough]
        if short:
            raise InputError(
                "--categories",
                f"too few usable training images for {enough} shots, validation images set aside: {some(short)}",
                "lower --shots, or leave these out",
            )
        if unscored := [name for name in names if name not in scored]:
            raise InputError(
                "--categories",
                f"the evaluation images show no {some(unscored)}",
                "leave it out, or evaluate on more images",
            )
        return list(dict.fromkeys(names)), []
    taken = [name for name in sorted(count) if count[name] >= enough and name in scored]
    if not taken:
        best = max(sorted(count), key=lambda name: (name in scored, count[name]))
        raise InputError(
            "--shots",
            f"no category has {enough} usable training images (validation images set aside) and an evaluation image; "
            f"the most is {count[best]} ({best!r})",
            "lower --shots, or annotate more images",
        )
    short = [f"{name} ({count[name]})" for name in sorted(count) if 0 < count[name] < enough]
    unscored = [name for name in sorted(count) if count[name] >= enough and name not in scored]
    unseen = [name for name in sorted(count) if not count[name]]
    reasons = {
        f"fewer than {enough} usable training images (lower --shots to include them)": short,
        "no evaluation image": unscored,
    }
    reasons["no usable training image"] = unseen
    return taken, [f"left out, {reason}: {some(group, 20)}" for reason, group in reasons.items() if group]


def some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
