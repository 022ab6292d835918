"""What `vrft evaluate` is asked for; how it is measured belongs to each task's `commands`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measurement:
    """Files of predictions or answers to be measured by the rules of a task; each task refuses what it cannot use."""

    rules: str
    ground_truth: Path | None = None
    detections: Path | None = None
    ranked_by: str = "stated"  # which of a prediction's scores rank its boxes
    answers: str | None = None  # a log as `vrft score` reads it; - for standard input
    sam: Path | None = None  # folder of SAM's weights
    images: Path | None = None  # folder of the images that the log names
    categories: list[str] | None = None
    split: str | None = None
    published_lvis: bool = False
