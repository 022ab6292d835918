"""`vrft probe`: conventions imitated and conventions really taught are found out; a tie and a blind model are refused.

What imitates a model knows the truth and answers every question in its own way, with noise.
"""

import random
import re
from typing import Any

import pytest
import yaml
from small_project import ROOT

from vrft_core.cell import Layout
from vrft_core.commands.probe import Found, line, probe, table
from vrft_core.errors import InputError
from vrft_core.families import registry
from vrft_core.families.formats import Native
from vrft_core.families.frames import named
from vrft_core.params.recipes import Convention
from vrft_core.probing.asking import ask
from vrft_core.probing.conventions import PAPER, Candidate, Resizing, candidates, choose, fits
from vrft_core.probing.scenes import draw
from vrft_core.tasks import load_params
from vrft_core.tasks.detection.prompts.questions import answer as papers

PARAMS = load_params(ROOT / "params.yaml")
PIXELS = 401_408
RESIZING = Resizing(28, (3136, PIXELS))
SCENES = draw(12, PIXELS)
TWELVE: list[Any] = [
    ("0-1000", "xyxy", PAPER), ("0-1000", "xyxy", "bbox_2d"), ("0-1000", "yxyx", "box_2d"), ("0-1023", "yxyx", "loc_4"),
    ("0-999", "xyxy", "loc_n"), ("resized", "xyxy", "bbox_2d"), ("original", "xyxy", PAPER),
    ("original", "yxyx", "bbox_2d"), ("0-1", "xyxy", "box_2d"), ("0-1000", "xyxy", "ref_box"),
    ("0-1000", "xyxy", "box_tags"), ("resized", "yxyx", "ref_box"),
]  # fmt: skip


def imitation(convention: Candidate, noise: float = 0.01, seed: int = 0):
    """Answers every question in one convention; `noise`: of each coordinate, as a share of the image."""
    rng, shown = random.Random(seed), {id(scene.picture): scene for scene in SCENES}

    def said(scene) -> str:
        width, height = scene.picture.size
        frame = named(convention.frame, width, height, cell=28, bounds=RESIZING.bounds)
        moved = [v + rng.gauss(0, noise) * side for v, side in zip(scene.box, (width, height) * 2, strict=True)]
        box = frame.to_answer([max(0, moved[0]), max(0, moved[1]), min(width, moved[2]), min(height, moved[3])])
        if convention.form == PAPER:
            turned = box if convention.order == "xyxy" else [box[1], box[0], box[3], box[2]]
            return papers([turned], [0.9], None)
        form: Any = convention.form
        return Native(form, convention.order).write([box], scene.name)

    def answer(pictures, questions):
        return [[said(shown[id(picture)]) for _ in asked] for picture, asked in zip(pictures, questions, strict=True)]

    return answer


def found_by(answer, family: str | None = None) -> list:
    return fits(SCENES, ask(answer, SCENES, registry.get(family) if family else None, []), RESIZING)


@pytest.mark.parametrize("convention", [Candidate(*one) for one in TWELVE], ids=str)
def test_a_convention_that_is_imitated_is_found_out(convention):
    chosen = choose(found_by(imitation(convention)))
    assert chosen.candidate == convention and chosen.mean > 0.8 and chosen.read == 1.0


def test_every_convention_can_be_found_out():
    for number, convention in enumerate(candidates(RESIZING)):
        assert choose(found_by(imitation(convention, seed=number))).candidate == convention


def test_scenes_are_oblong_no_multiple_of_a_patch_and_half_of_them_too_large():
    sizes = [scene.picture.size for scene in SCENES]
    assert all(width != height and width % 2 and height % 2 for width, height in sizes)
    assert sum(width * height > PIXELS for width, height in sizes) == len(SCENES) / 2
    for scene in SCENES:
        (width, height), (x1, y1, x2, y2) = scene.picture.size, scene.box
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    again = draw(12, PIXELS)
    assert [(one.name, one.box, one.picture.tobytes()) for one in again] == [
        (one.name, one.box, one.picture.tobytes()) for one in SCENES
    ]


def test_a_tie_is_refused():
    """Half of the answers are written in one convention, half in another."""
    ways = [imitation(Candidate(frame, "xyxy", "bbox_2d")) for frame in ("0-1000", "original")]

    def both(pictures, questions):
        texts = [way(pictures, questions) for way in ways]
        return [texts[i // 2 % 2][i] for i in range(len(pictures))]

    with pytest.raises(InputError, match=r"a tie: .*probe with more --scenes"):
        choose(found_by(both))


def test_a_model_that_sees_nothing_has_no_convention():
    def blind(pictures, questions):
        return [['[{"bbox_2d": [0, 0, 20, 20], "label": "cat"}]' for _ in asked] for asked in questions]

    with pytest.raises(InputError, match="no convention fits"):
        choose(found_by(blind))

    def silent(pictures, questions):
        return [["I see an animal." for _ in asked] for asked in questions]

    with pytest.raises(InputError, match="no convention fits"):
        choose(found_by(silent))


def test_of_several_forms_that_a_model_writes_the_one_it_writes_more_often_is_taken():
    fluent, halting = (imitation(Candidate("0-1000", "xyxy", form)) for form in ("bbox_2d", PAPER))

    def answer(pictures, questions):
        native, paper = fluent(pictures, questions), halting(pictures, questions)
        return [
            [native[i][j] if "bbox" in one else paper[i][j] * (i > 0) for j, one in enumerate(asked)]
            for i, asked in enumerate(questions)
        ]

    assert choose(found_by(answer)).candidate == Candidate("0-1000", "xyxy", "bbox_2d")


def test_the_line_to_paste_is_read_as_a_policys_convention():
    fitted = found_by(imitation(Candidate("original", "yxyx", "box_2d")), "qwen3-vl")
    found = Found(choose(fitted), fitted, registry.get("qwen3-vl"))
    pasted = yaml.safe_load(line(found))
    assert Convention.model_validate(pasted["convention"]) == Convention(
        frame="original", order="yxyx", native="box_2d"
    )
    said = table(found)
    assert said.splitlines()[-1] == line(found) and "Not as qwen3-vl has it: 0-1000 xyxy bbox_2d." in said
    assert re.search(r"^\| original \| yxyx \| box_2d \| 0\.\d+ \| 100% \|$", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("model", "count", "said"),
    [
        ("no/such/folder", 12, "no such folder"),
        ("lvis-mini-9shot-s0", 12, "no cell|grid has no"),
        ("lvis-mini-1shot-s0", 12, "no model here"),
        ("lvis-mini-1shot-s0", 2, "too few"),
    ],
)
def test_what_cannot_be_probed_is_refused(model, count, said, tmp_path):
    with pytest.raises(InputError, match=said):
        probe(Layout(tmp_path), PARAMS, model, count)
