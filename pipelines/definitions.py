"""What Dagster loads. Putting the parts together, and nothing else.

Loading must stay quick: no torch and no great_expectations here; stages run elsewhere, checks import when they run.
"""

import os
import warnings
from pathlib import Path

import dagster as dg

from pipelines.checks.contracts import data_checks
from pipelines.checks.health import health_checks
from pipelines.checks.regression import fresh, no_regression
from pipelines.dvc_assets import cell_jobs, stage_assets
from pipelines.dvc_project import DvcProject
from pipelines.executors import gpu_executor
from pipelines.executors.local import LocalExecutor
from pipelines.promotion import promotion_job
from pipelines.schedules import freshness_job, nightly_eval, nightly_freshness, nightly_job, nightly_regression
from vrft_core.tasks import load_params

LOCATION = "vrft"  # what Dagster's pages and its daemon call this code

# Checks that know their partition are what Dagster calls a preview; it would say so at every load.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


def project_root() -> Path:
    """The environment variable VRFT_ROOT, or this checkout, or where the package is installed, the current folder."""
    checkout = Path(__file__).parents[1]
    return Path(os.environ.get("VRFT_ROOT") or (checkout if (checkout / "dvc.yaml").is_file() else Path())).resolve()


def step_executor() -> dg.ExecutorDefinition:
    """What starts a run's steps: the run itself, or where VRFT_STEPS=kubernetes, `k8s_job_executor`."""
    if os.environ.get("VRFT_STEPS") == "kubernetes":
        from pipelines.executors.kubernetes_steps import kubernetes_steps

        return kubernetes_steps
    # The heavy work is in other processes already; a process for each step would only cost its start.
    return dg.in_process_executor


def build_definitions(root: Path) -> dg.Definitions:
    """Everything for the project at `root`."""
    project, params = DvcProject(root=str(root)), load_params(root / "params.yaml")
    nightly = nightly_eval(root, params)
    verdicts, freshness = no_regression(nightly, root, params), fresh(nightly, root, params)
    every_night, in_the_morning = nightly_job(nightly, verdicts), freshness_job(freshness)
    return dg.Definitions(
        assets=[*stage_assets(project, params), nightly],
        asset_checks=[
            *data_checks(root, project, params),
            *health_checks(root, project, params),
            verdicts,
            freshness,
        ],
        jobs=[*cell_jobs(params), every_night, in_the_morning, promotion_job(root, params)],
        schedules=[nightly_regression(every_night, params), nightly_freshness(in_the_morning, params)],
        resources={"dvc": project, "cpu_executor": LocalExecutor(root), "gpu_executor": gpu_executor(root)},
        executor=step_executor(),
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build_definitions(project_root())
