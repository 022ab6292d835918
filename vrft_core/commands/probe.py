"""`vrft probe`: which frame, which order of axes and which form of boxes a model really uses.

A dozen drawn scenes that are not square are asked about in every form; every convention reads all answers; the one that
fits best is chosen, by the mean IoU, and a tie is refused (`probing`).
"""

from dataclasses import dataclass
from pathlib import Path

from vrft_core.cell import Layout
from vrft_core.errors import InputError
from vrft_core.families.family import SMALL_CELL, Family
from vrft_core.families.form import Form, native_of
from vrft_core.params import Hub, Params, Policy
from vrft_core.probing import scenes as drawing
from vrft_core.probing.asking import ask
from vrft_core.probing.conventions import PAPER, Fit, choose, describe, fits

SCENES = 12
SHOWN = 8  # rows of the table
FEWEST = 6


@dataclass(frozen=True)
class Found:
    """What was found, and the fit of every convention, the best first."""

    chosen: Fit
    fits: list[Fit]
    family: Family | None


def probe(layout: Layout, params: Params, model: str, count: int = SCENES) -> Found:
    """`model`: a folder, or a cell's key, whose policy is probed as its recipe asks it.

    Raises InputError for a model that is not there, for a tie, and where nothing fits.
    """
    from vrft_core.probing import models

    if count < FEWEST:
        raise InputError("--scenes", f"{count} are too few to decide", f"take {FEWEST} or more")
    folder, forms = Path(model), []
    if folder.is_dir():
        probed = models.load(folder)
        forms = _ways(probed.family, probed.pixels)
    elif "/" in model or folder.exists():
        raise InputError(model, "no such folder", "name a model folder, or a cell of params.yaml")
    else:
        cell = params.parse_cell(model)
        recipe = params.recipes[cell.recipe]
        forms = [Form.of(recipe)]
        bounds = recipe.policy.min_pixels, recipe.policy.max_pixels
        probed = models.load(layout.policy(cell), SMALL_CELL if recipe.policy.pretraining else None, bounds)
    scenes = drawing.draw(count, probed.pixels)
    found = fits(scenes, ask(probed.answer, scenes, probed.family, forms), probed.resizing)
    return Found(choose(found), found, probed.family)


def _ways(family: Family | None, pixels: int) -> list[Form]:
    """How this project would ask a model of the family: the paper's question, and that for its own form."""
    if family is None or not family.trained:
        return []
    nobody = Hub(repo="nobody/none", revision="0" * 40)
    policy = Policy(family=family.name, coordinate_step=1, min_pixels=1, max_pixels=pixels, hub=nobody)
    return [Form(policy, True), Form(policy, False), Form(policy, False, native=native_of(policy))]


def table(found: Found) -> str:
    """Markdown: the best conventions, and the line to paste into params.yaml."""
    rows = [
        f"| {one.candidate.frame} | {one.candidate.order} | {one.candidate.form} | {one.mean:.3f} | {one.read:.0%} |"
        for one in found.fits[:SHOWN]
    ]
    return "\n".join(
        ["| frame | order | form | mean IoU | answers with a box |", "|---|---|---|---|---|", *rows, "", *_said(found)]
    )


def _said(found: Found) -> list[str]:
    best, family = found.chosen.candidate, found.family
    lines = [f"It writes: {describe(best)}."]
    if family is None:
        lines.append("No family of this project knows such a model.")
    elif family.frame is None:
        lines.append(f"What {family.name} writes was not known.")
    else:
        same = (family.frame, family.order) == (best.frame, best.order)
        same = same and best.form in (PAPER, family.native)
        known = f"{family.frame} {family.order} {family.native}"
        lines.append(f"{'As' if same else 'Not as'} {family.name} has it: {known}.")
    if best.form == PAPER and best.order == "yxyx":
        lines.append("The paper's form is read x first here: teach it, or take prompts.format: native.")
    return [*lines, line(found)]


def line(found: Found) -> str:
    """One line of YAML for `recipes.NAME.policy`, with what to write under `prompts` behind it."""
    best, family = found.chosen.candidate, found.family
    native = best.form if best.form != PAPER else (family and family.native) or "bbox_2d"
    asked = "paper" if best.form == PAPER and best.order == "xyxy" else "native"
    return f"convention: {{frame: {best.frame}, order: {best.order}, native: {native}}} # and prompts.format: {asked}"
