"""Some evaluation images with true boxes and every model's."""

from collections.abc import Sequence
from pathlib import Path

from vrft_core.boxes import iou, xywh
from vrft_core.report import drawing
from vrft_core.report.panel import MODEL_NAMES, Inputs
from vrft_core.report.rows import Drawn, Shown
from vrft_core.tasks.detection.answers import Row

FOUND = 0.5  # IoU from which a box counts as right in the captions


def gallery(inputs: Inputs, images: Path, seed: int) -> list[Shown]:
    """Entries for the page's gallery, few-shot categories first; of categories that are in their image, if any are."""
    asked = {name: (row["image_id"], row["category_id"]) for name, row in inputs.rows["base"].items()}
    pairs = {name: pair for name, pair in asked.items() if inputs.truth.boxes(*pair)} or asked
    entries: list[Shown] = []
    licences = inputs.licences()
    for number, name in enumerate(drawing.choose(pairs, inputs.taught, seed)):
        image_id, category_id = pairs[name]
        image, objects = inputs.truth.images[image_id], inputs.truth.boxes(image_id, category_id)
        category = inputs.truth.categories[category_id]["name"]
        one = drawing.picture(number, images / image["file_name"], (image["width"], image["height"]))
        panels = [_panel(one, objects, inputs.rows[model][name], model, category) for model in MODEL_NAMES]
        entries.append(
            {
                "label": category.replace("_", " "),
                "few_shot": category_id in inputs.taught,
                "picture": one.store,
                "panels": panels,
                "credit": drawing.credit(image, licences),
            }
        )
    return entries


def _panel(one: drawing.Picture, objects: list[list[float]], row: Row, model: str, category: str) -> Drawn:
    found = _found(objects, row["boxes"])
    extra = len(row["boxes"]) - found
    caption = f"{found} of {len(objects)} found" + (f", {extra} wrong" if extra else "")
    said = list(zip(row["boxes"], row["scores"], strict=True))
    spoken = f"{MODEL_NAMES[model]}, asked for {category}: {caption}. " + (
        "Boxes with confidence " + ", ".join(f"{score:.0%}" for _, score in said[: drawing.MOST_BOXES]) + "."
        if said
        else "No box predicted."
    )
    return {
        "name": MODEL_NAMES[model],
        "css": model,
        "svg": drawing.boxes_over(one, objects, said, model, spoken),
        "caption": caption,
        "completion": drawing.printable(row["completion"]),
    }


def _found(objects: Sequence[Sequence[float]], boxes: Sequence[Sequence[float]]) -> int:
    """Objects that have a box of their own at IoU ≥ FOUND, boxes taken in the order the model wrote them."""
    if not objects or not boxes:
        return 0
    overlap = iou(xywh(boxes)[:, None], xywh(objects)[None])
    for row in overlap:
        best = row.argmax()
        if row[best] >= FOUND:
            overlap[:, best] = -1
    return int((overlap[0] < 0).sum())
