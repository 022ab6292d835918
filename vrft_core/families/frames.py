"""Coordinate frames: what the numbers of a model family's answers mean. Coordinates never belong to the data."""

from collections.abc import Sequence
from dataclasses import dataclass

from vrft_core.errors import InputError
from vrft_core.params import Policy

Box = Sequence[float]
MAX_RATIO = 200  # of an image's sides; the processors of all Qwen-VL models refuse more (`smart_resize`)

# What the coordinates in an answer mean, as the question puts it.
UNITS = {
    "qwen2-vl": "between 0 and 1000, integer",
    "qwen2.5-vl": "in pixels of the image, integer",
    "qwen3-vl": "between 0 and 1000, integer",
}


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
