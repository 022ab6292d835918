"""The gallery: some questions with image, expected answer and every model's, filtered without a script.

Each entry carries the numbers of the options it belongs to; CSS hides what the chosen options exclude. Which answers
are right is said by the task, in `judged`; how boxes are drawn is in `drawing`.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from vrft_core.report import drawing
from vrft_core.report.judged import OUTCOMES, Judgements, outcome_label, outcomes
from vrft_core.report.panel import MODEL_NAMES, Gallery, Inputs
from vrft_core.report.rows import Answered, Filter, Option, Shown
from vrft_core.report.summary import pair_name
from vrft_core.report.text import printable

SHOWN = 48
SIDES = (640, 480, 360, 240)  # px of the longer side of an embedded image, the first that fits
BUDGET = 4_500_000  # bytes of all embedded images
LONGEST = 4000  # characters of a question or an answer
COMPARED = ("rft-sft", "rft-base")
FAILED = ("rft", "sft", "base")
CHOSEN = (
    f"At most {SHOWN} questions are shown, chosen at random: those that RFT answers better than SFT, worse, and "
    "equally well take turns, and in each of these the kinds of question and of failure. So failures are more frequent "
    "here than among all questions; the choices say how many are shown of how many."
)


@dataclass(frozen=True)
class Seen:
    """What there is to see of one model's answer. Boxes are xyxy pixels of the image."""

    caption: str
    boxes: Sequence[tuple[Sequence[float], str]] = ()  # with the label on each
    true: Sequence[Sequence[float]] = ()
    notes: list[str] = field(default_factory=list)


def gallery(
    inputs: Inputs, judged: Judgements, images: Path, seed: int, see: Callable[[str, str], Seen], boxes: bool = True
) -> Gallery:
    """`see`: what there is to see of (model, example). `boxes`: whether answers are drawn over the image."""
    pairs = {name: (row["image_id"], row["category_id"]) for name, row in inputs.rows["base"].items()}
    names = choose(pairs, judged, inputs.taught, seed)
    filters, tags = _filters(inputs, judged, pairs, names)
    asked = _examples(inputs, [pairs[name] for name in names], images)
    licences = inputs.licences()
    entries: list[Shown] = []
    for number, (name, one) in enumerate(zip(names, _pictures(inputs, names, pairs, images), strict=True)):
        example, image = asked[name], inputs.truth.images[pairs[name][0]]
        label = printable(example.label.replace("_", " "), 120)
        plain = Markup("") if boxes else drawing.boxes_over(one, [], [], "truth", f"An evaluation image: {label}.")
        answers = [_answered(inputs, judged, one, name, model, label, see, boxes) for model in MODEL_NAMES]
        entries.append(
            {
                "number": number,
                "label": label,
                "question": printable(example.question, LONGEST),
                "expected": printable(example.answer, LONGEST),
                "few_shot": pairs[name][1] in inputs.taught,
                "tags": tags[name],
                "picture": one.store,
                "plain": plain,
                "answers": answers,
                "credit": drawing.credit(image, licences),
            }
        )
    return Gallery(entries, filters, _style(filters), boxes)


def choose(
    pairs: Mapping[str, tuple[int, int]], judged: Judgements, few_shot: Collection[int], seed: int, count: int = SHOWN
) -> list[str]:
    """`count` random examples: wins, losses and ties of RFT against SFT take turns, and what they ask, such as about
    something that is there or is not; in each of these the kinds of failure.

    `pairs`: example → (image, category). Within a kind categories take turns, and no image comes twice before every
    outcome has run out of new ones.
    """
    lot = random.Random(f"gallery/{seed}")
    names = {pair: name for name, pair in pairs.items()}
    found = outcomes(judged, "rft-sft")
    kinds = {
        (outcome, kind): {} for outcome in OUTCOMES for kind in sorted({one.kind for one in judged["rft"].values()})
    }
    for pair, name in sorted(names.items()):
        rft = judged["rft"][name]
        kinds[found[name], rft.kind].setdefault(rft.failures[:1], []).append(pair)
    queues = [
        in_turn([drawing.turns(rows, lot) for _, rows in sorted(groups.items())]) for groups in kinds.values()
    ]  # fmt: skip
    chosen: list[tuple[int, int]] = []
    for again in (False, True):
        waiting = [[pair for pair in queue if pair not in chosen] for queue in queues]
        images = {image for image, _ in chosen}
        while any(waiting) and len(chosen) < count:
            for queue in waiting:
                while queue and not again and queue[0][0] in images:
                    queue.pop(0)
                if queue and len(chosen) < count:
                    chosen.append(queue.pop(0))
                    images.add(chosen[-1][0])
    return [names[pair] for pair in chosen]


def in_turn(rows: Sequence[Sequence[tuple[int, int]]]) -> list[tuple[int, int]]:
    """One of each row before the second of any."""
    longest = max(map(len, rows), default=0)
    return [row[i] for i in range(longest) for row in rows if i < len(row)]


def _answered(
    inputs: Inputs, judged: Judgements, one: drawing.Picture, name: str, model: str, label: str, see, boxes: bool
) -> Answered:
    seen: Seen = see(model, name)
    spoken = f"{MODEL_NAMES[model]}, about “{label}”: {seen.caption}. {'; '.join(seen.notes)}"
    small = large = Markup("")
    if boxes:
        small = drawing.boxes_over(one, seen.true, [(box, "") for box, _ in seen.boxes], model, spoken)
        large = drawing.boxes_over(one, seen.true, seen.boxes, model, spoken, drawing.LARGE)
    return {
        "name": MODEL_NAMES[model],
        "css": model,
        "svg": small,
        "large": large,
        "mark": judged[model][name].mark,
        "caption": seen.caption,
        "notes": seen.notes,
        "completion": printable(inputs.rows[model][name]["completion"], LONGEST),
    }


def _examples(inputs: Inputs, pairs: Sequence[tuple[int, int]], images: Path):
    """Example → question and expected answer, as they were asked."""
    wanted = list(dict.fromkeys(pairs))
    return {one.id: one for one in inputs.task.prompts.examples(wanted, inputs.truth, images, inputs.form)}


def _pictures(inputs: Inputs, names: Sequence[str], pairs: Mapping, images: Path) -> list[drawing.Picture]:
    """Embedded as large as all of them together may be."""
    found: list[drawing.Picture] = []
    for side in SIDES:
        found = []
        for number, name in enumerate(names):
            image = inputs.truth.images[pairs[name][0]]
            size = (image["width"], image["height"])
            found.append(drawing.picture(number, images / image["file_name"], size, side))
        if sum(len(one.store) for one in found) <= BUDGET:
            break
    return found


def _filters(
    inputs: Inputs, judged: Judgements, pairs: Mapping[str, tuple[int, int]], names: Sequence[str]
) -> tuple[list[Filter], dict[str, str]]:
    """The choices, with how many are shown of how many questions, and example → the options it belongs to."""
    tags: dict[str, list[str]] = {name: [] for name in names}

    def options(letter: str, start: int, belongs: Mapping[str, Collection[str]], labels: Mapping[str, str]):
        """`belongs`: example → keys of `labels`."""
        total = Counter(key for keys in belongs.values() for key in keys)
        shown = Counter(key for name in names for key in belongs[name])
        found: list[Option] = []
        for number, key in enumerate([key for key in labels if shown[key]], start):
            value = f"{letter}{number}"
            found.append({"value": value, "label": f"{labels[key]} ({shown[key]:,} of {total[key]:,})"})
            for name in names:
                if key in belongs[name]:
                    tags[name].append(value)
        return found

    categories = {str(i): inputs.truth.categories[i]["name"].replace("_", " ") for i in inputs.categories}
    categories = {key: printable(text, 60) for key, text in categories.items()}
    by_category = options("c", 1, {name: [str(pair[1])] for name, pair in pairs.items()}, categories)
    compared, start = [], 1
    for pair in COMPARED:
        kinds = {kind: outcome_label(pair, kind) for kind in OUTCOMES}
        each = options("o", start, {name: [kind] for name, kind in outcomes(judged, pair).items()}, kinds)
        compared.append((pair_name(pair), each))
        start += len(each)
    failed, start = [], 1
    for model in FAILED:
        reasons = {one: one for row in judged[model].values() for one in row.failures}
        belongs = {name: row.failures for name, row in judged[model].items()}
        each = options("f", start, belongs, {one: f"{MODEL_NAMES[model]}: {one}" for one in sorted(reasons)})
        failed.append((MODEL_NAMES[model], each))
        start += len(each)
    filters: list[Filter] = [
        {"id": "by-category", "label": "Category", "groups": [("", by_category)]},
        {"id": "by-outcome", "label": "Win or loss", "groups": [one for one in compared if one[1]]},
        {"id": "by-failure", "label": "Failure", "groups": [one for one in failed if one[1]]},
    ]
    return [one for one in filters if one["groups"]], {name: " ".join(each) for name, each in tags.items()}


def _style(filters: Sequence[Filter]) -> Markup:
    """Hides what a chosen option excludes. Made of numbers alone: no name from outside comes into it."""
    rules = [
        f"section:has(#{one['id']} option[value={option['value']}]:checked) .entry:not(.{option['value']})"
        for one in filters
        for _, options in one["groups"]
        for option in options
    ]
    return Markup(",\n".join(rules) + " { display: none; }" if rules else "")
