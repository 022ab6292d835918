"""dvc.yaml as Dagster assets, for any project: the example that its README shows, run by both."""

import importlib.util
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox
from small_project import ROOT, run

from dagster_dvc import DvcProject, DvcProjectComponent, dvc_assets

EXAMPLE = ROOT / "dagster_dvc/example"


@pytest.fixture
def project(tmp_path) -> Path:
    shutil.copytree(EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__"))
    run("git", "init", "-q", ".", cwd=tmp_path / "example")
    (tmp_path / "example/.dvc").mkdir()  # what `dvc init` makes, without the start of another process
    (tmp_path / "example/.dvc/config").touch()
    (tmp_path / "example/.dvc/.gitignore").write_text("/tmp\n/cache\n")
    return tmp_path / "example"


def definitions(project: Path) -> dg.Definitions:
    spec = importlib.util.spec_from_file_location("example_definitions", project / "definitions.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.defs


def cached(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    events = result.get_asset_materialization_events()
    return {event.asset_key.to_user_string(): event.materialization.metadata["cached"].value for event in events}


def everything(project: Path, instance: dg.DagsterInstance) -> dict[str, bool]:
    """Materialize all assets as a person would: numbers, both powers, total."""
    defs = definitions(project)
    resources = {"dvc": DvcProject(root=str(project))}
    assets = list(defs.assets or [])
    found: dict[str, bool] = {}
    for selection, partition in (("numbers", None), ("power", "2"), ("power", "3"), ("total", None)):
        result = dg.materialize(
            [*assets, *(defs.asset_checks or [])],
            selection=dg.AssetSelection.assets(selection),
            partition_key=partition,
            resources=resources,
            instance=instance,
        )
        assert result.success
        found |= {f"{name}/{partition or ''}".rstrip("/"): value for name, value in cached(result).items()}
        assert all(check.passed for check in result.get_asset_check_evaluations())
    return found


def test_the_graph_is_dvcs(project):
    graph = definitions(project).resolve_asset_graph()
    edges = {key.to_user_string(): {p.to_user_string() for p in graph.get(key).parent_keys} for key in
             graph.get_all_asset_keys()}  # fmt: skip
    assert edges == {"numbers": set(), "power": {"numbers"}, "total": {"power"}}
    power = graph.get(dg.AssetKey("power"))
    assert power.partitions_def and power.partitions_def.get_partition_keys() == ["2", "3"]
    assert (power.group_name, power.description) == ("maths", "Each number to a power.")


@pytest.mark.slow
def test_what_is_up_to_date_is_not_run_again_by_either(project):
    with dg.instance_for_test() as instance:
        assert set(everything(project, instance).values()) == {False}
        assert json.loads((project / "total.json").read_text()) == {"sum": 385 + 3025}
        assert set(everything(project, instance).values()) == {True}
        said = run(sys.executable, "-m", "dvc", "status", cwd=project, DVC_NO_ANALYTICS="1")
        assert "up to date" in said
        text = (project / "dvc.yaml").read_text()
        (project / "dvc.yaml").write_text(text.replace("seq 1 10", "seq 2 10"))
        run(sys.executable, "-m", "dvc", "repro", "-q", "numbers", cwd=project, DVC_NO_ANALYTICS="1")
        (project / "dvc.yaml").write_text(text)
        again = everything(project, instance)
    assert again == {"numbers": False, "power/2": True, "power/3": True, "total": True}, "the same bytes again"


@pytest.mark.slow
def test_threads_of_one_process_commit_at_the_same_time_from_any_folder(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (project / "numbers.txt").write_text("1\n2\n")
    dvc, targets = DvcProject(root=str(project)), ("power@2", "power@3")
    for target in targets:
        (project / dvc.stages()[target].outs[0]).write_text(target)

    def all_of_it(target: str) -> tuple[str | None, str, str | None]:
        return dvc.made(target), dvc.commit(target), dvc.made(target)

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(all_of_it, targets))
    assert [before for before, _, _ in found] == [None, None]
    assert all(committed == now for _, committed, now in found)
    recorded = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    assert [recorded[target]["outs"][0]["md5"] for target in targets] == [committed for _, committed, _ in found]
    assert Path.cwd() == tmp_path


def test_a_command_that_fails_is_a_failure_with_its_status_and_commits_nothing(project):
    (project / "dvc.yaml").write_text("stages:\n  wrong:\n    cmd: echo 1 > out.txt && exit 3\n    outs: [out.txt]\n")
    one = DvcProject(root=str(project))
    result = dg.materialize(dvc_assets(one), resources={"dvc": one}, raise_on_error=False)
    [failure] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data and "ended with status 3" in failure.user_failure_data.description
    assert not (project / "dvc.lock").exists()


def test_as_a_component_in_yaml_it_makes_the_same_assets(project):
    said = {"type": "dagster_dvc.DvcProjectComponent", "attributes": {"root": str(project)}}
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(DvcProjectComponent, defs_yaml_contents=said)
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
            keys = defs.resolve_asset_graph().get_all_asset_keys()
    assert {key.to_user_string() for key in keys} == {"numbers", "power", "total"}


def test_the_example_is_thirty_lines_and_the_readme_shows_what_is_there():
    assert len((EXAMPLE / "definitions.py").read_text().splitlines()) <= 30
    readme = (ROOT / "dagster_dvc/README.md").read_text(encoding="utf-8")
    import dagster_dvc

    for name in ("DvcProject", "dvc_assets", "DvcProjectComponent", "asset_arguments", "materialize", "DvcAsset"):
        assert f"{name}" in readme and hasattr(dagster_dvc, name)


def test_awk_and_seq_are_here():
    assert subprocess.run(["sh", "-c", "seq 1 2 | awk '{print $1 ^ 2}'"], capture_output=True).stdout == b"1\n4\n"
