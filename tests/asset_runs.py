"""One asset whose command is a Python program, run through an executor, and what Dagster then knows of it."""

import hashlib
import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from pipelines.executors import gpu_executor, jobs, slurm_cli
from pipelines.executors.work import Work
from vrft_core.params import Resources

REPORT = """
from dagster_pipes import open_dagster_pipes
with open_dagster_pipes() as pipes:
    pipes.report_asset_materialization(metadata={'lvis/AP': 0.41})
"""
SECONDS = 300  # that a run may take at most


@dataclass(frozen=True)
class Outcome:
    success: bool
    failure: str
    attempts: int
    said: list[str]  # the executor's lines in Dagster's log
    metadata: dict

    def says(self, text: str) -> bool:
        return any(text in line for line in self.said)


def materialize(root: Path, program: str, executor: str, resources: dict, **options) -> Outcome:
    """Run `program` in `root` as the command of an asset; see `execute`."""
    path = root / f"{hashlib.sha256(program.encode()).hexdigest()[:8]}.py"
    path.write_text(program)
    return execute(root, [sys.executable, path.name], executor, resources, **options)


def execute(
    root: Path,
    command: list[str],
    executor: str,
    resources: dict,
    *,
    inputs: str = "",
    retries: int = 0,
    patience: int = 60,
) -> Outcome:
    """Run an asset's command in `root`; `prepared` and `committed` there count what was called.

    `patience`: seconds that one of Slurm's commands is given.
    """
    slurm_cli.PATIENCE = patience
    place = gpu_executor(root, executor)
    if executor != "local":
        place.place.every = 1.0

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=retries) if retries else None)
    def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        work = Work(
            command=command,
            resources=Resources.model_validate(resources),
            inputs=lambda: inputs,
            prepare=lambda: append(root / "prepared"),
            commit=lambda: append(root / "committed"),
        )
        return place.run(context=context, work=work).get_materialize_result()

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([made], instance=instance, raise_on_error=False)
        said = [entry.user_message for entry in instance.all_logs(result.run_id) if not entry.dagster_event]
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    materializations = result.get_asset_materialization_events()
    return Outcome(
        success=result.success,
        failure=_text(failures[0]) if failures else "",
        attempts=1 + sum(event.event_type_value == "STEP_RESTARTED" for event in result.all_events),
        said=said,
        metadata={n: m.value for e in materializations for n, m in e.materialization.metadata.items()},
    )


def _text(failure) -> str:
    return failure.user_failure_data.description if failure.user_failure_data else str(failure.error.cause)


def append(path: Path) -> None:
    with open(path, "a") as file:
        file.write("x")


class Orchestrator:
    """`materialize` in a process of its own, which may be killed."""

    _context = multiprocessing.get_context("forkserver")
    _context.set_forkserver_preload(["asset_runs"])

    def __init__(self, *arguments, **options) -> None:
        self._outcome, sender = self._context.Pipe(duplex=False)
        call = (sender, dict(os.environ), arguments, options)
        self.process = self._context.Process(target=_orchestrate, args=call, daemon=True)
        self.process.start()
        sender.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def outcome(self) -> Outcome:
        assert self._outcome.poll(SECONDS), "the run does not end"
        return self._outcome.recv()

    @staticmethod
    def kill_all() -> None:
        """Before their queue goes away: a run that nobody ends would ask it for minutes."""
        for process in multiprocessing.active_children():
            process.kill()
            process.join()


def _orchestrate(sender, environment: dict, arguments: tuple, options: dict) -> None:
    os.environ.update(environment)
    jobs.EVERY = 0.2
    sender.send(materialize(*arguments, **options))
