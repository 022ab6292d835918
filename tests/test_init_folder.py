"""`vrft init FOLDER`: what it says, writes and refuses, whatever the format."""

import shutil

import own_formats
import pytest
from own_formats import drawn
from PIL import Image
from small_project import ROOT

from vrft_core.cell import Cell, Layout
from vrft_core.cli import main
from vrft_core.stages.raw import raw
from vrft_core.tasks import load_params


@pytest.fixture
def root(tmp_path):
    """A project beside a folder of thirty images in YOLO's format."""
    root = tmp_path / "project"
    (root / "My Photos, 2026").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", root)
    own_formats.yolo(root / "My Photos, 2026", drawn(tmp_path / "drawn", count=30, splits=False))
    return root


def init(root, *options: str) -> int:
    return main(["--root", str(root), "init", *options])


def test_it_says_what_it_found_in_one_line_draws_nine_examples_and_ends_with_the_next_command(root, capsys):
    assert init(root, f"{root}/My Photos, 2026") == 0

    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("YOLO, 30 images, 45 boxes (blue 'tin', grün, red mug); 16 train, 5 val, 9 eval")
    assert any("warning: 9 evaluation images show only differences of 33 points" in line for line in said)
    assert said[-1] == "next: vrft run my-photos-2026-mini-1shot-s0"
    sheet = Image.open(root / "reports/my-photos-2026-examples.png")
    colours = {colour for _, colour in sheet.convert("RGB").getcolors(1 << 24)}
    assert (214, 39, 40) in colours, "the first label's boxes are drawn"
    assert main(["--root", str(root), "remove", "my-photos-2026"]) == 0
    assert not list((root / "reports").iterdir()), "and nothing of it stays"


@pytest.mark.slow
def test_the_benchmark_holds_the_folder_its_format_and_a_task_that_fits_the_labels(root):
    for kind in ("class_folders", "expressions"):
        (root / kind).mkdir()
        getattr(own_formats, kind)(root / kind, drawn(root / "drawn", count=30, splits=False))
        init(root, f"{root}/{kind}", "--name", kind.replace("_", "-"), "--seeds", "0")
    init(root, f"{root}/My Photos, 2026", "--name", "boxes")

    found = load_params(root / "params.yaml").benchmarks
    assert (found["boxes"].task, found["boxes"].folder.format) == ("detection", "yolo")
    assert found["boxes"].folder.path == "My Photos, 2026"
    assert (found["class-folders"].task, found["class-folders"].folder.format) == ("classification", "class-folders")
    assert (found["expressions"].task, found["expressions"].folder.format) == ("grounding", "table")
    cell = Cell(benchmark="expressions", data="own")
    assert raw(Layout(root), load_params(root / "params.yaml"), cell)["eval_images"] > 0


def test_a_folder_that_changed_later_is_refused_until_it_is_taken_over(root, capsys):
    init(root, f"{root}/My Photos, 2026", "--name", "mine")
    next(root.rglob("labels/*.txt")).write_text("")

    assert main(["--root", str(root), "run", "mine-mini-1shot-s0"]) == 2
    assert "vrft update" in capsys.readouterr().err

    assert main(["--root", str(root), "update", "mine"]) == 0
    assert "taken as it is now" in capsys.readouterr().out
    assert raw(Layout(root), load_params(root / "params.yaml"), Cell(benchmark="mine", data="own"))["annotations"] < 45


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--task", "classification"], "'classification' needs classes, the folder has boxes"),
        (["--name", "lvis"], "'lvis' is already a benchmark"),
        (["--shots", "40"], "no category has 40"),
        (["--coco", "a.json"], "belong together"),
    ],
)
def test_what_cannot_be_is_one_line_and_params_stay(root, capsys, options, words):
    before = (root / "params.yaml").read_bytes()

    assert init(root, f"{root}/My Photos, 2026", *options) == 2

    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert (root / "params.yaml").read_bytes() == before
    assert not (root / "reports").exists()


def test_a_folder_that_is_not_there_is_named(root, capsys):
    assert init(root, "nowhere") == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
