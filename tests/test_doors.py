"""Three doors, one house: `dvc repro` and Dagster write the same bytes, and what one has done the other finds done."""

import shutil
from pathlib import Path

import dagster as dg
import pytest
import yaml
from small_project import CELL, edit_params, run, small_project

from pipelines.definitions import build_definitions
from vrft_core import io

pytestmark = pytest.mark.slow
DATA = ("raw", "few_shot", "prompts")


@pytest.fixture(scope="module")
def by_dvc(tmp_path_factory) -> Path:
    root = small_project(tmp_path_factory.mktemp("doors") / "dvc")
    run("dvc", "repro", "-q", f"prompts@{CELL}", cwd=root)
    return root


@pytest.fixture(scope="module")
def by_dagster(tmp_path_factory) -> Path:
    root = small_project(tmp_path_factory.mktemp("doors") / "dagster")
    assert not any(through_dagster(root).values()), "nothing was there to begin with"
    return root


def through_dagster(root: Path) -> dict[str, bool]:
    """Materialize the data assets of one cell; returns asset → whether it was cached."""
    job = build_definitions(root).resolve_job_def("lvis")
    with dg.instance_for_test() as instance:
        result = job.execute_in_process(
            instance=instance,
            partition_key=CELL.removeprefix("lvis-"),
            asset_selection=[dg.AssetKey(f"lvis_{name}") for name in DATA],
        )
    assert result.success and len(result.get_asset_check_evaluations()) == 12
    made = result.get_asset_materialization_events()
    return {event.asset_key.path[-1]: event.materialization.metadata["cached"].value for event in made}


def tree(root: Path) -> dict[str, str]:
    files = sorted(path for path in (root / "data").rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): io.sha256(path) for path in files}


def lock(root: Path) -> dict:
    return yaml.safe_load((root / "dvc.lock").read_text())["stages"]


def test_both_write_the_same_bytes_and_the_same_lock(by_dvc, by_dagster):
    assert len(tree(by_dvc)) > 250
    assert tree(by_dvc) == tree(by_dagster)
    assert lock(by_dvc) == lock(by_dagster)


def test_after_dagster_dvc_finds_nothing_to_do(by_dagster):
    said = run("dvc", "repro", f"prompts@{CELL}", cwd=by_dagster)
    assert said.count("didn't change, skipping") == 3 and "Running" not in said


def test_after_dvc_dagster_finds_nothing_to_do(by_dvc):
    assert through_dagster(by_dvc) == {"lvis_raw": True, "lvis_few_shot": True, "lvis_prompts": True}


def test_dagster_gives_dvcs_digest_as_data_version(by_dagster):
    job = build_definitions(by_dagster).resolve_job_def("lvis")
    with dg.instance_for_test() as instance:
        result = job.execute_in_process(
            instance=instance, partition_key="mini-1shot-s0", asset_selection=[dg.AssetKey("lvis_raw")]
        )
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.tags["dagster/data_version"] == lock(by_dagster)["raw@lvis-embedded"]["outs"][0]["md5"]


def test_outs_that_were_deleted_come_back_from_the_cache(by_dvc):
    before = tree(by_dvc)
    shutil.rmtree(by_dvc / "data/few_shot")
    assert all(through_dagster(by_dvc).values())
    assert tree(by_dvc) == before


def test_going_back_to_earlier_parameters_restores_what_they_made(tmp_path, by_dvc):
    root = tmp_path / "project"
    shutil.copytree(by_dvc, root, symlinks=True)
    before, parameters = tree(root), (root / "params.yaml").read_text()
    edit_params(root, lambda params: params["recipes"]["mini"]["few_shot"].update(frequencies=["r"]))
    assert through_dagster(root) == {"lvis_raw": True, "lvis_few_shot": False, "lvis_prompts": False}
    (root / "params.yaml").write_text(parameters)
    assert all(through_dagster(root).values())
    assert tree(root) == before


def test_a_fresh_clone_gets_everything_without_computing(tmp_path, by_dvc):
    """Pushed to a remote, cloned, pulled: both doors find it done."""
    root, clone = tmp_path / "project", tmp_path / "clone"
    shutil.copytree(by_dvc, root, symlinks=True)
    run("dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "remote"), cwd=root)
    run("dvc", "push", "-q", cwd=root)
    run("git", "add", ".", cwd=root)
    run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "done", cwd=root)
    run("git", "clone", "-q", str(root), str(clone), cwd=tmp_path)
    assert not (clone / "data/raw").exists()
    run("dvc", "pull", "-q", f"prompts@{CELL}", "--with-deps", cwd=clone)
    assert tree(clone) == tree(root)
    assert all(through_dagster(clone).values())
    assert "Running" not in run("dvc", "repro", f"prompts@{CELL}", cwd=clone)


def test_a_stage_whose_input_is_missing_says_what_to_do(tmp_path):
    root = small_project(tmp_path / "project")
    job = build_definitions(root).resolve_job_def("lvis")
    with dg.instance_for_test() as instance:
        result = job.execute_in_process(
            instance=instance,
            partition_key="mini-1shot-s0",
            asset_selection=[dg.AssetKey("lvis_few_shot")],
            raise_on_error=False,
        )
    (event,) = (event for event in result.all_events if event.is_step_failure)
    said = event.step_failure_data.user_failure_data.description
    assert said == "data/raw/lvis-embedded is missing: materialize what lies upstream first"
