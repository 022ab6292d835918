"""Detection questions: which are asked (`presence`), how they are worded (`questions`), as examples."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from vrft_core import io, sampling
from vrft_core.annotations import Annotations
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.tasks.detection.prompts.presence import mapped, oracle, read_map, verified
from vrft_core.tasks.detection.prompts.questions import answered, asked, told
from vrft_core.tasks.detection.settings import Settings
from vrft_core.tasks.task import Example, Pair

DEFAULT = "oracle"
DIGITS = 3  # of a true box, in the answer's frame


def questions(truth: Annotations, categories: Sequence[int], settings: Settings, root: Path) -> list[Pair]:
    """Pairs to ask about, by the settings' presence protocol; `root` is the project's, where a map lies.

    Raises InputError for a presence map that is not the one recorded.
    """
    presence = settings.presence
    if presence == "oracle":
        return oracle(truth, categories)
    if presence == "self":
        return verified(truth, categories, settings.absent_share)
    path = root / presence.map
    found = read_map(path, truth, others=True)
    if (digest := io.sha256(path)) != presence.sha256:
        raise InputError(path, "is not the map that params.yaml names", f"if it is meant, its sha256 is {digest}")
    return mapped(truth, categories, found)


def asked_by(protocol: str | None, annotations: Annotations, categories: Sequence[int], known: bool) -> list[Pair]:
    """Pairs by a presence protocol, or by the map in a file; by none, every category of every image.

    `known`: the annotations are true.
    """
    if protocol is None:
        return [(image, category) for image in annotations.images for category in categories]
    if protocol in ("oracle", "self"):
        if not known:
            raise InputError("--presence", f"{protocol!r} needs true annotations", "give --annotations")
        return {"oracle": oracle, "self": verified}[protocol](annotations, categories)
    return mapped(annotations, categories, read_map(Path(protocol), annotations))


def validation(truth: Annotations, categories: Sequence[int], settings: Settings) -> list[Pair]:
    """As evaluation asks; where that is by a stored map, about the categories truly present."""
    if settings.presence == "self":
        return verified(truth, categories, settings.absent_share)
    return oracle(truth, categories)


def training(selection: sampling.Selection) -> list[Pair]:
    """The chosen pairs, each followed by its negatives: categories that are verified absent from the same image."""
    return sampling.pairs(selection, negatives=True)


def fitting(truth: Annotations, categories: Sequence[int], settings: Settings) -> list[Pair]:
    """About the first `fitting_images` training images, for the ranking `combined`."""
    chosen = set(list(truth.images)[: settings.fitting_images])
    known = verified if settings.asked_by == "self" else oracle
    return [pair for pair in known(truth, categories) if pair[0] in chosen]


def examples(pairs: Sequence[Pair], annotations: Annotations, images: Path, form: Form) -> Iterator[Example]:
    """One example a pair. `truth`: {"category_id", "boxes": xyxy in the answer's frame, unrounded to its grid}."""
    for image_id, category_id in pairs:
        image, category = annotations.images[image_id], annotations.categories[category_id]
        name = category["name"]
        boxes = annotations.boxes(image_id, category_id)
        frame = form.frame(image["width"], image["height"], images / image["file_name"])
        targets = [frame.to_answer(box) for box in boxes]
        truth = {
            "category_id": category_id,
            "boxes": [[round(value, DIGITS) for value in frame.scale(box)] for box in boxes],
        }
        yield Example(
            id=f"{image_id}-{category_id}",
            image_id=image_id,
            width=image["width"],
            height=image["height"],
            image=images / image["file_name"],
            label=name,
            question=told(category, form) + asked(name, form),
            answer=answered(targets, [1.0] * len(boxes), name, form),
            truth=json.dumps(truth),
        )


def longest(form: Form, name: str) -> tuple[str, str]:
    """A question about `name`, and an answer of three boxes."""
    boxes = [[100, 200, 300, 400]] * 3
    return asked(name, form), answered(boxes, [1.0] * 3, "x", form)
