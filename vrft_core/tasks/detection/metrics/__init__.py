"""What is measured of detection: average precision, by the LVIS and the COCO rules, boxes ranked in different ways."""

from collections.abc import Sequence

from vrft_core.annotations import Annotations
from vrft_core.tasks.detection.answers import Row
from vrft_core.tasks.detection.metrics import combined
from vrft_core.tasks.detection.metrics.scores import columns, details, scores, specs
from vrft_core.tasks.detection.metrics.validation import VALIDATION, validate
from vrft_core.tasks.detection.settings import Settings

__all__ = ["VALIDATION", "columns", "details", "fit", "scores", "specs", "validate"]


def fit(rows: Sequence[Row], seen: Sequence[Row], train: Annotations, settings: Settings) -> None:
    """Adds the ranking `combined`, fitted on `seen`: answers about the training images `train`."""
    if settings.fitting_images:
        score = combined.fit(list(seen), train)
        for row in rows:
            row.setdefault("rankings", {})["combined"] = score(row)
