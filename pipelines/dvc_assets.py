"""dvc.yaml → Dagster assets, one a stage and benchmark, by `dagster_dvc`; where a stage runs is chosen here.

The graph and the commands are dvc.yaml's; nothing is repeated here. Checks belong to `checks`, descriptions to `texts`,
the metadata of a materialization to `shown`.
"""

import hashlib
import shlex
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

import dagster_dvc
from dagster_dvc import DvcAsset, asset_arguments
from pipelines.dvc_project import DvcProject, Stage
from pipelines.executors import Placement
from pipelines.executors import gpu_executor as named_executor
from pipelines.executors.work import Executor, Work
from pipelines.shown import metadata
from pipelines.source_links import Source
from pipelines.texts import benchmark_text, stage_text
from vrft_core.cell import Cell
from vrft_core.errors import InputError
from vrft_core.params import Params, Resources
from vrft_core.stages import OF_SOME, SCOPES, STAGES
from vrft_core.storage import project_folders, refuse_unwritable

GPU_POOL = "gpu"
PLACE, HERE = "vrft/place", "here"  # a tag of steps: the pool, or this process and its machine
# Cheap steps go first: what is wrong with the data is found before hours of training.
FIRST = {"dagster/priority": "2", PLACE: HERE}
ON_GPU = {"dagster/priority": "0", PLACE: GPU_POOL}
LONGEST = "rft"  # goes before what may run beside it


def stage_assets(project: DvcProject, params: Params) -> list[dg.AssetsDefinition]:
    """For benchmark `lvis`: lvis_raw … lvis_report with one partition a cell, lvis_study with one a study.

    Where studies of several recipes are compared, also lvis_comparison, with one partition each.
    """
    stages, source = project.stages(), Source.of(Path(project.root))
    found = []
    for benchmark in benchmarks(params):
        names = [*STAGES, *(name for name in OF_SOME if _targets(params, benchmark, name))]
        every = {name: _plan(benchmark, name, stages, params) for name in names}
        found += [_asset(benchmark, name, every, stages, params, source) for name in names]
    return found


def benchmark_assets(params: Params) -> list[dg.AssetSpec]:
    """One a benchmark, `lvis_benchmark`, that nothing makes: Dagster's groups have no description, so it has it."""
    return [
        dg.AssetSpec(
            benchmark_key(name),
            description=benchmark_text(params, name, list(_targets(params, name, "report"))),
            group_name=prefix(name),
            kinds={"benchmark"},
        )
        for name in benchmarks(params)
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


def benchmark_key(benchmark: str) -> dg.AssetKey:
    return dg.AssetKey(f"{prefix(benchmark)}_benchmark")


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
    cells, scope = [cell for cell in params.cells() if cell.benchmark == benchmark], SCOPES[stage_name]
    if scope == "study":
        cells = list(dict.fromkeys(cell.at("study") for cell in cells))
    if stage_name in OF_SOME:
        cells = [study for study in cells if params.compared(study)]
    return {partition(cell): f"{stage_name}@{cell.at(scope).key}" for cell in cells}


def _plan(benchmark: str, name: str, stages: Mapping[str, Stage], params: Params) -> DvcAsset:
    targets = _targets(params, benchmark, name)
    return DvcAsset(asset_key(benchmark, stages[next(iter(targets.values()))]), targets)


def _asset(
    benchmark: str,
    name: str,
    every: Mapping[str, DvcAsset],
    stages: Mapping[str, Stage],
    params: Params,
    source: Source,
) -> dg.AssetsDefinition:
    """`every`: stage → asset, of one benchmark."""
    asset, root = every[name], source.root
    example = stages[asset.example]
    on_gpu = example.settings.get("pool") == GPU_POOL
    arguments = _arguments(benchmark, name, every, stages, params, source)

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
        cell = params.parse_cell(stage.key)
        resources = config.of(params.resources_of(cell.recipe, name))
        threads = params.recipe(cell).threads if on_gpu and name != "policy" else None  # pre-training takes all
        made = materialize(context, stage, dvc, executor, resources, threads)
        says = metadata(root, params, cell, name, made.metadata or {})
        return dg.MaterializeResult(metadata=says | source.link(example.files[:1]), data_version=made.data_version)

    tags = ON_GPU | ({"dagster/priority": "1"} if name == LONGEST else {}) if on_gpu else FIRST
    return dg.asset(**arguments, op_tags=tags)(stage_asset)


def _arguments(
    benchmark: str,
    name: str,
    every: Mapping[str, DvcAsset],
    stages: Mapping[str, Stage],
    params: Params,
    source: Source,
) -> dict[str, Any]:
    """Those of `@dg.asset`: what `dagster_dvc` gives, in the benchmark's group; its owner in the team; its code."""
    example = stages[every[name].example]
    arguments = asset_arguments(every[name], list(every.values()), stages)
    command = example.command.replace(example.key, f"<{SCOPES[name]}>")
    text = stage_text(prefix(benchmark), params.benchmarks[benchmark].task, name, example.description, command)
    files = example.files[:1]
    return arguments | {
        "description": text,
        "group_name": prefix(benchmark),
        "owners": [f"team:{example.settings['group']}"],
        "metadata": {"dagster/code_references": source.references(files)} | source.link(files),
        "code_version": _code_version(source.root, example),
        "deps": [*arguments["deps"], *([] if example.needs else [dg.AssetDep(benchmark_key(benchmark))])],
    }


def _code_version(root: Path, stage: Stage) -> str:
    """One digest of the code that DVC counts for a stage: where it changes, Dagster marks what was made before."""
    total = hashlib.sha256(stage.name.encode())
    for name in stage.files:
        path = root / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            if file.is_file():
                found = file.stat()
                total.update(file.relative_to(root).as_posix().encode())
                total.update(_digest(file, found.st_size, found.st_mtime_ns))
    return total.hexdigest()[:12]


@cache
def _digest(file: Path, size: int, changed: int) -> bytes:
    """Of a file, which many stages share; read again when its size or its time has changed."""
    return hashlib.sha256(file.read_bytes()).digest()


def materialize(
    context: dg.AssetExecutionContext,
    stage: Stage,
    dvc: DvcProject,
    executor: Executor,
    resources: Resources,
    threads: int | None,
) -> dg.MaterializeResult:
    """Run a stage's own command where DVC says that it is needed, and let DVC record what it made.

    `threads`: see `Work`.
    """

    def run(prepare: Callable[[], None], commit: Callable[[], None]) -> Mapping[str, Any]:
        _announce(context, stage.command)
        try:
            refuse_unwritable(project_folders(Path(dvc.root)))
        except InputError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        work = Work(
            command=shlex.split(stage.command),
            resources=resources,
            inputs=lambda: dvc.inputs(stage.target),
            prepare=prepare,
            commit=commit,
            threads=threads,
        )
        return executor.run(context=context, work=work).get_materialize_result().metadata or {}

    found = dagster_dvc.materialize(stage, dvc, run)
    if (found.metadata or {}).get("cached"):
        _announce(context, f"{stage.target} is up to date")
    return found


def _announce(context: dg.AssetExecutionContext, what: str) -> None:
    """`[3/10] lvis_prompts: vrft stage …` before the stage's own lines, in the terminal and in Dagster's logs.

    Stages are counted as they begin: several may be at work.
    """
    assets = {key.to_python_identifier() for key in context.job_def.asset_layer.executable_asset_keys}
    begun = context.instance.all_logs(context.run_id, of_type=dg.DagsterEventType.STEP_START)
    steps = [event.step_key for event in begun if event.step_key in assets]
    number = steps.index(context.op_def.name) + 1
    line = f"[{number}/{len(assets)}] {context.asset_key.to_user_string()}: {what}"
    context.log.info(line)
    print(line, flush=True)
