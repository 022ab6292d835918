"""What Dagster runs in a pod of its own: an asset that at its first try goes on for ever."""

import os
import time
from pathlib import Path

import dagster as dg

from pipelines.executors.kubernetes_steps import kubernetes_steps


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
def trained(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    if context.retry_number == 0:
        Path(os.environ["DAGSTER_HOME"], "begun").touch()
        time.sleep(3600)
    return dg.MaterializeResult(metadata={"retry": context.retry_number})


def job() -> dg.JobDefinition:
    all_of_it = dg.define_asset_job("all_of_it", executor_def=kubernetes_steps)
    return dg.Definitions(assets=[trained], jobs=[all_of_it]).resolve_job_def("all_of_it")
