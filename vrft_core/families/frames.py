"""Coordinate frames: what the numbers of a model family's answers mean. Coordinates never belong to the data."""

from collections.abc import Sequence
from dataclasses import dataclass

from vrft_core.errors import InputError
from vrft_core.families import registry
from vrft_core.families.family import SMALL_CELL, UNITS, FrameName
from vrft_core.params import Policy

Box = Sequence[float]
MAX_RATIO = 200  # of an image's sides; the processors of all Qwen-VL models refuse more (`smart_resize`)
DECIMALS = 3  # of a number in a frame that counts from 0 to 1


@dataclass(frozen=True)
class Frame:
    """The coordinate frame of one image's answers.

    `limit` is the largest x and y an answer may hold; `step` is the grid its numbers lie on (1 for real models; a
    small vocabulary may know only every twentieth number). `whole`: what the image's width and height count, where that
    is more than `limit`; `shift`: where in its place a number stands, 0.5 for the middle.
    """

    width: int
    height: int
    limit: tuple[int, int]
    step: float = 1
    whole: tuple[int, int] | None = None
    shift: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """What the image's width and height count."""
        return self.whole or self.limit

    def scale(self, box: Box) -> list[float]:
        """xyxy pixels of the image → xyxy in the answer's frame, exact."""
        x, y, shift = self.size[0] / self.width, self.size[1] / self.height, self.shift
        return [box[0] * x - shift, box[1] * y - shift, box[2] * x - shift, box[3] * y - shift]

    def to_answer(self, box: Box) -> list[int]:
        """xyxy pixels of the image → numbers on the grid, inside the limits, at least one step wide and high.

        Whole numbers, but where the frame counts from 0 to 1.
        """
        x1, y1, x2, y2 = (round(value / self.step) * self.step for value in self.scale(box))
        (x1, x2), (y1, y2) = self._side(x1, x2, self.limit[0]), self._side(y1, y2, self.limit[1])
        return [x1, y1, x2, y2]

    def _side(self, low: float, high: float, limit: int) -> tuple[int, int]:
        low = max(0, min(low, limit - self.step))
        high = min(limit, max(high, low + self.step))
        if self.step < 1:
            low, high = round(low, DECIMALS), round(high, DECIMALS)
        return low, high  # pyright: ignore[reportReturnType]  whole but in one frame

    def to_pixels(self, box: Box) -> list[float]:
        """xyxy in the answer's frame → xyxy pixels of the image."""
        x, y, shift = self.width / self.size[0], self.height / self.size[1], self.shift
        return [(box[0] + shift) * x, (box[1] + shift) * y, (box[2] + shift) * x, (box[3] + shift) * y]


def name_of(policy: Policy) -> FrameName:
    """What the policy's numbers mean: as its parameters say (`convention`), or as its family's."""
    name = policy.convention.frame if policy.convention else registry.get(policy.family).frame
    assert name, "parameters without a frame are refused when they are read"
    return name


def units(policy: Policy) -> str:
    """What the coordinates of an answer mean, as a question puts it."""
    return UNITS[name_of(policy)]


def frame(policy: Policy, width: int, height: int, where: object = "image") -> Frame:
    """The frame of a `width` × `height` pixel image for a policy.

    Raises InputError, naming `where`, for an image of a shape that Qwen's processors refuse.
    """
    if max(width, height) > MAX_RATIO * min(width, height):
        raise InputError(
            where, f"is {width}x{height}: one side is more than {MAX_RATIO} times the other", "crop it or leave it out"
        )
    cell = SMALL_CELL if policy.pretraining else registry.get(policy.family).cell
    bounds = policy.min_pixels, policy.max_pixels
    return named(name_of(policy), width, height, policy.coordinate_step, cell or SMALL_CELL, bounds)


def named(
    name: FrameName, width: int, height: int, step: int = 1, cell: int = SMALL_CELL, bounds: tuple[int, int] = (1, 1)
) -> Frame:
    """The frame called `name` of an image. It is resized to multiples of `cell`, to pixels within `bounds`."""
    match name:
        case "0-1000":
            return Frame(width, height, (1000, 1000), step)
        case "0-999":  # a number is a place, and means its middle
            return Frame(width, height, (999, 999), step, (1000, 1000), 0.5)
        case "0-1023":
            return Frame(width, height, (1023, 1023), step, (1024, 1024))
        case "0-1":
            return Frame(width, height, (1, 1), 10**-DECIMALS)
        case "original":
            return Frame(width, height, (width, height), step)
        case "resized":
            from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

            resized_height, resized_width = smart_resize(height, width, cell, *bounds)
            return Frame(width, height, (resized_width, resized_height), step)
