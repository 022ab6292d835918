"""`vrft init`: adds a benchmark and its cells to params.yaml, and touches nothing else."""

import re
import shutil
import textwrap

import pytest
import yaml
from own_data import init, lvis, project
from test_files import edit

from vrft_core.cell import Cell
from vrft_core.cli import main
from vrft_core.io import read_json, write_json
from vrft_core.params import Params
from vrft_core.sources import files
from vrft_core.tasks import load_params


@pytest.fixture
def root(tmp_path):
    return project(tmp_path / "project")


def params(root) -> Params:
    return load_params(root / "params.yaml")


def refused(root, capsys, *words: str) -> None:
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in words:
        assert word in error


def test_it_adds_the_benchmark_its_data_a_cell_for_each_seed_and_the_study(root):
    assert init(root, "--shots", "2", "--seeds", "3", "1") == 0

    after = params(root)
    keys = [cell.key for cell in after.cells() if cell.benchmark == "my-data"]
    assert keys == ["my-data-mini-2shot-s1", "my-data-mini-2shot-s3"]
    assert after.grid.studies["my-data-mini-2shot"].seeds == [1, 3]
    assert "my-data-own" in after.grid.data
    assert "my-data-mini" in after.grid.setups
    assert after.parse_cell("my-data-mini-2shot-s3") == Cell("mini", "my-data", 2, 3)
    assert {cell.data for cell in after.cells() if cell.benchmark == "my-data"} == {"own"}


def test_it_only_adds_lines_so_every_comment_stays(root):
    before = (root / "params.yaml").read_text().splitlines()

    init(root)

    after = (root / "params.yaml").read_text().splitlines()
    added = iter(after)
    assert all(line in added for line in before)
    assert len(after) == len(before) + 5 + 1 + 1 + 3 + 1
    for block in ("recipes", "grid", "nightly"):
        assert after[after.index(next(line for line in after if line.startswith(f"{block}:"))) - 1] == ""


def test_it_says_what_to_type_next_and_that_command_names_a_cell(root, capsys):
    init(root)

    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "next: vrft run my-data-mini-1shot-s0"
    assert params(root).parse_cell(last.split()[-1]).benchmark == "my-data"


def test_after_it_the_data_stages_run(root):
    init(root, "--shots", "2")

    for stage, cell in (("raw", "my-data-own"), ("few_shot", "my-data-mini-2shot-s0")):
        assert main(["--root", str(root), "stage", stage, "--cell", cell]) == 0

    selection = read_json(root / "data/few_shot/my-data-mini-2shot-s0/selection.json")
    assert [c["name"] for c in selection["categories"]] == params(root).benchmarks["my-data"].categories
    assert {len(c["images"]) for c in selection["categories"]} == {2}


def test_paths_inside_the_project_are_stored_relative_and_others_absolute(root, tmp_path):
    shutil.move(root / "eval.json", tmp_path)
    command = f"--root {root} init d --coco {root}/train.json --images {root}/photos"

    assert main([*command.split(), "--eval-coco", f"{tmp_path}/eval.json", "--eval-images", f"{root}/photos"]) == 0

    benchmark = params(root).benchmarks["d"]
    assert (benchmark.train.annotations, benchmark.train.images) == ("train.json", "photos")
    assert benchmark.eval.annotations == f"{tmp_path}/eval.json"


def test_paths_are_those_of_the_folder_one_stands_in(root, monkeypatch):
    monkeypatch.chdir(root / "photos")

    command = "--root .. init d --coco ../train.json --images . --eval-coco ../eval.json --eval-images ."
    assert main(command.split()) == 0

    train = params(root).benchmarks["d"].train
    assert (train.annotations, train.images) == ("train.json", "photos")


def test_a_file_that_changed_later_is_refused_until_it_is_taken_over(root, capsys):
    init(root)
    pinned = params(root).benchmarks["my-data"]
    edit(root, "train", lambda d: d["annotations"].pop())

    assert main(["--root", str(root), "run", "my-data-mini-1shot-s0"]) == 2
    refused(root, capsys, "train.json", "has changed", "vrft update")

    assert main(["--root", str(root), "update", "my-data"]) == 0
    now = params(root).benchmarks["my-data"]
    assert now.train.sha256 != pinned.train.sha256 and now.eval == pinned.eval
    files.refuse_changed(now, root)


def test_only_a_benchmark_with_files_of_its_own_can_be_updated(root, capsys):
    assert main(["--root", str(root), "update", "lvis"]) == 2
    refused(root, capsys, "params.yaml", "lvis", "no files of its own")


def test_lvis_files_are_taken_too(root):
    for split in ("train", "eval"):
        write_json(root / f"{split}.json", lvis(read_json(root / f"{split}.json")))

    assert init(root) == 0


def test_categories_short_of_images_are_left_out_in_writing_with_the_reason(root, capsys):
    assert init(root, "--shots", "5") == 0

    taken = params(root).benchmarks["my-data"].categories
    assert "cat" in taken
    assert "mug" not in taken
    reason = r"left out, fewer than 5 usable training images \(lower --shots to include them\): .*mug \([234]\)"
    assert re.search(reason, capsys.readouterr().out)


def test_categories_that_no_evaluation_image_shows_are_left_out_in_writing(root, capsys):
    edit(root, "eval", lambda d: d.update(annotations=[a for a in d["annotations"] if a["category_id"] != 5]))

    assert init(root) == 0

    assert params(root).benchmarks["my-data"].categories == ["cat", "dog"]
    assert "left out, no evaluation image: mug" in capsys.readouterr().out


def test_named_categories_are_the_ones_that_are_taught(root):
    assert init(root, "--categories", "mug", "cat") == 0

    assert params(root).benchmarks["my-data"].categories == ["mug", "cat"]


@pytest.mark.parametrize("name", ["no", "1", "a: b", "teddy, bear", "Grüße", "${x}", "#1", "'s"])
def test_category_names_survive_being_written_as_yaml(root, name):
    for split in ("train", "eval"):
        edit(root, split, lambda d: d["categories"][0].update(name=name))

    assert init(root, "--categories", name) == 0

    assert params(root).benchmarks["my-data"].categories == [name]
    assert yaml.safe_load((root / "params.yaml").read_text())["benchmarks"]["my-data"]["categories"] == [name]


def test_a_recipe_that_the_grid_has_not_used_yet_joins_it(root):
    text = (root / "params.yaml").read_text()
    other = yaml.safe_dump({"other": yaml.safe_load(text)["recipes"]["mini"]}, sort_keys=False)
    recipe = textwrap.indent(other, "  ")
    (root / "params.yaml").write_text(text.replace("\nrecipes:\n", f"\nrecipes:\n{recipe}", 1))

    assert init(root, "--recipe", "other") == 0

    assert params(root).grid.recipes == ["mini", "other"]
    assert "my-data-other-1shot-s0" in params(root).grid.cells


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shots", "13"], ["--shots", "no category has 13", "the most is", "'cat'", "lower --shots"]),
        (["--shots", "5", "--categories", "cat", "mug"], ["--categories", "5 shots", "mug (", "lower --shots"]),
        (["--categories", "lion"], ["--categories", "'lion'", "known: cat, dog, mug"]),
        (["--shots", "0"], ["--shots", "at least 1"]),
        (["--seeds", "-1"], ["--seeds", "at least 0"]),
        (["--seeds", "0", "0"], ["--seeds", "the same number twice", "name different ones"]),
        (["--recipe", "maxi"], ["recipes", "'maxi'", "known: mini"]),
    ],
)  # fmt: skip
def test_an_impossible_request_is_refused_in_one_line_and_params_stay(root, capsys, options, words):
    before = (root / "params.yaml").read_bytes()

    assert init(root, *options) == 2

    refused(root, capsys, *words)
    assert (root / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    "name", ["My-data", "my_data", "-x", "x-", "a--b", "7up", "a/b", "../a", "a" * 41, "lvis", "mini"]
)
def test_a_name_that_makes_no_key_or_is_taken_is_refused_and_params_stay(root, capsys, name):
    before = (root / "params.yaml").read_bytes()
    files = f"--coco {root}/train.json --images {root}/photos --eval-coco {root}/eval.json --eval-images {root}/photos"

    assert main(["--root", str(root), "init", *files.split(), "--", name]) == 2

    refused(root, capsys, f"{name!r}")
    assert (root / "params.yaml").read_bytes() == before


def test_a_second_init_of_the_same_name_is_refused(root, capsys):
    init(root)
    before = (root / "params.yaml").read_bytes()
    capsys.readouterr()

    assert init(root) == 2

    refused(root, capsys, "'my-data' is already a benchmark")
    assert (root / "params.yaml").read_bytes() == before
