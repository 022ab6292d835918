"""Dagster's `k8s_job_executor`, which gives every step a pod, made to notice a step that is lost with its node.

Needs the extra `kubernetes`, and K8sRunLauncher. A stage's work is a Job of `kubernetes`, which needs neither.

A process on a lost node reports nothing. Its Job gets another pod, which finds the step begun and ends well without
doing it. The Job is complete then, which to dagster-k8s 0.29 is healthy: the run would wait for ever
(https://github.com/dagster-io/dagster/issues/33755).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import dagster as dg
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepDelegatingExecutor, StepHandler
from dagster._core.executor.step_delegating.step_handler.base import StepHandlerContext
from dagster_k8s import k8s_job_executor
from dagster_k8s.executor import K8sStepHandler
from kubernetes.client import ApiClient

from pipelines.executors.kubernetes_status import finished, is_lost, over

BEGUN = {dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED}
ENDED = {
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_UP_FOR_RETRY,
    dg.DagsterEventType.STEP_SKIPPED,
}


# Dagster takes a definition's own schema too, which its annotation does not say.
SCHEMA = cast(dict[str, Any], k8s_job_executor.config_schema)


@dg.executor(name="k8s", config_schema=SCHEMA, requirements=k8s_job_executor.get_requirements)
def kubernetes_steps(context: dg.InitExecutorContext) -> dg.Executor:
    """`k8s_job_executor`, same settings: a step that is lost with its node fails, so that its retry policy applies."""
    create = k8s_job_executor.executor_creation_fn
    assert create is not None, "the decorator that made it gave it one"
    executor = create(context)
    assert isinstance(executor, StepDelegatingExecutor)
    executor._step_handler = LostSteps(cast(K8sStepHandler, executor._step_handler))
    return executor


class LostSteps(StepHandler):
    """Dagster's handler, and a further question about each step whose Job looks healthy to it."""

    def __init__(self, stock: K8sStepHandler) -> None:
        self.stock = stock

    @property
    def name(self) -> str:
        return self.stock.name

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        return self.stock.launch_step(step_handler_context)

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        return self.stock.terminate_step(step_handler_context)

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        found = self.stock.check_step_health(step_handler_context)
        if not found.is_healthy:
            return found
        name = self.stock._get_k8s_step_job_name(step_handler_context)
        namespace = self.stock._get_container_context(step_handler_context).namespace
        api = self.stock._api_client
        made = [api.batch_api.read_namespaced_job_status(name, namespace), *api.get_pods_in_job(name, namespace)]
        job, *pods = cast(list[dict], ApiClient().sanitize_for_serialization(made))
        # Read last: what a pod has reported was written before it ended.
        ended, begun = progress(step_handler_context)
        how = None if ended else how_lost(job, pods, begun, datetime.now(UTC))
        if not how:
            return found
        api.delete_job(name, namespace)  # a successor of its pod would wait for a GPU, to do nothing with it
        return CheckStepHealthResult.unhealthy(f"Kubernetes job {name} {how}")


def progress(context: StepHandlerContext) -> tuple[bool, datetime | None]:
    """Whether the step has reported the end of its present try, and when it was begun, None before that."""
    keys = context.execute_step_args.step_keys_to_execute
    assert keys, "a step handler's context names its step"
    (key,) = keys
    kinds = {dg.DagsterEventType.STEP_WORKER_STARTING, *BEGUN, *ENDED}
    entries = [entry for entry in context.instance.all_logs(context.dagster_run.run_id, kinds) if entry.step_key == key]
    last = entries[-1]
    assert last.dagster_event, "entries were asked for by the kind of their event"
    kind = last.dagster_event.event_type
    return kind in ENDED, datetime.fromtimestamp(last.timestamp, UTC) if kind in BEGUN else None


def how_lost(job: dict, pods: Sequence[dict], begun: datetime | None, now: datetime) -> str | None:
    """What became of a step that has reported no end; None as long as it may be at work, or will be.

    `job`, `pods`: as the API server has them. The text follows the Job's name in a sentence.
    """
    if end := finished(job):
        why = f" ({end['reason']})" if end["reason"] else ""
        return f"is {end['type'].lower()}{why}, but its step has reported no end: it was lost with its pod"
    alive = [pod for pod in pods if not over(pod)]
    if alive and all(is_lost(pod, now) for pod in alive):
        return "has a pod that should have ended long ago: its step was lost with its node"
    # A successor does not take up what was begun before it was made.
    if alive and begun and all(datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) > begun for pod in alive):
        return "has another pod than the one its step was begun in: the step was lost with that one"
    return None
