"""What a model family is: what its numbers mean, how it writes boxes, what it needs.

Plain data without imports, so that reading parameters stays cheap. Each family is a module beside this one with one
`FAMILY`; `registry` finds them, `formats` reads and writes their answers, `frames` turns their numbers into pixels.
"""

from dataclasses import dataclass
from typing import Literal

FrameName = Literal["0-1000", "0-999", "0-1023", "0-1", "resized", "original"]
Order = Literal["xyxy", "yxyx"]
FormatName = Literal["bbox_2d", "box_2d", "box_tags", "ref_box", "loc_4", "loc_n"]

# What the coordinates in an answer mean, as a question puts it.
UNITS: dict[FrameName, str] = {
    "0-1000": "between 0 and 1000, integer",
    "0-999": "between 0 and 999, integer",
    "0-1023": "between 0 and 1023, integer",
    "0-1": "between 0 and 1, with three decimal places",
    "resized": "in pixels of the image, integer",
    "original": "in pixels of the image, integer",
}
SMALL_CELL = 28  # pixels a visual token of the small policy covers each way, whatever its family


@dataclass(frozen=True)
class Family:
    """One family of models.

    `frame`, `order`, `native`: what the numbers of its own answers mean, in which order they stand, and how the answer
    is written; None where no source says so, and `vrft probe` must find out. `cell`: pixels of the resized image that a
    visual token covers each way; None for towers of a fixed size. `template_switch`: the argument of its chat template
    that opens a thought; it is always off here, as the question asks for the thought. `torchvision`: its own processor
    cannot be loaded without it. `trained`: this project trains and asks it. `source`: where all this is from.
    """

    name: str  # as params.yaml says it
    model_types: tuple[str, ...]  # `model_type` in its checkpoints' config.json
    model_class: str  # in transformers
    processor_class: str  # what others load an exported folder with
    frame: FrameName | None
    order: Order
    native: FormatName | None
    source: str
    cell: int | None = None
    template_switch: str | None = None
    torchvision: bool = False
    trained: bool = False
