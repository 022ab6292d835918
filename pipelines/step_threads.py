"""Starts the steps of a run in threads of its process; those that do not need each other run at the same time.

A step's heavy work is a command in another process, or a job elsewhere: its thread only waits. A process for each step
would cost seconds of imports, and would have to be ended when this one is killed. Where a stage runs, and whether it
waits for a place there, is `executors`' business.

What is loaded by then, and by each step, is frozen: to look for garbage in it, again and again, takes seconds of a run.
"""

import gc
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context.system import (
    PlanExecutionContext,
    PlanOrchestrationContext,
    StepExecutionContext,
)
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._utils.error import serializable_error_info_from_exc_info

from pipelines.dvc_assets import GPU_POOL, HERE, PLACE
from vrft_core import machine
from vrft_core.pauses import end_by

EVERY = 0.2  # seconds between looks for an interruption


def step_threads(gpu_stages: int | None) -> dg.ExecutorDefinition:
    """`gpu_stages`: how many of those in the pool `gpu` a run has at once; None: as many as do not need each other."""
    limits = [{"key": PLACE, "value": HERE, "limit": max(1, int(machine.cpus()))}]
    if gpu_stages:
        limits.append({"key": PLACE, "value": GPU_POOL, "limit": gpu_stages})

    @dg.executor(name="step_threads")
    def create(context: dg.InitExecutorContext) -> dg.Executor:
        return StepThreads(limits)

    return create


class StepThreads(dg.Executor):
    """`limits`: as Dagster's `tag_concurrency_limits`, for the steps of one run."""

    def __init__(self, limits: Sequence[dict[str, Any]]) -> None:
        self.limits = list(limits)

    @property
    def retries(self) -> RetryMode:
        return RetryMode.ENABLED

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        _freeze()
        keys, pid = execution_plan.step_keys_to_execute, os.getpid()
        what = EngineEventData.in_process(pid, keys)
        yield dg.DagsterEvent.engine_event(plan_context, f"Executing steps in threads of process {pid}", what)
        resources = PlanExecutionContextManager(
            job=plan_context.job,
            retry_mode=plan_context.retry_mode,
            execution_plan=plan_context.execution_plan,
            run_config=plan_context.run_config,
            dagster_run=plan_context.dagster_run,
            instance=plan_context.instance,
            raise_on_error=plan_context.raise_on_error,
            output_capture=plan_context.output_capture,
            step_dependency_config=self.step_dependency_config,
        )
        yield from ExecuteRunWithPlanIterable(plan_context.execution_plan, partial(_run, self.limits), resources)
        yield dg.DagsterEvent.engine_event(plan_context, f"Finished steps in threads of process {pid}", what)


class Step(threading.Thread):
    """One step; its events go to `told` as they happen, and at its end None."""

    def __init__(self, context: StepExecutionContext, told: "SimpleQueue[tuple[str, dg.DagsterEvent | None]]") -> None:
        super().__init__(name=context.step.key, daemon=True)
        self.context, self.told, self.interrupted = context, told, threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        end_by(self.interrupted, DagsterExecutionInterruptedError)
        try:
            for event in dagster_event_sequence_for_step(self.context):
                self.told.put((self.name, event))
        except BaseException as error:  # it is raised in the main thread
            self.error = error
        self.told.put((self.name, None))


def _run(
    limits: list[dict[str, Any]], job_context: PlanExecutionContext, execution_plan: ExecutionPlan
) -> Iterator[dg.DagsterEvent]:
    with (
        InstanceConcurrencyContext(job_context.instance, job_context.dagster_run) as pools,
        execution_plan.start(
            retry_mode=job_context.retry_mode,
            tag_concurrency_limits=limits,
            instance_concurrency_context=pools,
            step_dependency_config=job_context.step_dependency_config,
        ) as active,
        ExitStack() as captured,
    ):
        yield _capture(job_context, execution_plan, captured)
        yield from _steps(job_context, active)


def _capture(job_context: PlanExecutionContext, execution_plan: ExecutionPlan, captured: ExitStack) -> dg.DagsterEvent:
    """What this process prints goes to Dagster's pages, too: all steps' lines in one place."""
    logs, key = job_context.instance.compute_log_manager, create_compute_log_file_key()
    where = logs.build_log_key_for_run(job_context.run_id, key)
    try:
        context = captured.enter_context(logs.capture_logs(where))
    except Exception:
        error = EngineEventData(error=serializable_error_info_from_exc_info(sys.exc_info()))
        return dg.DagsterEvent.engine_event(job_context, "What is printed cannot be captured", error)
    keys = [step.key for step in execution_plan.get_steps_to_execute_in_topo_order()]
    return dg.DagsterEvent.capture_logs(job_context, keys, where, context)


def _steps(job_context: PlanExecutionContext, active: ActiveExecution) -> Iterator[dg.DagsterEvent]:
    """Start what may start, pass on what the steps tell, until none is left. A failed step stops no other one.

    Raises what a thread could not tell, and DagsterExecutionInterruptedError after an interruption; no thread is left.
    """
    told: SimpleQueue[tuple[str, dg.DagsterEvent | None]] = SimpleQueue()
    running: dict[str, Step] = {}
    stop: BaseException | None = None
    try:
        while running or not (stop or active.is_complete):
            if active.check_for_interrupts():
                active.mark_interrupted()
                stop = stop or DagsterExecutionInterruptedError()
                _interrupt(running)
            for step in [] if stop else active.get_steps_to_execute():
                thread = Step(job_context.for_step(step, active.get_known_state()), told)
                running[step.key] = thread
                thread.start()
            yield from active.concurrency_event_iterator(job_context)
            key, event = _next(told, running)
            if event:
                yield event
                active.handle_event(event)
            elif key:
                _freeze()
                error = running.pop(key).error
                active.verify_complete(job_context, key)
                if error and stop is None:
                    stop = error
                    _interrupt(running)
            if stop is None:
                yield from active.plan_events_iterator(job_context)
    finally:
        _interrupt(running)  # where this loop itself was ended
        for thread in running.values():
            thread.join()
    if stop:
        raise stop


def _next(
    told: "SimpleQueue[tuple[str, dg.DagsterEvent | None]]", running: dict[str, Step]
) -> tuple[str | None, dg.DagsterEvent | None]:
    """(step, event); (step, None) where a step has ended; (None, None) where nothing happened for a while."""
    try:
        key, event = told.get(timeout=EVERY)
    except Empty:
        return None, None
    if event is None:
        running[key].join()
    return key, event


def _interrupt(running: dict[str, Step]) -> None:
    for thread in running.values():
        thread.interrupted.set()  # what it waits for is ended


def _freeze() -> None:
    gc.collect()  # garbage would be frozen, too
    gc.freeze()
