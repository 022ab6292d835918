"""What a model is asked, what it should answer, and in which coordinates.

Question texts follow Visual-RFT (arXiv 2503.01785, Table 1 and the published scripts). Coordinates belong to the
model family, never to the data. Reading what a model really answered belongs to `answers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vrft_core.errors import InputError
from vrft_core.params import Policy

Box = Sequence[float]

THINKING_TAGS = "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags."
ANSWER_TAGS = "Output the final answer in <answer> </answer> tags."
NO_OBJECTS = "No Objects"
MAX_RATIO = 200  # of an image's sides; the processors of all Qwen-VL models refuse more (`smart_resize`)

# What the coordinates in an answer mean, as the question puts it.
_UNITS = {
    "qwen2-vl": "between 0 and 1000, integer",
    "qwen2.5-vl": "in pixels of the image, integer",
    "qwen3-vl": "between 0 and 1000, integer",
}


def question(category: str, *, thinking: bool, family: str) -> str:
    """The detection question of the paper, with or without the request to think."""
    boxes = "[{'Position': [x1, y1, x2, y2], 'Confidence': number}, ...]"
    form = f"<answer>{boxes}</answer>"
    return (
        f"Detect all objects belonging to the category '{category}' in the image, and provide the bounding boxes "
        f"({_UNITS[family]}) and confidence (between 0 and 1, with two decimal places).\n"
        f"If no object belonging to the category '{category}' in the image, return '{NO_OBJECTS}'.\n"
        f"{THINKING_TAGS if thinking else ANSWER_TAGS}The output answer format should be as follows:\n"
        f"{'<think> ... </think> ' if thinking else ''}{form}\n"
        "Please strictly follow the format."
    )


def thought(category: str, count: int) -> str:
    """The shortest true statement an answer can rest on: how many there are."""
    return f"{count} {category}"


def answer(boxes: Sequence[Box], confidences: Sequence[float], thinking: str | None) -> str:
    """The text a model should produce; `boxes` are xyxy integers in the answer's frame.

    `thinking` goes between the think tags; None leaves them out.
    """
    if boxes:
        items = ", ".join(
            f"{{'Position': [{', '.join(str(v) for v in box)}], 'Confidence': {confidence:.2f}}}"
            for box, confidence in zip(boxes, confidences, strict=True)
        )
        body = f"[{items}]"
    else:
        body = NO_OBJECTS
    tagged = f"<answer>{body}</answer>"
    return tagged if thinking is None else f"<think>{thinking}</think>{tagged}"


@dataclass(frozen=True)
class Frame:
    """The coordinate frame of one image's answers.

    `limit` is the largest x and y an answer may hold; `step` is the grid its numbers lie on (1 for real models; a
    small vocabulary may know only every twentieth number).
    """

    width: int
    height: int
    limit: tuple[int, int]
    step: int = 1

    def scale(self, box: Box) -> list[float]:
        """xyxy pixels of the image → xyxy in the answer's frame, exact."""
        x, y = self.limit[0] / self.width, self.limit[1] / self.height
        return [box[0] * x, box[1] * y, box[2] * x, box[3] * y]

    def to_answer(self, box: Box) -> list[int]:
        """xyxy pixels of the image → integers on the grid, inside the limits, at least one step wide and high."""
        x1, y1, x2, y2 = (round(value / self.step) * self.step for value in self.scale(box))
        (x1, x2), (y1, y2) = self._side(x1, x2, self.limit[0]), self._side(y1, y2, self.limit[1])
        return [x1, y1, x2, y2]

    def _side(self, low: int, high: int, limit: int) -> tuple[int, int]:
        low = max(0, min(low, limit - self.step))
        return low, min(limit, max(high, low + self.step))

    def to_pixels(self, box: Box) -> list[float]:
        """xyxy in the answer's frame → xyxy pixels of the image."""
        x, y = self.width / self.limit[0], self.height / self.limit[1]
        return [box[0] * x, box[1] * y, box[2] * x, box[3] * y]


def frame(policy: Policy, width: int, height: int, where: object = "image") -> Frame:
    """The frame of a `width` × `height` pixel image for a policy.

    Qwen2-VL and Qwen3-VL count in thousandths of the image; Qwen2.5-VL counts pixels of the image as its processor
    resized it (multiples of 28, between the policy's pixel limits). Raises InputError, naming `where`, for an image of
    a shape that their processors refuse.
    """
    if max(width, height) > MAX_RATIO * min(width, height):
        raise InputError(
            where, f"is {width}x{height}: one side is more than {MAX_RATIO} times the other", "crop it or leave it out"
        )
    if policy.family == "qwen2.5-vl":
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

        resized_height, resized_width = smart_resize(height, width, 28, policy.min_pixels, policy.max_pixels)
        return Frame(width, height, (resized_width, resized_height), policy.coordinate_step)
    return Frame(width, height, (1000, 1000), policy.coordinate_step)
