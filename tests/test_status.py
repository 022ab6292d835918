"""`vrft status`: what is made, stale, running, failed or missing, and what came out."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from small_project import ROOT, edit_params, run, small_project

from vrft_core import io
from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.cli.status import table
from vrft_core.commands.status import STALE, outputs, result_text, status
from vrft_core.errors import InputError
from vrft_core.locks import exclusive
from vrft_core.outcomes import outcome_noted
from vrft_core.stages import STAGES, lock_file, outcome_file
from vrft_core.tasks import load_params

CELL = "lvis-mini-1shot-s0"


@pytest.fixture
def project(tmp_path) -> Layout:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return Layout(tmp_path)


def states(layout: Layout, key: str = CELL) -> dict[str, str]:
    params = load_params(layout.root / "params.yaml")
    [row], _ = status(layout, params, [params.parse_cell(key)])
    return dict(row.stages)


def at(layout: Layout, stage: str):
    return load_params(layout.root / "params.yaml").parse_cell(CELL).at(STAGES[stage])


def write_report(layout: Layout) -> None:
    entry = {"value": 0.3504, "low": 0.312, "high": 0.389}
    gain = {"value": 0.003, "low": -0.016, "high": 0.023}
    io.write_json(
        layout.report(at(layout, "report")) / "metrics.json",
        {"verdict": {"metric": "m", "title": "Metric"}, "models": {"rft": {"m": entry}},
         "differences": {"rft-sft": {"m": gain}}},
    )  # fmt: skip


def test_an_empty_grid_is_said_in_a_sentence():
    assert table([]) == "The grid of params.yaml has no cells; `vrft add` puts some in."


def test_nothing_is_made_in_a_new_project(project):
    assert set(states(project).values()) == {"never"}


def test_what_lies_there_is_made_where_no_dvc_project_can_say_whether_it_is_stale(project, capsys):
    io.write_json(project.raw(at(project, "raw")) / "annotations.json", {})
    assert states(project)["raw"] == "made"
    assert main(["--root", str(project.root), "status"]) == 0
    assert "is no DVC project, so nothing can say what is out of date" in capsys.readouterr().out


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_looked_for_where_it_writes(stage):
    """dvc.yaml names the paths; a cell's own or those of its wider scope."""
    cell = load_params(ROOT / "params.yaml").parse_cell(CELL).at(STAGES[stage])
    path = outputs(Layout(Path(".")), cell, stage).as_posix()

    grid = yaml.safe_load((ROOT / "params.yaml").read_text())["grid"]
    rows = {"raw": "data", "base_eval": "setups", "study": "studies"}.get(stage, "cells")
    row = grid[rows][cell.key] if stage != "policy" else {}
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["do"]
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in declared["outs"] + declared.get("metrics", [])]
    spelled = []
    for out in outs:
        out = out.replace("${key}", cell.key).replace("${item}", cell.key)
        for name, value in row.items():
            out = out.replace(f"${{item.{name}}}", str(value))
        spelled.append(out)
    assert path in spelled


def test_a_stage_whose_lock_is_held_is_running(project):
    with exclusive(lock_file(project, at(project, "rft"), "rft"), "rft"):
        assert states(project)["rft"] == "running"
    assert states(project)["rft"] == "never"


def test_a_stage_that_failed_says_why_until_it_ends_well(project, capsys):
    note = outcome_file(project, at(project, "raw"), "raw")
    note.parent.mkdir(parents=True)
    with pytest.raises(InputError), outcome_noted(note):
        raise InputError("a.json", "is not\nthere")
    assert main(["--root", str(project.root), "status", CELL]) == 0
    out = capsys.readouterr().out
    assert "raw failed: a.json: is not there" in out and "✗ failed" in out
    with outcome_noted(note):
        pass
    assert states(project)["raw"] == "never"


def test_an_interruption_is_no_failure(tmp_path):
    for interruption in (KeyboardInterrupt, SystemExit):
        with pytest.raises(interruption), outcome_noted(tmp_path / "x.json"):
            raise interruption
    assert not (tmp_path / "x.json").exists()


def test_a_finished_cell_shows_its_headline_with_intervals(project, capsys):
    write_report(project)
    assert main(["--root", str(project.root), "status"]) == 0
    assert "Metric 35.0 (31.2 to 38.9), RFT − SFT +0.3 (−1.6 to +2.3)" in capsys.readouterr().out


def test_a_report_cut_short_is_no_result_and_no_error(project):
    write_report(project)
    (project.report(at(project, "report")) / "metrics.json").write_text('{"verdict": {')
    assert states(project)["report"] == "made"
    assert result_text(None) == ""


def test_programs_read_the_same_as_json(project, capsys):
    write_report(project)
    assert main(["--root", str(project.root), "status", "lvis-mini-1shot", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["cells"]
    assert [row["key"] for row in found] == [*(f"lvis-mini-1shot-s{seed}" for seed in range(3)), "lvis-mini-1shot"]
    assert found[0]["result"]["difference"]["low"] == -0.016 and found[1]["result"] is None


def test_a_benchmarks_name_chooses_its_cells_of_all_recipes(project, capsys):
    assert main(["--root", str(project.root), "status", "lvis", "--json"]) == 0
    keys = [row["key"] for row in json.loads(capsys.readouterr().out)["cells"]]
    assert {CELL, "lvis-mini-1shot"} <= set(keys) and all(key.startswith("lvis-") for key in keys)
    assert main(["--root", str(project.root), "status", "lvs"]) == 2
    assert "lvs" in capsys.readouterr().err


def test_without_dvc_installed_it_says_so(project, monkeypatch, capsys):
    monkeypatch.setattr("vrft_core.commands.status.find_spec", lambda name: None)
    assert main(["--root", str(project.root), "status"]) == 0
    assert "DVC is not installed" in capsys.readouterr().out


@pytest.mark.slow
def test_dvc_says_what_is_stale(tmp_path):
    layout = Layout(small_project(tmp_path / "project"))
    command = [sys.executable, "-m", "dvc", "repro", "-q", "raw@lvis-embedded"]
    run(*command, cwd=layout.root, PYTHONPATH=str(layout.root))
    assert states(layout)["raw"] == "fresh"
    edit_params(layout.root, lambda params: params["benchmarks"]["lvis"]["embedded"].update(seed=7))
    assert states(layout)["raw"] == STALE
