"""`vrft show`: the training examples of a cell on a sheet, in their own words, with the boxes of the answer."""

import re
from html import unescape
from pathlib import Path

import pytest
from own_data import init, project
from PIL import Image
from test_files import edit

from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.commands.cell_examples import spread
from vrft_core.commands.show import show
from vrft_core.errors import InputError
from vrft_core.tasks import load_params

KEY = "my-data-mini-2shot-s0"
HOSTILE = "<img src=x onerror=alert(1)>&\"'"


@pytest.fixture
def root(tmp_path) -> Path:
    return project(tmp_path / "project")


def shown(root: Path, out: Path, count: int = 9) -> list[str]:
    assert main(["--root", str(root), "stage", "raw", "--cell", "my-data-own"]) == 0
    params = load_params(root / "params.yaml")
    return show(Layout(root), params, params.parse_cell(KEY), count, out)


def test_an_image_holds_as_many_tiles_as_there_are_examples_and_their_boxes(root):
    init(root, "--shots", "2")

    said = shown(root, root / "four.png", 4)

    counts = r"4 of \d+ training questions, on \d training images"
    assert re.fullmatch(rf".*four\.png: {KEY}: {counts}.*, boxes of the expected answer drawn", *said)
    with Image.open(root / "four.png") as sheet:
        colours = sheet.convert("RGB").getcolors(sheet.width * sheet.height)
        assert sheet.width < sheet.height
    assert dict((colour, n) for n, colour in colours)[(255, 212, 0)] > 1000
    assert [path.name for path in root.glob(".*.new")] == []


def test_a_page_has_question_answer_and_boxes_of_every_example(root):
    init(root, "--shots", "2")

    shown(root, root / "all.html", 99)

    text = (root / "all.html").read_text(encoding="utf-8")
    plain = unescape(text)
    assert text.count("<article>") == plain.count("Detect all objects belonging to the category")
    assert text.count("<article>") >= 6
    assert len(re.findall(r'class="box truth"', text)) == 12 == plain.count("{'Position': [") - text.count("<article>")


def test_names_from_other_peoples_files_are_text_and_nothing_else(root):
    for split in ("train", "eval"):
        edit(root, split, lambda d: d["categories"][0].update(name=HOSTILE))
    init(root, "--shots", "2", "--categories", HOSTILE)

    shown(root, root / "x.html")
    shown(root, root / "x.png")

    text = (root / "x.html").read_text(encoding="utf-8")
    assert "<img" not in text
    assert "onerror" in unescape(text)
    assert "Content-Security-Policy" in text
    assert {link[:5] for link in re.findall(r'(?:href|src)="([^"]*)"', text)} <= {"data:", "#pict"}


def test_it_is_a_command(root, capsys):
    init(root, "--shots", "2")
    main(["--root", str(root), "stage", "raw", "--cell", "my-data-own"])
    assert main(["--root", str(root), "show", KEY, "--n", "2", "--out", str(root / "two.html")]) == 0
    assert f"{KEY}: 2 of " in capsys.readouterr().out
    assert (root / "two.html").is_file()


@pytest.mark.parametrize(
    ("out", "count", "words"),
    [("a.gif", 9, r"a\.gif is neither .*\.png or \.html"), ("a.png", 0, "--n: must be at least 1")],
)
def test_what_cannot_be_written_is_refused(root, out, count, words):
    init(root, "--shots", "2")
    with pytest.raises(InputError, match=words):
        shown(root, root / out, count)
    assert not (root / out).exists()


def test_without_data_it_says_how_to_make_them(root):
    init(root, "--shots", "2")
    params = load_params(root / "params.yaml")
    with pytest.raises(InputError, match="vrft stage raw --cell my-data-own"):
        show(Layout(root), params, params.parse_cell(KEY), 9, root / "a.png")
    with pytest.raises(InputError, match="names a study"):
        show(Layout(root), params, params.parse_cell("my-data-mini-2shot"), 9, root / "a.png")


def test_every_category_is_seen_before_any_comes_twice():
    pairs = [(1, 7), (2, 7), (3, 7), (4, 8), (5, 9), (6, 9)]
    assert spread(pairs, 5) == [(1, 7), (4, 8), (5, 9), (2, 7), (6, 9)]
    assert spread([*pairs, *pairs], 99) == [(1, 7), (4, 8), (5, 9), (2, 7), (6, 9), (3, 7)]


def test_without_a_file_named_it_goes_to_reports_where_git_does_not_see_it_and_says_how_many_there_are(root, capsys):
    """Images and questions are counted once each: an image serves several categories, a question may be repeated."""
    init(root, "--shots", "2")
    main(["--root", str(root), "stage", "raw", "--cell", "my-data-own"])
    capsys.readouterr()
    assert main(["--root", str(root), "show", KEY, "--n", "99"]) == 0

    said = capsys.readouterr().out
    assert (root / f"reports/{KEY}-examples.png").is_file()
    found = re.search(r"(\d+) of (\d+) training questions, on (\d+) training images", said)
    assert found and found[1] == found[2] and int(found[3]) <= 6
    if repeats := re.search(r"with repeats training has (\d+)", said):
        assert int(repeats[1]) > int(found[2])
