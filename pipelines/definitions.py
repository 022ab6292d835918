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
from pipelines.dvc_assets import benchmark_assets, cell_jobs, prefix, stage_assets
from pipelines.dvc_project import DvcProject
from pipelines.executors import executor_name, gpu_executor
from pipelines.executors.local import LocalExecutor
from pipelines.executors.room import most_at_once
from pipelines.promotion import promotion_job
from pipelines.schedules import freshness_job, nightly_eval, nightly_freshness, nightly_job, nightly_regression
from pipelines.step_threads import step_threads
from pipelines.tables import paper_tables, tables_job
from vrft_core.params import Params
from vrft_core.tasks import load_params

LOCATION = "vrft"  # what Dagster's pages and its daemon call this code

# Checks that know their partition are what Dagster calls a preview, links to code a beta: it would say so each time.
for kind in (dg.PreviewWarning, dg.BetaWarning):
    warnings.filterwarnings("ignore", category=kind)


def project_root() -> Path:
    """The environment variable VRFT_ROOT, or this checkout, or where the package is installed, the current folder."""
    checkout = Path(__file__).parents[1]
    return Path(os.environ.get("VRFT_ROOT") or (checkout if (checkout / "dvc.yaml").is_file() else Path())).resolve()


def step_executor(params: Params) -> dg.ExecutorDefinition:
    """What starts a run's steps: the run itself, or where VRFT_STEPS=kubernetes, `k8s_job_executor`."""
    if os.environ.get("VRFT_STEPS") == "kubernetes":
        from pipelines.executors.kubernetes_steps import kubernetes_steps

        return kubernetes_steps
    return threads(params)


def threads(params: Params) -> dg.ExecutorDefinition:
    """Steps in the run itself. How many jobs of a cluster run at once is for its queue to say."""
    return step_threads(most_at_once(params) if executor_name() == "local" else None)


def cell_job(root: str, benchmark: str) -> dg.JobDefinition:
    """A benchmark's job for a process that runs it itself, wherever Dagster's pages have theirs run."""
    params = load_params(Path(root) / "params.yaml")
    return build_definitions(Path(root), threads(params)).resolve_job_def(prefix(benchmark))


def build_definitions(root: Path, executor: dg.ExecutorDefinition | None = None) -> dg.Definitions:
    """Everything for the project at `root`; `executor`: another one than the environment says."""
    project, params = DvcProject(root=str(root)), load_params(root / "params.yaml")
    nightly = nightly_eval(root, params)
    verdicts, freshness = no_regression(nightly, root, params), fresh(nightly, root, params)
    tables = paper_tables(root, params)
    every_night, in_the_morning = nightly_job(nightly, verdicts), freshness_job(freshness)
    return dg.Definitions(
        assets=[*benchmark_assets(params), *stage_assets(project, params), nightly, tables],
        asset_checks=[
            *data_checks(root, project, params),
            *health_checks(root, project, params),
            verdicts,
            freshness,
        ],
        jobs=[*cell_jobs(params), tables_job(tables), every_night, in_the_morning, promotion_job(root, params)],
        schedules=[nightly_regression(every_night, params), nightly_freshness(in_the_morning, params)],
        resources={"dvc": project, "cpu_executor": LocalExecutor(root), "gpu_executor": gpu_executor(root)},
        executor=executor or step_executor(params),
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build_definitions(project_root())
