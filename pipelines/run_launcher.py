"""Dagster's own launcher of runs, which also tells whether a run's process is still there.

Without this a run whose code server was killed, or lost with its machine, counts as running for ever: Dagster's
monitoring asks the launcher, and the default one cannot tell. Needs a code server that runs the runs itself
(`dagster api grpc`); one behind `dagster code-server` may have passed a run on to a server before it.
"""

import dagster as dg
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value


class RunLauncher(DefaultRunLauncher):
    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Raises where the code server does not answer: the monitoring asks again."""
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:  # it has ended meanwhile, or was not started by a code server: `dead_runs`
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        reply = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id))
        if deserialize_value(reply, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process ended without a word, or with its code server")
