"""Some evaluation images with what they show and what every model called them."""

from pathlib import Path

from vrft_core.annotations import spoken
from vrft_core.report import drawing
from vrft_core.report.panel import MODEL_NAMES, Inputs
from vrft_core.report.rows import Said, Shown
from vrft_core.tasks.classification.answers import Row, same

LONGEST = 60  # characters of a name


def gallery(inputs: Inputs, images: Path, seed: int) -> list[Shown]:
    """Entries for the page's gallery, few-shot classes first."""
    pairs = {name: (row["image_id"], row["category_id"]) for name, row in inputs.rows["base"].items()}
    entries: list[Shown] = []
    licences = inputs.licences()
    for number, name in enumerate(drawing.choose(pairs, inputs.taught, seed)):
        image_id, category_id = pairs[name]
        image, names = inputs.truth.images[image_id], spoken(inputs.truth.categories[category_id])
        one = drawing.picture(number, images / image["file_name"], (image["width"], image["height"]))
        entries.append(
            {
                "label": names[0],
                "few_shot": category_id in inputs.taught,
                "picture": one.store,
                "svg": drawing.boxes_over(one, [], [], "truth", f"An evaluation image: {names[0]}."),
                "answers": [_said(inputs.rows[model][name], model, names) for model in MODEL_NAMES],
                "credit": drawing.credit(image, licences),
            }
        )
    return entries


def _said(row: Row, model: str, names: list[str]) -> Said:
    return {
        "name": MODEL_NAMES[model],
        "css": model,
        "text": drawing.printable(row["said"], LONGEST) or "(nothing)",
        "right": same(row["said"], names),
        "completion": drawing.printable(row["completion"]),
    }
