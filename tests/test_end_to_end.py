"""The whole graph at reduced size, from raw data to the report: all three doors, one result.

The policy is hardly trained here, so the numbers mean nothing; that they are the same everywhere does.
"""

import re
from pathlib import Path

import pytest
from finished_project import project
from small_project import CELL, ROOT, run

from vrft_core import io
from vrft_core.cell import Cell, Layout

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.fixture(scope="module")
def by_dagster(tmp_path_factory) -> Path:
    """`make demo`'s command."""
    root = project(tmp_path_factory.mktemp("end") / "dagster")
    said = run("python", "-m", "pipelines.materialize", CELL, cwd=root, VRFT_ROOT=str(root), PYTHONPATH=str(ROOT))
    assert "Report:" in said and "done in" in said  # progress is visible; time left only where a step takes seconds
    counted = [int(number) for number in re.findall(r"^\[(\d+)/10\]", said, re.MULTILINE)]
    assert sorted(counted) == list(range(1, 11)), "each stage has its number, whatever runs beside it"
    return root


def results(root: Path) -> dict[str, str]:
    """Digests of data, weights, predictions and metrics; reports hold the training's own seconds and are left out."""
    files = [
        *(root / "data").rglob("*"),
        *(root / "models").rglob("*"),
        *(root / "reports").rglob("*/predictions.jsonl"),
    ]
    files += [f for method in ("base", "sft", "rft") for f in (root / "reports").rglob(f"{method}/metrics.json")]
    return {f.relative_to(root).as_posix(): io.sha256(f) for f in sorted(files) if f.is_file()}


def test_every_door_gives_the_same_data_weights_predictions_and_metrics(by_dagster, by_dvc):
    assert {name.split("/")[0] for name in results(by_dvc)} == {"data", "models", "reports"}
    assert results(by_dagster) == results(by_dvc)


def test_ap_is_given_by_every_ranking(by_dvc):
    for method in ("base", "sft", "rft"):
        metrics = io.read_json(Layout(by_dvc).evaluation(Cell("mini", "lvis", 1, 0), method) / "metrics.json")
        assert set(metrics["ranked_by"]) == {"stated", "likelihood", "certainty", "combined", "oracle"}


def test_after_dagster_the_terminal_finds_nothing_to_do_and_prints_the_result(by_dagster):
    said = run("vrft", "run", CELL, cwd=by_dagster)
    assert "running" not in said and said.count("cached") == 10
    assert "RFT" in said and "report.html" in said


def test_after_dvc_dagster_finds_nothing_to_do(by_dvc):
    said = run("python", "-m", "pipelines.materialize", CELL, cwd=by_dvc, VRFT_ROOT=str(by_dvc), PYTHONPATH=str(ROOT))
    assert said.count("is up to date") == 10


def test_the_report_stands_alone(by_dvc):
    page = (Layout(by_dvc).report(Cell("mini", "lvis", 1, 0)) / "report.html").read_text()
    assert 'href="data:image' in page
    for outside in ('src="http', "src='http", '<link rel="stylesheet"', "@import"):
        assert outside not in page


def test_a_colleague_gets_all_of_it_without_computing(by_dvc, tmp_path):
    run("dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "remote"), cwd=by_dvc)
    run("dvc", "push", "-q", cwd=by_dvc)
    run("git", "add", ".", cwd=by_dvc)
    run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "done", cwd=by_dvc)
    run("git", "clone", "-q", str(by_dvc), "clone", cwd=tmp_path)
    clone = tmp_path / "clone"
    run("dvc", "pull", "-q", cwd=clone)
    assert results(clone) == results(by_dvc)
    assert "Running" not in run("dvc", "repro", cwd=clone)
