"""`vrft add` and `vrft remove`: cells come into params.yaml and go; every other byte of it stays."""

import random
import re
import shutil
from pathlib import Path

import dagster as dg
import pytest
from own_data import init, project
from small_project import edit_params, run, small_project

from pipelines.definitions import build_definitions
from vrft_core import io, yaml_edit, yaml_text
from vrft_core.cli import main
from vrft_core.commands import add as command
from vrft_core.commands.add import add, remove
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.tasks import load_params

ROOT = Path(__file__).parents[1]
LAYOUT = """\
# the head
grid:
  recipes: [mini] # trained with

  data:

    lvis-embedded: {benchmark: lvis, data: embedded} # drawn

    # what follows belongs to nobody
  cells: # one a line
    a: {x: 1}   # the first
    # between
    'b': {x: 2,
      y: 3}
    c:
      x: 4
      # inside
      y: [1, 2]
  # behind
nightly:
  - a # tonight
  - b
flow: {a: 1, b: 2, c: 3}
list: [a, b, c]
none: {}
nothing: # to see
last: {z: 1}"""


@pytest.fixture
def root(tmp_path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def grid(root: Path) -> Params:
    return load_params(root / "params.yaml")


def lines(root: Path) -> list[str]:
    return (root / "params.yaml").read_text(encoding="utf-8").splitlines()


def refused(root: Path, *arguments, **named) -> str:
    before = (root / "params.yaml").read_bytes()
    with pytest.raises(InputError) as raised:
        add(root, *arguments, **named)
    assert (root / "params.yaml").read_bytes() == before
    assert "\n" not in str(raised.value)
    return str(raised.value)


# --- adding ----------------------------------------------------------------------------------------------------------


def test_shots_and_seeds_make_a_cell_each_and_the_rows_around_them(root):
    add(root, "icons", "mini", shots=[2, 4], seeds=[0, 7])

    params = grid(root)
    for key in ("icons-mini-2shot-s0", "icons-mini-2shot-s7", "icons-mini-4shot-s0", "icons-mini-4shot-s7"):
        assert key in params.grid.cells
    assert params.grid.studies["icons-mini-4shot"].seeds == [0, 7]


def test_a_benchmark_and_a_recipe_that_the_grid_did_not_have_bring_their_rows(root):
    add(root, "pets37", "qwen2-vl-2b", shots=[4], seeds=[0])

    params = grid(root)
    assert params.grid.recipes == ["mini", "qwen2-vl-2b"]
    assert params.grid.data["pets37-official"].data == "official"
    assert params.grid.setups["pets37-qwen2-vl-2b"].task == "classification"


def test_a_second_recipe_on_the_same_data_writes_the_data_once(root):
    add(root, "pets37", "qwen2-vl-2b", shots=[4], seeds=[0])
    add(root, "pets37", "qwen2-vl-7b", shots=[4], seeds=[0])

    assert sum(line.startswith("    pets37-official:") for line in lines(root)) == 1


def test_only_lines_are_added_and_a_studys_seeds(root):
    before = lines(root)
    add(root, "lvis", "mini", shots=[1, 4], seeds=[0, 3])

    after = lines(root)
    changed = [line for line in before if line not in after]
    assert [line.split(":")[0].strip() for line in changed] == ["lvis-mini-1shot"]
    left = iter(after)
    assert all(line in left for line in before if line not in changed)


def test_a_second_add_changes_nothing_and_says_so(root):
    add(root, "lvis", "mini", shots=[4], seeds=[0, 1])
    before = (root / "params.yaml").read_bytes()

    said = add(root, "lvis", "mini", shots=[4], seeds=[0, 1])

    assert "nothing to add" in said[0]
    assert (root / "params.yaml").read_bytes() == before


def test_further_seeds_extend_the_study_and_stand_with_their_own(root):
    add(root, "lvis", "mini", shots=[1], seeds=[2, 3, 4])

    assert grid(root).grid.studies["lvis-mini-1shot"].seeds == [0, 1, 2, 3, 4]
    rows = [line.strip().partition(":")[0] for line in lines(root) if line.startswith("    lvis-mini-1shot-s")]
    assert rows == [f"lvis-mini-1shot-s{seed}" for seed in range(5)]
    assert "icons-mini-1shot-s0:" in lines(root)[lines(root).index(next(r for r in lines(root) if "shot-s4:" in r)) + 1]


def test_what_is_said_names_the_studies_and_what_to_type_next(root):
    said = add(root, "lvis", "mini", shots=[4], seeds=[0, 1])

    assert said[0].endswith("added 2 cells")
    assert said[1] == "  lvis-mini-4shot: seeds 0, 1"
    assert said[-1].endswith("vrft run lvis-mini-4shot-s0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("imagenet",), ["no benchmark 'imagenet'", "known: lvis"]),
        (("lvis", "huge"), ["no recipe 'huge'", "known: mini"]),
        (("icons", "qwen2-vl-2b"), ["needs official data", "icons has none", "take mini"]),
        (("pets37", "mini"), ["needs embedded data", "pets37 has none", "take qwen2-vl-2b"]),
        (("lvis", "mini", [0]), ["--shots", "at least 1"]),
        (("lvis", "mini", [1], [-1]), ["--seeds", "at least 0"]),
        (("lvis", "mini", [1], []), ["--seeds"]),
        (("paper", "mini"), ["--recipe", "have their own"]),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_and_nothing_is_written(root, arguments, words):
    said = refused(root, *arguments)
    assert all(word in said for word in words), said


def test_a_recipe_that_says_nothing_of_the_task_is_refused(root):
    def forget(params: dict) -> None:
        recipe = params["recipes"]["qwen2-vl-2b"]
        recipe["tasks"] = {name: said for name, said in recipe["tasks"].items() if name != "classification"}

    edit_params(root, forget)
    said = refused(root, "pets37", "qwen2-vl-2b")
    assert "has no block classification" in said
    assert "take qwen2-vl-7b" in said


def test_a_key_that_could_mean_another_recipe_is_refused(root):
    def shadow(params: dict) -> None:
        params["benchmarks"]["my"] = params["benchmarks"]["icons"]
        params["benchmarks"]["my-other"] = params["benchmarks"]["icons"]
        params["recipes"]["other-mini"] = params["recipes"]["mini"]

    edit_params(root, shadow)
    assert "could mean another recipe" in refused(root, "my-other", "mini")
    add(root, "my", "other-mini")


def test_they_are_commands(root, capsys):
    before = (root / "params.yaml").read_bytes()
    what = ["lvis", "--recipe", "mini", "--shots", "4", "8", "--seeds", "0", "1"]

    assert main(["--root", str(root), "add", *what]) == 0
    assert "added 4 cells" in capsys.readouterr().out
    assert main(["--root", str(root), "remove", *what]) == 0
    assert (root / "params.yaml").read_bytes() == before

    assert main(["--root", str(root), "add", "icons", "--recipe", "qwen2-vl-2b"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "recipe qwen2-vl-2b needs official data, and benchmark icons has none; " in error
    assert error.endswith("take mini, mini-no-thinking, mini-native\n")


# --- removing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shots", [[3], [3, 8]])
@pytest.mark.parametrize("name", ["lvis", "icons", "phrases"])
def test_removing_what_was_added_gives_the_same_bytes(root, name, shots):
    before = (root / "params.yaml").read_bytes()
    add(root, name, "mini", shots=[2, *shots], seeds=[0, 1])
    remove(root, name, "mini", shots=[2, *shots], seeds=[0, 1])
    assert (root / "params.yaml").read_bytes() == before


def test_removing_the_seeds_that_extended_a_study_gives_the_same_bytes(root):
    before = (root / "params.yaml").read_bytes()
    add(root, "lvis", "mini", shots=[1], seeds=[5, 6])
    remove(root, "lvis", "mini", seeds=[5, 6])
    assert (root / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "left"),
    [("lvis-mini-1shot-s0", {"s1", "s2"}), ("lvis-mini-1shot", set()), ("lvis-mini", set()), ("lvis", set())],
)
def test_a_cell_a_study_a_setup_or_a_benchmark_is_removed_by_its_name(root, name, left):
    remove(root, name)
    assert {key.rpartition("-")[2] for key in grid(root).grid.cells if key.startswith("lvis-")} == left


def test_the_night_shift_forgets_what_is_removed(root):
    before = grid(root).nightly
    assert before.golden == "lvis-mini-1shot-s0" in before.cells
    remove(root, "lvis-mini-1shot-s0")
    assert grid(root).nightly.cells == [key for key in before.cells if key != "lvis-mini-1shot-s0"]
    assert grid(root).nightly.golden is None
    assert grid(root).grid.studies["lvis-mini-1shot"].seeds == [1, 2]


def test_a_project_without_a_nightly_block_can_remove_cells_too(root):
    text = (root / "params.yaml").read_text()
    begin, end = text.index("\nnightly:"), text.index("\n# What a stage asks for")
    (root / "params.yaml").write_text(text[:begin] + "\n" + text[end:])
    remove(root, "lvis-mini-1shot-s0")
    assert grid(root).grid.studies["lvis-mini-1shot"].seeds == [1, 2]


def test_what_is_not_there_cannot_be_removed(root):
    before = (root / "params.yaml").read_bytes()
    with pytest.raises(InputError, match=r"no such cell of 'pets37'.*lvis-mini-1shot"):
        remove(root, "pets37")
    with pytest.raises(InputError, match="no such cell"):
        remove(root, "lvis", seeds=[9])
    assert (root / "params.yaml").read_bytes() == before


@pytest.mark.slow
def test_everything_can_go_and_come_back(root):
    before = grid(root)
    for name in ("lvis", "icons", "phrases"):
        remove(root, name)
    assert not grid(root).cells()
    for name, shots in (("lvis", 1), ("icons", 1), ("phrases", 4)):
        add(root, name, "mini", shots=[shots])
    assert grid(root).grid == before.grid


def test_a_users_own_data_join_an_emptied_grid(tmp_path):
    root = project(tmp_path / "project")
    for name in ("lvis", "icons", "phrases"):
        remove(root, name)
    assert init(root, "--shots", "2") == 0
    assert {cell.benchmark for cell in grid(root).cells()} == {"my-data"}
    assert grid(root).grid.recipes == ["mini"]


def test_blocks_emptied_by_hand_take_rows_again(root):
    text = (root / "params.yaml").read_text()
    start = text.index("  recipes: [mini]\n  data:")
    end = text.index("\nnightly")
    emptied = text[:start] + "  recipes: []\n  data: # none\n  setups:\n  cells: {}\n  studies: ~\n" + text[end:]
    (root / "params.yaml").write_text(re.sub(r"  cells: \[.*\]\n  golden: \S+", "  cells: []\n  golden: null", emptied))

    add(root, "icons", "mini", shots=[1], seeds=[0])

    assert list(grid(root).grid.cells) == ["icons-mini-1shot-s0"]
    assert "  data: # none" in lines(root)


def test_a_file_with_windows_line_ends_keeps_them(root):
    before = (root / "params.yaml").read_bytes().replace(b"\n", b"\r\n")
    (root / "params.yaml").write_bytes(before)
    add(root, "lvis", "mini", shots=[4], seeds=[0])

    after = (root / "params.yaml").read_bytes()
    assert after.count(b"\n") == after.count(b"\r\n") == before.count(b"\n") + 2
    remove(root, "lvis", "mini", shots=[4])
    assert (root / "params.yaml").read_bytes() == before


def test_a_change_that_would_mean_something_else_is_not_written(root, monkeypatch):
    """Such as rows behind an anchor that two blocks share."""
    before = (root / "params.yaml").read_bytes()
    add_rows = yaml_edit.add
    monkeypatch.setattr(command.yaml_edit, "add", lambda *a: add_rows(*a).replace("threads: 1", "threads: 3"))
    with pytest.raises(InputError, match="could not be changed without changing other rows"):
        add(root, "lvis", "mini", shots=[4])
    assert (root / "params.yaml").read_bytes() == before


def test_a_write_that_breaks_off_leaves_the_old_file(root, monkeypatch):
    before = (root / "params.yaml").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(io.os, "replace", full)
    with pytest.raises(OSError):
        add(root, "lvis", "mini", shots=[4])
    assert (root / "params.yaml").read_bytes() == before
    assert [path.name for path in root.iterdir()] == ["params.yaml"]


# --- the text --------------------------------------------------------------------------------------------------------


def read(text: str):
    return yaml_text.parse(text, Path("x.yaml"))


MAPPINGS = [("grid", "data"), ("grid", "cells"), ("flow",), ("none",), ("nothing",), ("last",)]


@pytest.mark.parametrize("at", MAPPINGS)
def test_rows_added_to_any_mapping_are_what_else_it_means_and_go_again(at):
    rows = {"new": {"benchmark": "x: y", "shots": 1}, "newer": {"a": ["#", "é"]}}
    expected = read(LAYOUT)
    inner = expected
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = (inner[at[-1]] or {}) | rows

    text = yaml_edit.add(LAYOUT, at, rows)

    assert read(text) == expected
    comments = [part for part in LAYOUT.split("#")[1:]]
    assert all(comment.split("\n")[0] in text for comment in comments)
    emptied = yaml_edit.remove(text, at, rows)
    assert emptied == (LAYOUT.replace("nothing: #", "nothing: {} #") if at == ("nothing",) else LAYOUT) + (
        "\n" if at == ("last",) and emptied.endswith("\n") else ""
    )


@pytest.mark.parametrize("at", [("nightly",), ("list",), ("grid", "recipes"), ("grid", "cells", "c", "y")])
def test_items_of_a_list_come_and_go(at):
    text = yaml_edit.append(LAYOUT, at, ["z", "9"])
    assert yaml_edit.append(text, at, ["z", "9"]) == text
    assert yaml_edit.remove(text, at, ["z", "9"]) == LAYOUT


@pytest.mark.parametrize("gone", ["a", "b", "c", "ab", "bc", "ac", "abc"])
@pytest.mark.parametrize("at", [("grid", "cells"), ("flow",), ("list",)])
def test_any_of_the_rows_can_be_removed(at, gone):
    whole = read(LAYOUT)
    text = yaml_edit.remove(LAYOUT, at, list(gone))
    found = read(text)

    inner, left = whole, found
    for name in at[:-1]:
        inner, left = inner[name], left[name]
    old = inner.pop(at[-1])
    kept = left.pop(at[-1])
    assert found == whole
    expected = {k: v for k, v in old.items() if k not in gone} if isinstance(old, dict) else [
        item for item in old if item not in gone
    ]  # fmt: skip
    assert kept == expected
    assert "# between" in text
    assert "# behind" in text


def test_a_long_random_walk_of_additions_and_removals_keeps_to_what_was_meant():
    lot = random.Random(0)
    text, meant = LAYOUT, read(LAYOUT)["grid"]["cells"]
    for step in range(60):
        if lot.random() < 0.5 or not meant:
            rows = {f"k{step}-{n}": {"n": n} for n in range(lot.randint(1, 3))}
            after = {key: lot.choice(list(meant)) for key in rows if meant and lot.random() < 0.5}
            text, meant = yaml_edit.add(text, ("grid", "cells"), rows, after), meant | rows
        else:
            gone = lot.sample(list(meant), min(len(meant), lot.randint(1, 3)))
            text = yaml_edit.remove(text, ("grid", "cells"), gone)
            meant = {key: row for key, row in meant.items() if key not in gone}
        assert read(text)["grid"]["cells"] == meant
        assert read(text)["nightly"] == ["a", "b"]
    assert "  # behind\n" in text


# --- DVC and Dagster -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_new_cell_is_a_stage_of_dvc_and_after_a_reload_a_partition_in_dagster(tmp_path):
    root = small_project(tmp_path / "project")
    run("git", "init", "-q", ".", cwd=root)
    asset = dg.AssetKey("lvis_rft_eval")

    def partitions() -> list[str]:
        graph = build_definitions(root).resolve_asset_graph()
        return list(graph.get(asset).partitions_def.get_partition_keys()) if asset in graph.get_all_asset_keys() else []

    before = partitions()
    add(root, "lvis", "mini", shots=[2], seeds=[0])
    assert partitions() == [*before, "mini-2shot-s0"]
    assert "rft@lvis-mini-2shot-s0" in run("dvc", "stage", "list", cwd=root)

    remove(root, "lvis")
    assert partitions() == []
    assert run("dvc", "stage", "list", "-q", cwd=root).strip() == ""
    add(root, "lvis", "mini", shots=[1], seeds=[0])
    assert partitions() == ["mini-1shot-s0"]
