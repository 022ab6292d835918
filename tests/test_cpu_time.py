"""`vrft plan` of a recipe that needs no GPU says what it takes on CPUs."""

import json
import shutil
from pathlib import Path

import pytest
from small_project import CELL, ROOT

from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.commands.cpu_time import on_cpus
from vrft_core.costs import cost_file
from vrft_core.params import Params
from vrft_core.stages import STAGES
from vrft_core.tasks import load_params


@pytest.fixture
def project(tmp_path) -> tuple[Layout, Params]:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return Layout(tmp_path), load_params(tmp_path / "params.yaml")


def spent(path: Path, **values: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {"ended": "done", "at": 0, "seconds": 500.0, "cpus": 2, "peak_memory_mb": 1, **values}
    path.write_text(json.dumps(row) + "\n")


def test_before_a_first_run_it_says_what_was_measured_elsewhere(project, capsys):
    layout, _ = project
    assert main(["--root", str(layout.root), "plan", "mini"]) == 0
    said = capsys.readouterr().out
    assert "This recipe needs no GPU. The small policy is pre-trained once: about twelve CPU minutes," in said


def test_after_one_it_says_what_this_cell_took_here_or_else_another_of_the_recipe(project):
    layout, params = project
    own, other = params.parse_cell(CELL), params.parse_cell("lvis-mini-1shot-s1")
    for name, seconds in (("policy", 600.0), ("sft", 60.0), ("rft", 45.0)):
        spent(cost_file(layout, other.at(STAGES[name]), name), cpu_seconds=seconds)
    spent(cost_file(layout, own, "rft"), cpu_seconds=80.0)
    assert on_cpus(layout, params, own) == (
        "This recipe needs no GPU. CPU time of earlier runs here: SFT 60 seconds, RFT 80 seconds, a cell at least 2 "
        "minutes, the policy (made once) 10 minutes."
    )


def test_what_a_gpu_computed_says_nothing_of_cpus(project):
    layout, params = project
    cell = params.parse_cell(CELL)
    for name in ("sft", "rft"):
        spent(cost_file(layout, cell, name), cpu_seconds=9.0, gpu_seconds=9.0)
    assert "about twelve CPU minutes" in on_cpus(layout, params, cell)


def test_a_recipe_for_gpus_has_no_such_sentence(project):
    layout, params = project
    recipe = next(name for name, one in params.recipes.items() if one.policy.pretraining is None)
    cell = params.parse_cell(CELL)
    assert on_cpus(layout, params, type(cell)(recipe, cell.benchmark, 1, 0)) == ""
