"""dvc.yaml → Dagster assets, one a stage and benchmark, as dagster-dbt does it for a dbt manifest.

The graph, the commands and the descriptions are dvc.yaml's; nothing is said twice. Checks belong to `checks`.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from pipelines.dvc_project import DvcProject, Stage
from pipelines.executors import Placement
from pipelines.executors import gpu_executor as named_executor
from pipelines.executors.work import Executor, Work
from pipelines.pages import link
from vrft_core.cell import Cell
from vrft_core.errors import InputError
from vrft_core.params import Params, Resources
from vrft_core.stages import STAGES
from vrft_core.storage import project_folders, refuse_unwritable

GPU_POOL = "gpu"
SUMMARY = "summary.md"
FIRST = {"dagster/priority": "1"}  # cheap steps go first: what is wrong with the data is found before hours of training


def stage_assets(project: DvcProject, params: Params) -> list[dg.AssetsDefinition]:
    """For benchmark `lvis`: lvis_raw … lvis_report with one partition a cell, lvis_study with one a study."""
    stages = project.stages()
    return [
        _asset(benchmark, name, stages, params, Path(project.root))
        for benchmark in benchmarks(params)
        for name in STAGES
    ]


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
    cells = [cell for cell in params.cells() if cell.benchmark == benchmark]
    if STAGES[stage_name] == "study":
        cells = list(dict.fromkeys(cell.at("study") for cell in cells))
    return {partition(cell): f"{stage_name}@{cell.at(STAGES[stage_name]).key}" for cell in cells}


def _asset(benchmark: str, name: str, stages: Mapping[str, Stage], params: Params, root: Path) -> dg.AssetsDefinition:
    targets = _targets(params, benchmark, name)
    example = stages[next(iter(targets.values()))]
    settings = example.settings
    on_gpu = settings.get("pool") == GPU_POOL

    @dg.asset(
        key=asset_key(benchmark, example),
        deps=_deps(benchmark, name, stages, params),
        description=f"{example.description}\n\n`{example.command.replace(example.key, f'<{STAGES[name]}>')}`",
        partitions_def=partitions(params, benchmark, name),
        group_name=settings["group"],
        kinds={"dvc", *settings.get("kinds", [])},
        op_tags=FIRST if not on_gpu else None,
        metadata={"stage": name, "code": dg.MetadataValue.path(example.files[0])},
    )
    def stage_asset(
        context: dg.AssetExecutionContext,
        config: Placement,
        dvc: DvcProject,
        cpu_executor: dg.ResourceParam[Executor],
        gpu_executor: dg.ResourceParam[Executor],
    ) -> dg.MaterializeResult:
        stage = stages[targets[context.partition_key]]
        executor = gpu_executor if on_gpu else cpu_executor
        if config.executor:
            executor = named_executor(root, config.executor)
        recipe = params.parse_cell(stage.key).recipe
        return materialize(context, stage, dvc, executor, config.of(params.resources_of(recipe, name)))

    return stage_asset


def materialize(
    context: dg.AssetExecutionContext, stage: Stage, dvc: DvcProject, executor: Executor, resources: Resources
) -> dg.MaterializeResult:
    """Run a stage's own command where DVC says that it is needed, and let DVC record what it made."""
    with dvc.alone(stage.target):
        cached = dvc.up_to_date(stage.target)
        _announce(context, f"{stage.target} is up to date" if cached else stage.command)
        reported: Mapping = {}
        if not cached:
            try:
                refuse_unwritable(project_folders(Path(dvc.root)))
            except InputError as error:
                raise dg.Failure(str(error), allow_retries=False) from None
            work = Work(
                command=shlex.split(stage.command),
                resources=resources,
                inputs=dvc.inputs(stage.target),
                prepare=lambda: dvc.clear(stage.target),
                commit=lambda: dvc.commit(stage.target),
            )
            completed = executor.run(context=context, work=work)
            reported = completed.get_materialize_result().metadata or {}
        return dg.MaterializeResult(
            metadata={
                **reported,
                **dvc.metrics(stage),
                **_files(Path(dvc.root), stage),
                "cached": cached,
                "command": stage.command,
                "target": stage.target,
            },
            data_version=dg.DataVersion(dvc.version(stage.target)),
        )


def _announce(context: dg.AssetExecutionContext, what: str) -> None:
    """`[3/10] lvis_prompts: vrft stage …` before the stage's own lines, in the terminal and in Dagster's logs."""
    of_all = len(set(context.job_def.asset_layer.executable_asset_keys))
    done = context.instance.get_run_stats(context.run_id).materializations
    print(f"[{done + 1}/{of_all}] {context.asset_key.to_user_string()}: {what}", flush=True)


def _deps(benchmark: str, name: str, stages: Mapping[str, Stage], params: Params) -> list[dg.AssetDep]:
    """The edges of dvc.yaml. Where partitions differ (a study over its cells) the targets say which feed which."""
    targets = _targets(params, benchmark, name)
    upstream = {need.partition("@")[0] for target in targets.values() for need in stages[target].needs}
    deps = []
    for other in sorted(upstream):
        theirs = _targets(params, benchmark, other)
        mapping = None
        if theirs.keys() != targets.keys():
            feeds = {
                p: {mine for mine, t in targets.items() if target in stages[t].needs} for p, target in theirs.items()
            }
            mapping = dg.StaticPartitionMapping(feeds)
        deps.append(dg.AssetDep(asset_key(benchmark, stages[next(iter(theirs.values()))]), partition_mapping=mapping))
    return deps


def _files(root: Path, stage: Stage) -> dict[str, dg.MetadataValue]:
    """Where the outs lie, and the summary if one of them holds one."""
    found: dict[str, dg.MetadataValue] = {"files": dg.MetadataValue.md("\n".join(f"- `{out}`" for out in stage.outs))}
    for out in stage.outs:
        if (summary := root / out / SUMMARY).is_file():
            found["summary"] = dg.MetadataValue.md(summary.read_text(encoding="utf-8"))
        if (page := root / out / "report.html").is_file():
            found["report"] = link(root, page)
    return found
