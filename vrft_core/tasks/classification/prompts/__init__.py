"""Classification questions: one an image, as examples; their texts are in `questions`."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vrft_core import sampling
from vrft_core.annotations import Annotations, spoken
from vrft_core.errors import InputError
from vrft_core.families.form import Form
from vrft_core.tasks.classification.prompts.questions import answer, question
from vrft_core.tasks.classification.settings import Settings
from vrft_core.tasks.task import Example, Pair

DEFAULT = "labelled"
UNKNOWN = 0  # in place of a category id: an image whose class is not known
MANY = 100  # classes, in the longest question


def labelled(annotations: Annotations, categories: Sequence[int]) -> list[Pair]:
    """Every image of one of these classes, with its class.

    Raises InputError for an image with several: which of them to name could not be told from the question.
    """
    wanted, pairs = set(categories), []
    for image_id, image in annotations.images.items():
        classes = annotations.category_ids(image_id)
        if len(classes) > 1:
            named = " and ".join(repr(annotations.categories[i]["name"]) for i in classes[:2])
            raise InputError(
                f"annotations.json: image {image_id} ({image['file_name']})",
                f"has {len(classes)} classes, {named}",
                "classification needs exactly one: keep one, or leave the image out",
            )
        pairs += [(image_id, one) for one in classes if one in wanted]
    return pairs


def questions(truth: Annotations, categories: Sequence[int], settings: Settings, root: Path) -> list[Pair]:
    """What evaluation asks: every labelled image."""
    return labelled(truth, categories)


def validation(truth: Annotations, categories: Sequence[int], settings: Settings) -> list[Pair]:
    """As evaluation does."""
    return labelled(truth, categories)


def asked_by(protocol: str | None, annotations: Annotations, categories: Sequence[int], known: bool) -> list[Pair]:
    """The images of these classes (`labelled`), or (None) every image once, whether or not its class is known."""
    if protocol is None:
        classes = {image: annotations.category_ids(image) for image in annotations.images}
        return [(image, found[0] if len(found) == 1 else UNKNOWN) for image, found in classes.items()]
    if protocol != DEFAULT:
        raise InputError("--presence", f"no {protocol!r} in classification", f"leave it out, or say {DEFAULT}")
    if not known:
        raise InputError("--presence", f"{protocol!r} needs true annotations", "give --annotations")
    return labelled(annotations, categories)


def fitting(truth: Annotations, categories: Sequence[int], settings: Settings) -> list[Pair]:
    """Nothing: no metric is fitted."""
    return []


def examples(pairs: Sequence[Pair], annotations: Annotations, images: Path, form: Form) -> Iterator[Example]:
    """One example a pair. `truth`: {"category_id", "names": [the label, then its synonyms]}.

    The label is the category's name as one says it (`annotations.spoken`). A pair of an UNKNOWN class has no names.
    """
    listed = _listed(annotations, form)
    for image_id, category_id in pairs:
        image = annotations.images[image_id]
        names = spoken(annotations.categories[category_id]) if category_id != UNKNOWN else []
        label = names[0] if names else ""
        yield Example(
            id=f"{image_id}-{category_id}",
            image_id=image_id,
            width=image["width"],
            height=image["height"],
            image=images / image["file_name"],
            label=label,
            question=question(form.subject, listed.get(category_id, listed[UNKNOWN]), thinking=form.thinking),
            answer=answer(label, thinking=form.thinking),
            truth=json.dumps({"category_id": category_id, "names": names}, ensure_ascii=False),
        )


def longest(form: Form, name: str) -> tuple[str, str]:
    """A question, with MANY classes where it lists them, and the answer `name`."""
    listed = [name] * MANY if _way(form) else []
    return question(form.subject, listed, thinking=form.thinking), answer(name, thinking=form.thinking)


def _listed(annotations: Annotations, form: Form) -> dict[int, list[str]]:
    """Category id → the labels that the question about an image of it names; UNKNOWN: about any other image."""
    way, everything = _way(form), annotations.categories
    if not way:
        return {UNKNOWN: []}
    found = {UNKNOWN: _labels(annotations, everything)}
    if way == "halves" and form.benchmark and form.few_shot:
        taught = sampling.taught(annotations, form.few_shot, form.benchmark.sampled)
        for half in (taught, set(annotations.chosen(form.benchmark.categories)) - taught):
            found |= dict.fromkeys(half, _labels(annotations, half))
    return found


def _labels(annotations: Annotations, categories: Iterable[int]) -> list[str]:
    """In alphabetical order: the order of ids may tell which are related."""
    return sorted(spoken(annotations.categories[category])[0] for category in categories)


def _way(form: Form) -> bool | str:
    return isinstance(form.settings, Settings) and form.settings.class_list


def training(selection: sampling.Selection) -> list[Pair]:
    """The chosen images."""
    return sampling.pairs(selection)
