"""What `vrft evaluate` is asked for; how it is measured belongs to each task's `commands`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


@dataclass(frozen=True)
class Outside:
    """Another model's answers to a cell's evaluation questions."""

    rows: list[Any]  # prediction rows of the task, one a question, in the order of the questions
    unanswered: int  # questions that the file has no answer to: counted as an empty answer
    left_out: int  # what the file says about anything else
