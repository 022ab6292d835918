"""Which convention answers are written in: every candidate reads the same answers, and the best fit is chosen.

A candidate is a frame, an order of axes and a form (`families`). Its fit is the mean IoU of what it reads with what the
scenes truly show. Which one is chosen, and when nothing is: see `choose`. Asking a model belongs to `asking`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import numpy as np

from vrft_core.boxes import iou, xywh
from vrft_core.errors import InputError
from vrft_core.families.family import FormatName, FrameName, Order
from vrft_core.families.formats import FORMS, Native
from vrft_core.families.frames import named
from vrft_core.probing.scenes import Shown
from vrft_core.tasks import DEFAULT, get_task

PAPER = "paper"
LEAST = 0.25  # mean IoU below which no candidate is accepted
MARGIN = 0.02  # of mean IoU, by which the chosen one must lead at least
ERRORS = 2.0  # standard errors of the paired difference, by which it must lead, too
EDGE = 1.005  # a box may stick out of its image by so much: rounding
OTHER_FORMS = {"other_key", "bare_boxes"}  # what the reader of the paper's form reads besides
BOUNDLESS = (1e12, 1e12)

_COUNTED: tuple[FrameName, ...] = ("0-1000", "0-1", "resized", "original")
# Location tokens are places of a fixed number. A dozen scenes could not tell 1000 from 1024 in other forms.
_PLACES: dict[str, tuple[FrameName, ...]] = {"loc_4": ("0-1023",), "loc_n": ("0-999",)}


@dataclass(frozen=True)
class Candidate:
    """`form`: one of `families.formats`, or the paper's."""

    frame: FrameName
    order: Order
    form: str


@dataclass(frozen=True)
class Fit:
    """How a candidate reads the answers: the IoU for each scene [N], and the share of answers with a box."""

    candidate: Candidate
    overlaps: np.ndarray
    read: float

    @property
    def mean(self) -> float:
        return float(self.overlaps.mean())


@dataclass(frozen=True)
class Resizing:
    """What a model's processor resizes images to: multiples of `cell`, to pixels within `bounds`."""

    cell: int
    bounds: tuple[int, int]


def candidates(resizing: Resizing | None) -> list[Candidate]:
    """Every convention that is tried; without `resizing`, none that counts pixels of a resized image."""
    found = []
    for form in (PAPER, *FORMS):
        for frame, order in product(_PLACES.get(form, _COUNTED), ("xyxy", "yxyx")):
            if resizing or frame != "resized":
                found.append(Candidate(frame, cast(Order, order), form))
    return found


def fits(scenes: Sequence[Shown], answers: dict[str, list[list[str]]], resizing: Resizing | None) -> list[Fit]:
    """The fit of every candidate, the best first. `answers`: form → for each way of asking, one text a scene.

    Of several ways to ask for a form, the one with the best fit counts.
    """
    found = []
    numbers = {form: [[_numbers(text, form) for text in one] for one in ways] for form, ways in answers.items()}
    for candidate in candidates(resizing):
        ways = [_fit(scenes, one, candidate, resizing) for one in numbers.get(candidate.form, [])]
        if ways:
            found.append(max(ways, key=lambda fit: (fit.mean, fit.read)))
    return sorted(found, key=lambda fit: -fit.mean)


def choose(found: Sequence[Fit]) -> Fit:
    """The best fit. Raises InputError where none is believable, or where another frame or order fits as well.

    Another form that means the same boxes is no rival: a model may write several. Of those that fit as well as the best
    the one whose answers hold a box most often is taken.
    """
    best = found[0]
    if best.mean < LEAST:
        raise InputError(
            "probe",
            f"no convention fits: the best mean IoU is {best.mean:.2f} ({describe(best.candidate)})",
            "does the model find animals at all? Ask it by hand, or try a larger one",
        )
    for fit in found[1:]:
        other = fit.candidate
        if (other.frame, other.order) != (best.candidate.frame, best.candidate.order) and not _leads(best, fit):
            raise InputError(
                "probe",
                f"a tie: {describe(best.candidate)} and {describe(other)}, mean IoU {best.mean:.3f} and {fit.mean:.3f}",
                "probe with more --scenes",
            )
    same = (best.candidate.frame, best.candidate.order)
    level = [fit for fit in found if (fit.candidate.frame, fit.candidate.order) == same and not _leads(best, fit)]
    return max([best, *level], key=lambda fit: (fit.read, fit.mean))


def describe(candidate: Candidate) -> str:
    return f"{candidate.frame} {candidate.order} {candidate.form}"


def _leads(best: Fit, other: Fit) -> bool:
    """Whether the paired difference is larger than the margin and than its own error."""
    lead = best.overlaps - other.overlaps
    error = float(lead.std(ddof=1)) / len(lead) ** 0.5 if len(lead) > 1 else 0.0
    return float(lead.mean()) > max(MARGIN, ERRORS * error)


def _numbers(text: str, form: str) -> list[tuple[float, ...]]:
    """The boxes of an answer, as they stand, whatever they mean."""
    native = None if form == PAPER else Native(cast(FormatName, form), "xyxy")
    parsed: Any = get_task(DEFAULT).rewards.read(text, limit=BOUNDLESS, native=native).parsed
    return [] if OTHER_FORMS & set(parsed.reasons) else [one.box for one in parsed.detections]


def _fit(
    scenes: Sequence[Shown], answers: list[list[tuple[float, ...]]], candidate: Candidate, resizing: Resizing | None
) -> Fit:
    overlaps = []
    for scene, boxes in zip(scenes, answers, strict=True):
        width, height = scene.picture.size
        cell, bounds = (resizing.cell, resizing.bounds) if resizing else (1, (1, 1))
        frame = named(candidate.frame, width, height, cell=cell, bounds=bounds)
        best = 0.0
        for box in boxes:
            turned = box if candidate.order == "xyxy" else (box[1], box[0], box[3], box[2])
            x1, y1, x2, y2 = frame.to_pixels(turned)
            if x2 <= width * EDGE and y2 <= height * EDGE:
                best = max(best, float(iou(xywh([[x1, y1, x2, y2]]), xywh([scene.box]))[0]))
        overlaps.append(best)
    return Fit(candidate, np.array(overlaps), float(np.mean([bool(boxes) for boxes in answers])))
