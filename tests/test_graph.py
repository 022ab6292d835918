"""dvc.yaml owns the graph; Dagster mirrors it; both run the same commands."""

import ast
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import build_definitions
from pipelines.dvc_project import DvcProject
from vrft_core import graph as without_dvc
from vrft_core.cell import HEADLINE, Layout
from vrft_core.params import Params
from vrft_core.report.plots import HEADS
from vrft_core.stages import _MODULES, STAGES
from vrft_core.tasks import Task, load_params, names

ROOT = Path(__file__).parents[1]
# What cannot change a result: names, typed parameters (stages list those they use), files, progress, records of runs.
PLUMBING = {
    "", "cell", "io", "file_kinds", "names", "yaml_text", "locks", "errors", "progress", "provenance", "tracking",
    "run_folder", "stages", "outbox", "storage", "damage", "digests", "pauses",
}  # fmt: skip
PARAMETERS = "vrft_core.params"
PARTS = {name for name, value in vars(Task).items() if isinstance(value, cached_property)}
TASKS = tuple(  # those that go through every stage
    name for name in names() if all(find_spec(f"vrft_core.tasks.{name}.{part}") for part in PARTS)
)


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT / "params.yaml")


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


def test_without_dvc_the_same_graph_is_read(stages):
    """By `vrft run` where DVC is not installed."""
    ours = without_dvc.stages(ROOT)
    assert {name: (one.command, set(one.outs)) for name, one in ours.items()} == {
        name: (one.command, set(one.outs)) for name, one in stages.items()
    }
    needed: dict[str, set[str]] = {}
    for target in (one.target for name in ("report", "study") for one in stages.values() if one.name == name):
        for one in without_dvc.in_order(ours, target):
            direct = set(stages[one.target].needs)
            assert direct <= needed.keys(), "what a stage needs stands before it"
            needed[one.target] = direct.union(*(needed[name] for name in direct))
        assert {one.target for one in without_dvc.in_order(ours, target)} == needed[target] | {target}


def test_each_command_names_its_stage_and_key(stages):
    for stage in stages.values():
        assert stage.command == f"vrft stage {stage.name} --cell {stage.key}"


def test_outs_are_the_paths_that_the_stages_write(stages, params):
    layout = Layout(Path())
    for stage in stages.values():
        cell = params.parse_cell(stage.key)
        method = stage.name.removesuffix("_eval")
        outs = {
            "evaluation": lambda c=cell, m=method: [
                layout.evaluation(c, m) / name for name in ("predictions.jsonl", "metrics.json", HEADLINE)
            ],
            "training": lambda c=cell, m=method: [layout.model(c, m), layout.training(c, m)],
            "raw": lambda c=cell: [layout.raw(c)],
            "few_shot": lambda c=cell: [layout.few_shot(c)],
            "prompts": lambda c=cell: [layout.prompts(c)],
            "policy": lambda c=cell: [layout.policy(c)],
            "report": lambda c=cell: [layout.report(c), layout.difference(c), *(layout.plots(c) / n for n in HEADS)],
            "study": lambda c=cell: [layout.report(c), layout.difference(c)],
        }
        kind = {"base_eval": "evaluation", "sft_eval": "evaluation", "rft_eval": "evaluation", "sft": "training",
                "rft": "training"}.get(stage.name, stage.name)  # fmt: skip
        assert sorted(stage.outs) == sorted(path.as_posix() for path in outs[kind]()), stage.target


def asset_of(stage, benchmark: str) -> dg.AssetKey:
    return dg.AssetKey(f"{benchmark.replace('-', '_')}_{stage.settings['asset']}")


def test_every_stage_of_every_benchmark_is_one_asset(stages, params, graph):
    used = {cell.benchmark for cell in params.cells()}
    mirrored = {asset_of(stage, name) for stage in stages.values() for name in used}
    others = {"nightly_eval", "all_studies", *(f"{name}_benchmark" for name in used)}
    assert {key for key in graph.get_all_asset_keys() if key.path[0] not in others} == mirrored


def test_edges_agree_cell_by_cell(stages, params, graph):
    """For each cell: what a DVC target needs is what the asset's partition depends on."""
    by_target = {stage.target: stage for stage in stages.values()}
    for cell in params.cells():
        for name, scope in STAGES.items():
            stage = by_target[f"{name}@{cell.at(scope).key}"]
            needed = {asset_of(by_target[target], cell.benchmark) for target in stage.needs}
            parents = graph.get(asset_of(stage, cell.benchmark)).parent_keys
            source = dg.AssetKey(f"{cell.benchmark}_benchmark")  # stands before what needs no other stage
            assert parents == (needed or {source}), stage.target


def test_all_assets_of_a_cell_have_its_partition_so_that_one_run_makes_them_all(params, graph):
    for cell in params.cells():
        expected = cell.key.removeprefix(f"{cell.benchmark}-")
        prefix = cell.benchmark.replace("-", "_")
        for key in graph.get_all_asset_keys():
            if key.path[0].startswith(prefix) and not key.path[0].endswith(("_study", "_benchmark")):
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
    made = [one for one in definitions.assets if isinstance(one, dg.AssetsDefinition)]
    assert made and not any(assets.op.pool for assets in made), "a lock of the kernel's, no pool of Dagster's"


def test_the_selection_of_a_user_reaches_everything_upstream(graph):
    selected = dg.AssetSelection.from_string("+key:lvis_rft_eval").resolve(graph)
    names = {key.path[0] for key in selected}
    assert names == {f"lvis_{n}" for n in ("raw", "few_shot", "prompts", "policy", "rft_model", "rft_eval")}


def test_string_selections_of_groups_and_kinds_work(graph):
    for text in ('group:"lvis"', 'owner:"team:training"', 'kind:"report"', "*"):
        assert dg.AssetSelection.from_string(text).resolve(graph)


@pytest.mark.parametrize("name", list(STAGES))
def test_code_dependencies_are_exactly_the_modules_a_stage_reaches(name, stages, params):
    """A change of a module must make the stages that use it stale, and no others.

    One list serves all tasks (`${item.task}`): it holds what any of them reaches, and nothing that none does.
    """
    stage = next(stage for stage in stages.values() if stage.name == name)
    module = f"vrft_core.stages.{_MODULES.get(name, name)}"
    if name == "policy":  # its list names the tasks that it is pre-trained on
        taught = {params.benchmarks[benchmark].task for benchmark in pretrained_on(params)}
        views = [({entry: entry for entry in stage.files}, reach(module, tuple(taught)))]
    else:
        [own] = {task for task in TASKS if f"vrft_core/tasks/{task}/__init__.py" in stage.files} or {"-"}
        of_task = {task: {e.replace(f"/{own}/", f"/{task}/"): e for e in stage.files} for task in TASKS}
        views = [(entries, reach(module, (task,))) for task, entries in of_task.items()]
    idle = set(stage.files)
    for entries, reached in views:
        covered = {path for entry in entries for path in files_in(ROOT / entry)}
        assert not (missing := reached - covered), f"dvc.yaml, {name}: add {shown(missing)}"
        idle -= {written for entry, written in entries.items() if reached & set(files_in(ROOT / entry))}
    assert not idle, f"dvc.yaml, {name}: never imported: {sorted(idle)}"


def pretrained_on(params: Params) -> set[str]:
    """Benchmarks that a policy of the grid is pre-trained on."""
    settings = [params.recipes[name].policy.pretraining for name in params.grid.recipes]
    return {benchmark for one in settings if one for benchmark in one.benchmarks}


def shown(paths: set[Path]) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def files_in(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def reach(module: str, tasks: tuple[str, ...]) -> set[Path]:
    """Files of the modules that `module` imports, directly or not, plumbing left out.

    A part that is asked of a task (`task.rewards`, `get_task(…).rewards`) is imported for each of `tasks`.
    """
    found: set[Path] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        path = source(name)
        if path is None or path in found or ".".join(name.split(".")[1:]) in PLUMBING or name.startswith(PARAMETERS):
            continue
        found.add(path)
        todo += [".".join(name.split(".")[:depth]) for depth in range(2, len(name.split(".")))]  # packages around it
        for node in at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                todo += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Attribute) and node.attr in PARTS and is_task(node.value):
                todo += [f"vrft_core.tasks.{task}.{node.attr}" for task in tasks]
    return found


def at_run_time(tree: ast.AST):
    """Every node but those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from at_run_time(node)


def is_task(node: ast.AST) -> bool:
    """Whether an expression is called a task: `task`, `inputs.task`, `get_task(…)`."""
    if isinstance(node, ast.Call):
        return is_task(node.func)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name in ("task", "get_task")


def source(module: str) -> Path | None:
    """The file of one of this project's modules."""
    if module.split(".")[0] != "vrft_core":
        return None
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
