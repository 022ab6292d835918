"""The night shift: each night the current models of the cells under `nightly:` are evaluated again.

Nothing here is a stage of dvc.yaml: it runs although nothing has changed. What is worse is said by a check
(`checks/regression`), so the morning's reader looks at one asset: red or green, the numbers, the day.
"""

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import dagster as dg

from pipelines.dvc_assets import partition, prefix
from pipelines.executors.work import Executor, Work
from vrft_core.cell import Layout
from vrft_core.params import Params

EVERY_NIGHT = "0 2 * * *"


def nightly_eval(root: Path, params: Params) -> dg.AssetsDefinition:
    """One partition a cell, by its whole key."""
    cells = {key: params.parse_cell(key) for key in params.nightly}
    feeds = {f"{prefix(cell.benchmark)}_rft_model": {} for cell in cells.values()}
    for key, cell in cells.items():
        feeds[f"{prefix(cell.benchmark)}_rft_model"][partition(cell)] = key

    @dg.asset(
        deps=[dg.AssetDep(model, partition_mapping=dg.StaticPartitionMapping(to)) for model, to in feeds.items()],
        description="The current RFT model of a cell on the evaluation split, against its recorded baseline.\n\n"
        "`vrft nightly <cell>`; the baseline is recorded with `vrft baseline <cell>`.",
        partitions_def=dg.StaticPartitionsDefinition(list(cells)),
        group_name="nightly",
        kinds={"pytorch"},
    )
    def nightly_eval(
        context: dg.AssetExecutionContext, gpu_executor: dg.ResourceParam[Executor]
    ) -> dg.MaterializeResult:
        work = Work(
            command=["vrft", "nightly", context.partition_key],
            resources=params.resources_of(cells[context.partition_key].recipe, "rft_eval"),
            inputs=context.run.get_root_run_id() or context.run_id,  # each night anew
        )
        completed = gpu_executor.run(context=context, work=work)
        reported = completed.get_materialize_result().metadata or {}
        where = dg.MetadataValue.path(str(Layout(root).runs(cells[context.partition_key], "nightly")))
        return dg.MaterializeResult(metadata={**reported, "files": where})

    return nightly_eval


def nightly_job(asset: dg.AssetsDefinition):
    return dg.define_asset_job(
        "nightly",
        dg.AssetSelection.assets(asset),
        description="Evaluate the current models again and compare with their baselines.",
        partitions_def=asset.partitions_def,
    )


def nightly_regression(job, params: Params) -> dg.ScheduleDefinition:
    """Off until someone switches it on. One run a cell and day, however often the tick is asked for."""

    @dg.schedule(
        name="nightly_regression", job=job, cron_schedule=EVERY_NIGHT, execution_timezone="UTC",
        description="Evaluates the cells listed under `nightly` in params.yaml.",
    )  # fmt: skip
    def schedule(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        if not params.nightly:
            yield dg.SkipReason("params.yaml lists no cell under `nightly`")
        day = context.scheduled_execution_time.astimezone(UTC).strftime("%F")
        for key in params.nightly:
            yield dg.RunRequest(run_key=f"{day}/{key}", partition_key=key)

    return schedule
