"""The nightly evaluation as Dagster sees it: one asset, its schedule, and a later look at whether the night took place.

Nothing here is a stage of dvc.yaml: it runs although nothing has changed. Verdicts are checks (`checks/regression`).
"""

import os
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

import dagster as dg

from pipelines.dvc_assets import partition, prefix
from pipelines.executors.work import Executor, Work
from pipelines.pages import link
from vrft_core import nights
from vrft_core.cell import Layout
from vrft_core.params import Params, Resources

SCHEDULES = "VRFT_SCHEDULES"  # `on` in a deployment; elsewhere someone switches them on in Dagster's pages
HOURS_LATER = 6  # until it is asked whether the night took place


def nightly_eval(root: Path, params: Params) -> dg.AssetsDefinition:
    """All cells of `nightly` in one command, since their verdicts are corrected for each other."""
    cells = [params.parse_cell(key) for key in params.nightly.cells]
    models: dict[str, list[str]] = {}
    for cell in cells:
        models.setdefault(f"{prefix(cell.benchmark)}_rft_model", []).append(partition(cell))

    @dg.asset(
        deps=[
            dg.AssetDep(model, partition_mapping=dg.SpecificPartitionsPartitionMapping(keys))
            for model, keys in models.items()
        ],
        description="Is every model as good as its recorded baseline? The RFT models of the cells under `nightly` in "
        "params.yaml are evaluated again, a small training is repeated, rewards and data are checked; one sentence "
        "says what came of it.\n\n`vrft nightly`; baselines are recorded with `vrft baseline <cell>`.",
        group_name="nightly",
        owners=["team:evaluation"],
        kinds={"pytorch", "report"},
    )
    def nightly_eval(
        context: dg.AssetExecutionContext, gpu_executor: dg.ResourceParam[Executor]
    ) -> dg.MaterializeResult:
        work = Work(
            command=["vrft", "nightly"],
            resources=_most([params.resources_of(cell.recipe, "rft_eval") for cell in cells]),
            inputs=lambda: context.run.get_root_run_id() or context.run_id,  # again each night
        )
        completed = gpu_executor.run(context=context, work=work)
        reported = completed.get_materialize_result().metadata or {}
        page = nights.page(Layout(root))
        return dg.MaterializeResult(metadata={**reported, "trend": link(root, page)})

    return nightly_eval


def nightly_job(asset: dg.AssetsDefinition, verdicts: dg.AssetChecksDefinition):
    return dg.define_asset_job(
        "nightly_regression",
        dg.AssetSelection.assets(asset).without_checks() | dg.AssetSelection.checks(verdicts),
        description="Evaluate the current models again and compare with their baselines.",
    )


def freshness_job(checks: dg.AssetChecksDefinition):
    return dg.define_asset_job(
        "nightly_freshness",
        dg.AssetSelection.checks(checks),
        description="Was every cell evaluated last night?",
    )


def nightly_regression(job, params: Params) -> dg.ScheduleDefinition:
    """One run a day, however often the tick is asked for."""

    @dg.schedule(
        name="nightly_regression",
        job=job,
        cron_schedule=f"0 {params.nightly.hour} * * *",
        execution_timezone="UTC",
        default_status=_status(),
        description="Evaluates the cells listed under `nightly` in params.yaml.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if not params.nightly.cells:
            return dg.SkipReason("params.yaml lists no cell under `nightly.cells`")
        day = context.scheduled_execution_time.astimezone(UTC).strftime("%F")
        return dg.RunRequest(run_key=day)

    return schedule


def nightly_freshness(job, params: Params) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name="nightly_freshness",
        job=job,
        cron_schedule=f"0 {(params.nightly.hour + HOURS_LATER) % 24} * * *",
        execution_timezone="UTC",
        default_status=_status(),
        description="Some hours later: fails for each cell that was not evaluated.",
    )


def _status() -> dg.DefaultScheduleStatus:
    on = os.environ.get(SCHEDULES) == "on"
    return dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED


def _most(wanted: Sequence[Resources]) -> Resources:
    """What suffices for the largest of them, as far as GPUs and CPUs go."""
    return max(wanted, key=lambda one: (one.gpus, one.cpus), default=Resources())
