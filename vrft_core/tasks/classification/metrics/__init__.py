"""What is measured of classification: shares of images that were named rightly, of all and of groups of classes."""

from collections.abc import Sequence

from vrft_core.annotations import Annotations
from vrft_core.tasks.classification.answers import Row
from vrft_core.tasks.classification.metrics.scores import columns, details, scores, specs
from vrft_core.tasks.classification.metrics.validation import VALIDATION, validate
from vrft_core.tasks.classification.settings import Settings

__all__ = ["VALIDATION", "columns", "details", "fit", "scores", "specs", "validate"]


def fit(rows: Sequence[Row], seen: Sequence[Row], train: Annotations, settings: Settings) -> None:
    """Nothing is fitted."""
