"""The way back from `vrft init`: `vrft remove BENCHMARK`, and a second `vrft init`."""

import pytest
from own_data import init, project
from test_files import edit

from vrft_core.cli import main
from vrft_core.tasks import load_params


@pytest.fixture
def root(tmp_path):
    return project(tmp_path / "project")


def remove(root, *what: str) -> int:
    return main(["--root", str(root), "remove", *what])


def test_removing_a_benchmark_of_ones_own_gives_the_bytes_from_before_init(root, capsys):
    before = (root / "params.yaml").read_bytes()
    init(root)

    assert remove(root, "my-data") == 0

    assert (root / "params.yaml").read_bytes() == before
    said = capsys.readouterr().out
    assert "removed 3 cells" in said and "removed benchmark my-data; your images stay" in said
    assert init(root, "--categories", "cat") == 0
    assert load_params(root / "params.yaml").benchmarks["my-data"].categories == ["cat"]


def test_a_second_init_is_refused_with_the_command_that_undoes_the_first(root, capsys):
    init(root)
    assert init(root) == 2
    assert "take it out first: vrft remove my-data; or choose another name" in capsys.readouterr().err


def test_a_benchmark_whose_cells_were_removed_one_study_at_a_time_goes_when_it_is_named(root, capsys):
    before = (root / "params.yaml").read_bytes()
    init(root)
    remove(root, "my-data-mini-1shot")
    assert "benchmark my-data stays; to remove it: vrft remove my-data" in capsys.readouterr().out

    assert remove(root, "my-data") == 0
    assert "removed benchmark my-data" in capsys.readouterr().out
    assert (root / "params.yaml").read_bytes() == before
    assert remove(root, "my-data") == 2


def test_removing_some_of_its_cells_keeps_a_benchmark(root):
    init(root)
    remove(root, "my-data", "--seeds", "0", "1", "2")
    assert "my-data" in load_params(root / "params.yaml").benchmarks


def test_a_shipped_benchmark_stays_when_its_cells_go(root, capsys):
    remove(root, "lvis")
    assert "lvis" in load_params(root / "params.yaml").benchmarks
    assert "benchmark lvis" not in capsys.readouterr().out


def test_many_categories_come_with_the_commands_that_choose_a_few(root, capsys):
    def more(data: dict) -> None:
        names = [{"id": 10 + n, "name": f"thing {n}"} for n in range(9)]
        first = data["annotations"][0]
        data["categories"] = data["categories"] + names
        data["annotations"] += [
            first | {"id": 1000 + 100 * image["id"] + n, "image_id": image["id"], "category_id": 10 + n}
            for image in data["images"]
            for n in range(9)
        ]

    for split in ("train", "eval"):
        edit(root, split, more)

    init(root)
    said = capsys.readouterr().out
    assert "12 categories: every model is asked about each of them in every evaluation image" in said
    assert "vrft remove my-data, then the same command with some, such as --categories cat 'thing 0'" in said

    remove(root, "my-data")
    init(root, "--categories", "cat")
    assert "every model is asked" not in capsys.readouterr().out
