"""dvc.yaml owns the graph; Dagster mirrors it; both run the same commands."""

import ast
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import build_definitions
from pipelines.dvc_project import DvcProject
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params
from vrft_core.stages import _MODULES, STAGES

ROOT = Path(__file__).parents[1]
# What cannot change a result: names, typed parameters (stages list those they use), files, progress, records of runs.
PLUMBING = {
    "", "cell", "params", "names", "yaml_text", "io", "errors", "progress", "provenance", "tracking", "runs", "stages",
    "locks", "outbox", "storage",
}  # fmt: skip


@pytest.fixture(scope="module")
def params() -> Params:
    return Params.load(ROOT / "params.yaml")


@pytest.fixture(scope="module")
def stages():
    return DvcProject(root=str(ROOT)).stages()


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(ROOT)


@pytest.fixture(scope="module")
def graph(definitions):
    return definitions.resolve_asset_graph()


def test_dvc_has_every_stage_for_every_key_of_its_scope(stages, params):
    wanted = {f"{name}@{cell.at(scope).key}" for name, scope in STAGES.items() for cell in params.cells()}
    assert set(stages) == wanted


def test_each_command_names_its_stage_and_key(stages):
    for stage in stages.values():
        assert stage.command == f"vrft stage {stage.name} --cell {stage.key}"


def test_outs_are_the_paths_that_the_stages_write(stages, params):
    layout = Layout(Path())
    for stage in stages.values():
        cell = Cell.parse(stage.key, list(params.recipes))
        method = stage.name.removesuffix("_eval")
        outs = {
            "evaluation": lambda c=cell, m=method: [
                layout.evaluation(c, m) / name for name in ("predictions.jsonl", "metrics.json")
            ],
            "training": lambda c=cell, m=method: [layout.model(c, m), layout.training(c, m)],
            "raw": lambda c=cell: [layout.raw(c)],
            "few_shot": lambda c=cell: [layout.few_shot(c)],
            "prompts": lambda c=cell: [layout.prompts(c)],
            "policy": lambda c=cell: [layout.policy(c)],
            "report": lambda c=cell: [layout.report(c)],
        }
        kind = {"base_eval": "evaluation", "sft_eval": "evaluation", "rft_eval": "evaluation", "sft": "training",
                "rft": "training", "study": "report"}.get(stage.name, stage.name)  # fmt: skip
        assert sorted(stage.outs) == sorted(path.as_posix() for path in outs[kind]()), stage.target


def asset_of(stage, benchmark: str) -> dg.AssetKey:
    return dg.AssetKey(f"{benchmark.replace('-', '_')}_{stage.settings['asset']}")


def test_every_stage_of_every_benchmark_is_one_asset(stages, params, graph):
    mirrored = {asset_of(stage, name) for stage in stages.values() for name in params.benchmarks}
    assert {key for key in graph.get_all_asset_keys() if key.path[0] != "nightly_eval"} == mirrored


def test_edges_agree_cell_by_cell(stages, params, graph):
    """For each cell: what a DVC target needs is what the asset's partition depends on."""
    by_target = {stage.target: stage for stage in stages.values()}
    for cell in params.cells():
        for name, scope in STAGES.items():
            stage = by_target[f"{name}@{cell.at(scope).key}"]
            needed = {asset_of(by_target[target], cell.benchmark) for target in stage.needs}
            assert graph.get(asset_of(stage, cell.benchmark)).parent_keys == needed, stage.target


def test_all_assets_of_a_cell_have_its_partition_so_that_one_run_makes_them_all(params, graph):
    for cell in params.cells():
        expected = cell.key.removeprefix(f"{cell.benchmark}-")
        prefix = cell.benchmark.replace("-", "_")
        for key in graph.get_all_asset_keys():
            if key.path[0].startswith(prefix) and not key.path[0].endswith("_study"):
                assert expected in graph.get(key).partitions_def.get_partition_keys(), key


def test_a_study_depends_on_the_partitions_of_its_own_seeds(params, definitions, graph):
    study = graph.get(dg.AssetKey("lvis_study"))
    mapping = study.partition_mappings[dg.AssetKey("lvis_rft_eval")]
    upstream = mapping.get_upstream_mapped_partitions_result_for_partitions(
        study.partitions_def.subset_with_partition_keys(["mini-1shot"]),
        study.partitions_def,
        graph.get(dg.AssetKey("lvis_rft_eval")).partitions_def,
    )
    assert set(upstream.partitions_subset.get_partition_keys()) == {
        f"mini-1shot-s{cell.seed}" for cell in params.cells() if cell.at("study").key == "lvis-mini-1shot"
    }


def test_training_and_evaluation_share_the_one_gpu_and_data_stages_do_not_wait_for_it(definitions, stages):
    for stage in stages.values():
        on_gpu = stage.settings["group"] == "training" or stage.name.endswith("_eval")
        assert stage.settings.get("pool") == ("gpu" if on_gpu else None), stage.target
    assert not any(assets.op.pool for assets in definitions.assets), "a lock of the kernel's, no pool of Dagster's"


def test_the_selection_of_a_user_reaches_everything_upstream(graph):
    selected = dg.AssetSelection.from_string("+key:lvis_rft_eval").resolve(graph)
    names = {key.path[0] for key in selected}
    assert names == {f"lvis_{n}" for n in ("raw", "few_shot", "prompts", "policy", "rft_model", "rft_eval")}


def test_string_selections_of_groups_and_kinds_work(graph):
    for text in ('group:"training"', 'kind:"html"', "*"):
        assert dg.AssetSelection.from_string(text).resolve(graph)


@pytest.mark.parametrize("name", list(STAGES))
def test_code_dependencies_are_exactly_the_modules_a_stage_reaches(name, stages):
    """A change of a module must make the stages that use it stale, and no others."""
    reached = reach(f"vrft_core.stages.{_MODULES.get(name, name)}")
    listed = next(stage.files for stage in stages.values() if stage.name == name)
    covered = {path for entry in listed for path in files_in(ROOT / entry)}
    assert not (missing := reached - covered), f"dvc.yaml, {name}: add {shown(missing)}"
    idle = [entry for entry in listed if not reached & set(files_in(ROOT / entry))]
    assert not idle, f"dvc.yaml, {name}: never imported: {idle}"


def shown(paths: set[Path]) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def files_in(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def reach(module: str) -> set[Path]:
    """Files of the modules that `module` imports, directly or not, plumbing left out."""
    found: set[Path] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        path = source(name)
        if path is None or path in found or ".".join(name.split(".")[1:]) in PLUMBING:
            continue
        found.add(path)
        todo += [".".join(name.split(".")[:depth]) for depth in range(2, len(name.split(".")))]  # packages around it
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                todo += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def source(module: str) -> Path | None:
    """The file of one of this project's modules."""
    if module.split(".")[0] != "vrft_core":
        return None
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
