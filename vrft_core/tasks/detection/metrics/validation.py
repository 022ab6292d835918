"""What chooses a checkpoint of detection: COCO AP of the validation examples' own questions."""

import json
from collections.abc import Sequence

from vrft_core.annotations import Annotations
from vrft_core.families.form import Form
from vrft_core.tasks.detection.answers import Row
from vrft_core.tasks.detection.metrics.ranking import ranked
from vrft_core.tasks.detection.metrics.scores import match_rows
from vrft_core.tasks.detection.settings import Settings
from vrft_core.tasks.task import Example

VALIDATION = "coco/AP"


def validate(examples: Sequence[Example], rows: Sequence[Row], settings: Settings, form: Form) -> float:
    """COCO AP in [0, 1]; 0 where nothing can be found."""
    truth = annotations(examples, form)
    matches = match_rows(truth, ranked(rows, settings.validation_ranking), sorted(truth.categories), ["coco"])
    return matches["coco"].average_precision()["AP"] or 0.0


def annotations(examples: Sequence[Example], form: Form) -> Annotations:
    """What the examples say is true, xywh pixels; all frequent and exhaustively annotated, as COCO's rules take it."""
    images, rows, names = {}, [], {}
    for example in examples:
        truth = json.loads(example.truth)
        names[truth["category_id"]] = example.label
        images[example.image_id] = {"id": example.image_id, "width": example.width, "height": example.height}
        frame = form.frame(example.width, example.height)
        for box in truth["boxes"]:
            x1, y1, x2, y2 = frame.to_pixels(box)
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": example.image_id,
                    "category_id": truth["category_id"],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": names[i], "frequency": "f"} for i in sorted(names)]
    return Annotations.from_dict({"images": list(images.values()), "annotations": rows, "categories": categories})
