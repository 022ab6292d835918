"""The checks on a trained model: each limit warns and stops nothing; a reward that pays otherwise stops everything."""

import shutil

import dagster as dg
import pytest
from small_project import ROOT, edit_params, lvis_alone

from pipelines.checks.health import health_checks
from pipelines.dvc_assets import partitions
from pipelines.dvc_project import DvcProject
from vrft_core import io
from vrft_core.cell import Layout
from vrft_core.params import Params
from vrft_core.tasks import load_params
from vrft_core.tasks.detection.rewards import REWARDS

pytestmark = pytest.mark.filterwarnings("ignore::dagster.PreviewWarning")
HEALTHY = {"box_inflation": 1.2, "confidence_extremes": 0.5, "duplicates": 0.0, "zero_variance": 0.1}


@pytest.fixture(scope="module")
def params(tmp_path_factory) -> Params:
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    shutil.copy(ROOT / "params.yaml", path)
    edit_params(path.parent, lvis_alone)
    return load_params(path)


@pytest.fixture(scope="module")
def check(tmp_path_factory, params):
    """Values as they would be measured → the run and {check: its result}, through Dagster."""
    root = tmp_path_factory.mktemp("project")
    layout, cell = Layout(root), params.cells()[0]
    parts = partitions(params, "lvis", "rft")
    checks = health_checks(root, DvcProject(root=str(ROOT)), params)
    keys = {key.asset_key for one in checks for key in one.check_keys}
    assets = [dg.asset(key=key, partitions_def=parts)(lambda: None) for key in keys]
    job = dg.define_asset_job("health", dg.AssetSelection.all(), partitions_def=parts)
    definitions = dg.Definitions(assets=assets, asset_checks=checks, jobs=[job])

    def run(**changed: float | None) -> tuple[dg.ExecuteInProcessResult, dict[str, dg.AssetCheckEvaluation]]:
        value = HEALTHY | changed
        diagnostics = {
            "boxes": {"inflation": value["box_inflation"]},
            "confidence": {"zero": value["confidence_extremes"], "one": value["confidence_extremes"] and 0.0},
            "duplicates": {"exact": value["duplicates"], "near": 0.0},
        }
        io.write_json(layout.evaluation(cell, "rft") / "metrics.json", {"diagnostics": diagnostics})
        io.write_json(layout.training(cell, "rft"), {"log": [{"frac_reward_zero_std": value["zero_variance"]}, {}]})
        result = definitions.resolve_job_def("health").execute_in_process(
            partition_key="mini-1shot-s0", raise_on_error=False
        )
        return result, {one.check_name: one for one in result.get_asset_check_evaluations()}

    return run


def test_a_healthy_model_passes_every_check(check):
    _, found = check()
    assert set(found) == {*HEALTHY, "golden_rewards"}
    assert all(one.passed for one in found.values())


def test_each_value_above_its_limit_warns_and_stops_nothing(check):
    result, found = check(box_inflation=1.51, confidence_extremes=0.81, duplicates=0.06, zero_variance=0.41)
    assert result.success
    assert {name for name, one in found.items() if not one.passed} == set(HEALTHY)
    for name in HEALTHY:
        assert found[name].severity == dg.AssetCheckSeverity.WARN
        assert not found[name].blocking


def test_a_model_that_says_nothing_has_nothing_to_be_warned_of(check):
    _, found = check(box_inflation=None, confidence_extremes=None, duplicates=None)
    assert all(one.passed for one in found.values())


def test_a_reward_that_pays_otherwise_than_specified_is_an_error_that_names_the_cases(check, monkeypatch):
    monkeypatch.setitem(REWARDS, "iou", lambda completion, truth: 1.0)
    result, found = check()
    assert not result.success
    assert found["golden_rewards"].severity == dg.AssetCheckSeverity.ERROR
    assert "wrong box, sure: iou pays 1.0, not 0.0" in found["golden_rewards"].description
