"""What stages cost: a line an attempt beside the run folder, added up for `vrft status`; none of it in DVC's outs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_project import ROOT

from vrft_core import machine
from vrft_core.cell import Layout
from vrft_core.cli import main
from vrft_core.cli.costs import cost_table, cost_text
from vrft_core.costs import added, attempts, cost_file, costs_noted, latest, so_far
from vrft_core.tasks import load_params

CELL = "lvis-mini-1shot-s0"
STUDY = "lvis-mini-1shot"


def attempt(**values) -> dict:
    return {"ended": "done", "at": 0, "seconds": 10.0, "cpu_seconds": 15.0, "cpus": 2, "peak_memory_mb": 100} | values


def write(path: Path, *rows: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def layout(tmp_path) -> Layout:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return Layout(tmp_path)


def cell(layout: Layout):
    return load_params(layout.root / "params.yaml").parse_cell(CELL)


@pytest.mark.parametrize("error, ended", [(None, "done"), (ValueError, "failed"), (KeyboardInterrupt, "interrupted")])
def test_every_end_of_a_stage_leaves_a_line(tmp_path, error, ended):
    try:
        with costs_noted(tmp_path / "rft.cost.jsonl"):
            sum(range(2_000_000))
            if error:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    [row] = attempts(tmp_path / "rft.cost.jsonl")
    assert row["ended"] == ended
    assert 0 < row["cpu_seconds"] <= row["seconds"] * row["cpus"] + 0.1
    assert row["peak_memory_mb"] > 10 and row["cpus"] >= 1
    assert "gpus" not in row, "PyTorch has used none"


def test_children_that_have_ended_count(tmp_path):
    with costs_noted(tmp_path / "a"):
        subprocess.run([sys.executable, "-c", "sum(range(9_000_000))"], check=True)
    assert attempts(tmp_path / "a")[0]["cpu_seconds"] >= 0.05


def test_where_nothing_can_be_written_the_stage_goes_on(tmp_path):
    with costs_noted(tmp_path / "missing/a"):
        pass
    assert attempts(tmp_path / "missing/a") == []


def test_the_failed_attempts_before_a_result_are_part_of_its_cost_and_earlier_results_are_not(tmp_path):
    rows = [attempt(cpu_seconds=99), attempt(ended="interrupted"), attempt(ended="failed"), attempt(peak_memory_mb=300)]
    write(tmp_path / "a", *rows)
    assert latest(tmp_path / "a") == {
        "seconds": 30, "cpu_seconds": 45, "peak_memory_mb": 300, "room": 60, "attempts": 3, "cpu_efficiency": 0.75,
    }  # fmt: skip


def test_a_stage_about_to_end_counts_its_failed_attempts_and_not_its_last_result(tmp_path):
    write(tmp_path / "a", attempt(cpu_seconds=99), attempt(ended="failed"))
    assert so_far(tmp_path / "a", attempt())["cpu_seconds"] == 30
    assert so_far(tmp_path / "nothing", attempt())["attempts"] == 1


def test_lines_cut_short_are_left_out(tmp_path):
    (tmp_path / "a").write_text(json.dumps(attempt()) + "\n[1]\n" + json.dumps(attempt())[:20])
    assert len(attempts(tmp_path / "a")) == 1
    assert latest(tmp_path / "nothing") is None


def test_sums_of_sums_are_the_same_as_sums():
    rows = [attempt(gpu_seconds=5, gpu_joules=70), attempt(cpus=1)]
    first, second = added(rows[:1]), added(rows[1:])
    assert first and second and added([first, second]) == added(rows)


def test_the_gpu_is_what_a_row_shows_where_one_was_used():
    cost = added([attempt(gpu_seconds=7200, gpu_peak_memory_mb=50_000, gpu_joules=3.6e6)])
    assert cost and cost_text(cost) == "2.0 h GPU"
    assert "1 kWh" in cost_table({"rft": cost})
    assert cost_text(None) == "" and cost_text(added([attempt()])) == "15 s CPU"


def test_status_shows_what_a_cell_cost_and_the_room_it_takes(layout, capsys):
    own = cell(layout)
    write(cost_file(layout, own, "rft"), attempt(cpu_seconds=120, seconds=90))
    write(cost_file(layout, own, "sft"), attempt(ended="failed"), attempt())
    write(cost_file(layout, own.at("recipe"), "policy"), attempt(cpu_seconds=600))
    assert main(["--root", str(layout.root), "status", CELL]) == 0
    text = capsys.readouterr().out
    assert "2.5 min CPU" in text, "of its own stages: the policy is shared"
    assert "2 attempts" in text and "10.0 min" in text
    assert main(["--root", str(layout.root), "status", CELL, "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["cells"]
    assert row["cost"]["cpu_seconds"] == 150 and row["costs"]["policy"]["cpu_seconds"] == 600
    assert row["disk"]["runs"] > 0 and row["disk"]["models"] == 0


def test_a_quota_of_the_control_group_is_no_more_than_the_processors():
    assert 0 < machine.cpus() <= len(os.sched_getaffinity(0))


def test_no_out_of_dvc_lies_where_costs_are_written(layout):
    outs = [
        next(iter(out)) if isinstance(out, dict) else out
        for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
        for out in [*stage["do"].get("outs", []), *stage["do"].get("metrics", [])]
    ]
    where = cost_file(layout, cell(layout), "rft").relative_to(layout.root).as_posix()
    assert where == f"runs/{CELL}/rft.cost.jsonl" and not [out for out in outs if out.startswith("runs/")]


def test_what_a_stage_imports_counts_in_its_time_as_in_its_cpu_time(tmp_path):
    """Else a stage that computes little seems to use more CPUs than there are."""
    program = (
        "import sys; from pathlib import Path; from vrft_core.cell import Layout\n"
        "from vrft_core.tasks import load_params\n"
        "from vrft_core.stages import run_stage; root = Path(sys.argv[1]); params = load_params(root / 'params.yaml')\n"
        f"run_stage('study', Layout(root), params, params.parse_cell({STUDY!r}))\n"
    )
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    subprocess.run([sys.executable, "-c", program, tmp_path], check=False, stderr=subprocess.DEVNULL)  # nothing is made
    params = load_params(tmp_path / "params.yaml")
    [row] = attempts(cost_file(Layout(tmp_path), params.parse_cell(STUDY), "study"))
    assert row["ended"] == "failed" and 0 < row["cpu_seconds"] <= row["seconds"] * row["cpus"] + 0.1
