"""dvc.yaml → Dagster assets, one a stage and benchmark, by `dagster_dvc`; where a stage runs is chosen here.

The graph, the commands and the descriptions are dvc.yaml's; nothing is said twice. Checks belong to `checks`.
"""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

import dagster_dvc
from dagster_dvc import DvcAsset, asset_arguments
from pipelines.dvc_project import DvcProject, Stage
from pipelines.executors import Placement
from pipelines.executors import gpu_executor as named_executor
from pipelines.executors.work import Executor, Work
from pipelines.pages import link
from vrft_core.cell import Cell
from vrft_core.errors import InputError
from vrft_core.params import Params, Resources
from vrft_core.stages import OF_SOME, STAGES
from vrft_core.storage import project_folders, refuse_unwritable

GPU_POOL = "gpu"
SUMMARY = "summary.md"
_SCOPES = STAGES | OF_SOME
FIRST = {"dagster/priority": "1"}  # cheap steps go first: what is wrong with the data is found before hours of training


def stage_assets(project: DvcProject, params: Params) -> list[dg.AssetsDefinition]:
    """For benchmark `lvis`: lvis_raw … lvis_report with one partition a cell, lvis_study with one a study.

    Where studies of several recipes are compared, also lvis_comparison, with one partition each.
    """
    stages = project.stages()
    found = []
    for benchmark in benchmarks(params):
        names = [*STAGES, *(name for name in OF_SOME if _targets(params, benchmark, name))]
        every = {name: _plan(benchmark, name, stages, params) for name in names}
        found += [_asset(name, every, stages, params, Path(project.root)) for name in names]
    return found


def cell_jobs(params: Params) -> list:
    """One job a benchmark, `lvis`: a cell from raw data to its report."""
    return [
        dg.define_asset_job(
            prefix(benchmark),
            dg.AssetSelection.assets(f"{prefix(benchmark)}_report").upstream(),
            description="A cell from its raw data to its report, with every check.",
            partitions_def=partitions(params, benchmark, "report"),
        )
        for benchmark in benchmarks(params)
    ]


def benchmarks(params: Params) -> list[str]:
    return sorted({cell.benchmark for cell in params.cells()})


def prefix(benchmark: str) -> str:
    """What the names of a benchmark's assets begin with; Dagster's names hold no hyphen."""
    return benchmark.replace("-", "_")


def asset_key(benchmark: str, stage: Stage) -> dg.AssetKey:
    return dg.AssetKey(f"{prefix(benchmark)}_{stage.settings['asset']}")


def partition(cell: Cell) -> str:
    """A cell's or a study's key less its benchmark: `mini-1shot-s0`."""
    return cell.key.removeprefix(f"{cell.benchmark}-")


def partitions(params: Params, benchmark: str, stage_name: str) -> dg.StaticPartitionsDefinition:
    """Every stage of a cell has the same partitions, those it shares with other cells included."""
    return dg.StaticPartitionsDefinition(list(_targets(params, benchmark, stage_name)))


def _targets(params: Params, benchmark: str, stage_name: str) -> dict[str, str]:
    """Partition → DVC target. Cells that share a stage's files have the same target."""
    cells, scope = [cell for cell in params.cells() if cell.benchmark == benchmark], _SCOPES[stage_name]
    if scope == "study":
        cells = list(dict.fromkeys(cell.at("study") for cell in cells))
    if stage_name in OF_SOME:
        cells = [study for study in cells if params.compared(study)]
    return {partition(cell): f"{stage_name}@{cell.at(scope).key}" for cell in cells}


def _plan(benchmark: str, name: str, stages: Mapping[str, Stage], params: Params) -> DvcAsset:
    targets = _targets(params, benchmark, name)
    return DvcAsset(asset_key(benchmark, stages[next(iter(targets.values()))]), targets)


def _asset(
    name: str, every: Mapping[str, DvcAsset], stages: Mapping[str, Stage], params: Params, root: Path
) -> dg.AssetsDefinition:
    """`every`: stage → asset, of one benchmark."""
    asset = every[name]
    example = stages[asset.example]
    on_gpu = example.settings.get("pool") == GPU_POOL
    command = example.command.replace(example.key, f"<{_SCOPES[name]}>")
    arguments = asset_arguments(asset, list(every.values()), stages)

    def stage_asset(
        context: dg.AssetExecutionContext,
        config: Placement,
        dvc: DvcProject,
        cpu_executor: dg.ResourceParam[Executor],
        gpu_executor: dg.ResourceParam[Executor],
    ) -> dg.MaterializeResult:
        stage = stages[asset.targets[context.partition_key]]
        executor = gpu_executor if on_gpu else cpu_executor
        if config.executor:
            executor = named_executor(root, config.executor)
        recipe = params.parse_cell(stage.key).recipe
        return materialize(context, stage, dvc, executor, config.of(params.resources_of(recipe, name)))

    arguments["description"] = f"{example.description}\n\n`{command}`"
    return dg.asset(**arguments, op_tags=FIRST if not on_gpu else None)(stage_asset)


def materialize(
    context: dg.AssetExecutionContext, stage: Stage, dvc: DvcProject, executor: Executor, resources: Resources
) -> dg.MaterializeResult:
    """Run a stage's own command where DVC says that it is needed, and let DVC record what it made."""

    def run(prepare: Callable[[], None], commit: Callable[[], None]) -> Mapping[str, Any]:
        _announce(context, stage.command)
        try:
            refuse_unwritable(project_folders(Path(dvc.root)))
        except InputError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        work = Work(
            command=shlex.split(stage.command),
            resources=resources,
            inputs=dvc.inputs(stage.target),
            prepare=prepare,
            commit=commit,
        )
        return executor.run(context=context, work=work).get_materialize_result().metadata or {}

    found = dagster_dvc.materialize(stage, dvc, run)
    metadata = dict(found.metadata or {})
    if metadata["cached"]:
        _announce(context, f"{stage.target} is up to date")
    return dg.MaterializeResult(metadata={**metadata, **_files(Path(dvc.root), stage)}, data_version=found.data_version)


def _announce(context: dg.AssetExecutionContext, what: str) -> None:
    """`[3/10] lvis_prompts: vrft stage …` before the stage's own lines, in the terminal and in Dagster's logs."""
    of_all = len(set(context.job_def.asset_layer.executable_asset_keys))
    done = context.instance.get_run_stats(context.run_id).materializations
    print(f"[{done + 1}/{of_all}] {context.asset_key.to_user_string()}: {what}", flush=True)


def _files(root: Path, stage: Stage) -> dict[str, dg.MetadataValue]:
    """Where the outs lie, and the summary if one of them holds one."""
    found: dict[str, dg.MetadataValue] = {"files": dg.MetadataValue.md("\n".join(f"- `{out}`" for out in stage.outs))}
    for out in stage.outs:
        if (summary := root / out / SUMMARY).is_file():
            found["summary"] = dg.MetadataValue.md(summary.read_text(encoding="utf-8"))
        if (page := root / out / "report.html").is_file():
            found["report"] = link(root, page)
    return found
