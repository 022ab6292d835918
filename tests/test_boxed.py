"""Answers drawn over images, and printed: what `vrft predict` gives a person. JSON lines: test_predict_command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_policy import random_policy

from vrft_core import io
from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.commands.boxed import Mark, draw, lines
from vrft_core.commands.predict import trained_by
from vrft_core.errors import InputError
from vrft_core.tasks import get_task, load_params

pytestmark = pytest.mark.slow  # a policy is made, or a report

ROOT = Path(__file__).parents[1]
CELL = "lvis-mini-1shot-s0"
CATEGORIES = ["cat", "dog"]


@pytest.fixture(scope="module")
def small_policy(tmp_path_factory) -> Path:
    """Random weights: what it answers means nothing, but it answers."""
    return random_policy(tmp_path_factory.mktemp("policy"), CATEGORIES)


@pytest.fixture
def photos(tmp_path) -> Path:
    (tmp_path / "photos/b").mkdir(parents=True)
    Image.new("RGB", (90, 60), "white").save(tmp_path / "photos/a.png")
    Image.new("RGB", (60, 90), "white").save(tmp_path / "photos/b/c.jpg")
    return tmp_path / "photos"


def test_a_box_is_drawn_where_it_is_and_nothing_elsewhere():
    image = Image.new("RGB", (200, 100), "white")
    drawn = np.asarray(draw(image, [Mark("cat", (50, 30, 150, 90), 0.83)]))
    assert (drawn[60, 50] != 255).any() and (drawn[60, 150] != 255).any()
    assert (drawn[60, 60:140] == 255).all() and (drawn[:, :45] == 255).all() and (drawn[:, 160:] == 255).all()
    assert (np.asarray(image) == 255).all(), "the image itself stays as it is"


@pytest.mark.parametrize("box", [(-50, -50, 900, 900), (0, 0, 0, 0), (199.6, 99.6, 199.9, 99.9), (150, 95, 10, 5)])
def test_no_box_is_too_odd_to_be_drawn(box):
    assert draw(Image.new("RGB", (200, 100)), [Mark("x" * 300 + "\u202e", box, 1.0)]).size == (200, 100)


def test_answers_without_boxes_stand_in_the_corner():
    drawn = np.asarray(draw(Image.new("RGB", (200, 100), "white"), [Mark("tiger", None, 0.5)]))
    assert (drawn[1, 1] != 255).any() and (drawn[50:] == 255).all()


def test_answers_are_read_as_lines():
    found = [Mark("cat", (1.2, 2.0, 30.7, 4.0), 0.834), Mark("cat", (5, 6, 7, 8), None)]
    assert lines("a.png", "cat", found) == ["a.png: cat: at 1, 2, 31, 4, 83 %", "a.png: cat: at 5, 6, 7, 8"]
    assert lines("a.png", "cat", []) == ["a.png: cat: nothing found"]
    assert lines("a.png", "", [Mark("tiger", None, 0.5)]) == ["a.png: tiger, 50 %"]


@pytest.mark.parametrize(
    ("task", "row", "marks"),
    [
        ("detection", {"category": "cat", "boxes": [[0, 0, 1, 1], [2, 2, 3, 3]], "scores": [1.0, 1.0],
                       "rankings": {"certainty": [0.2, 0.9]}},
         [("cat", [2, 2, 3, 3], 0.9), ("cat", [0, 0, 1, 1], 0.2)]),
        ("detection", {"category": "cat", "boxes": [[0, 0, 1, 1]], "scores": [0.7]}, [("cat", [0, 0, 1, 1], 0.7)]),
        ("classification", {"said": "tiger", "certainty": 0.4}, [("tiger", None, 0.4)]),
        ("classification", {"said": "", "certainty": 0.0}, []),
        ("grounding", {"expression": "the left cat", "box": [0, 0, 1, 1]}, [("the left cat", [0, 0, 1, 1], None)]),
        ("grounding", {"expression": "the left cat", "box": None}, []),
    ],
)  # fmt: skip
def test_each_task_says_what_its_rows_show(task, row, marks):
    settings = load_params(ROOT / "params.yaml").recipes["mini"].tasks[task]
    assert [tuple(mark) for mark in get_task(task).commands.marks(row, settings)] == marks


def ask(weights: Path, *words: str) -> int:
    return main(["--root", str(ROOT), "predict", "--model", str(weights), *words])


def test_one_image_and_two_categories_become_one_image(small_policy, photos, tmp_path):
    output = tmp_path / "boxed.png"
    assert ask(small_policy, str(photos / "a.png"), *CATEGORIES[:2], "--out", str(output)) == 0
    assert Image.open(output).size == (90, 60)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_becomes_a_folder_with_the_answers_beside(small_policy, photos, tmp_path):
    output = tmp_path / "boxed"
    assert ask(small_policy, str(photos), CATEGORIES[0], "--out", str(output)) == 0
    assert Image.open(output / "b/c.jpg").format == "JPEG" and Image.open(output / "a.png").format == "PNG"
    assert [row["file_name"] for row in io.read_jsonl(output / "predictions.jsonl")] == ["a.png", "b/c.jpg"]


def test_without_out_the_answers_are_printed(small_policy, photos, capsys):
    assert ask(small_policy, str(photos / "a.png"), CATEGORIES[0]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said and all(line.startswith(f"a.png: {CATEGORIES[0]}: ") for line in said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["photos", "cat", "--out", "one.png"], "is one image, and 2 images are asked about"),
        (["photos/a.png", "cat", "--out", "photos/a.png"], "holds what is asked about"),
        (["photos", "cat", "--out", "photos"], "holds what is asked about"),
        (["photos/none.png", "cat", "--out", "one.png"], "none.png: no such file"),
        (["photos/a.png", "--out", "one.png"], "no categories to look for"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(small_policy, photos, capsys, monkeypatch, words, said):
    monkeypatch.chdir(photos.parent)
    before = (photos / "a.png").read_bytes()
    assert ask(small_policy, *words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line and not Path("one.png").exists() and (photos / "a.png").read_bytes() == before


def test_a_trained_folder_of_this_project_is_known_by_its_cell(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    layout, params = Layout(tmp_path), load_params(tmp_path / "params.yaml")
    for method in ("sft", "rft"):
        assert trained_by(layout, params, tmp_path / "models" / CELL / method) == (CELL, method)
    assert trained_by(layout, params, tmp_path / "models/mini/policy") is None


def test_lora_weights_from_elsewhere_need_their_model(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora/adapter_config.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match="holds LoRA weights alone; name the model they belong to: --model MODEL"):
        trained_by(Layout(tmp_path), load_params(tmp_path / "params.yaml"), tmp_path / "lora")
