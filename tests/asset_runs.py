"""One asset whose command is a Python program, run through an executor, and what Dagster then knows of it.

Also a program: an orchestrator in a process of its own, which may be killed. It reads what to run from standard input.
"""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import dagster as dg

from pipelines.executors import gpu_executor
from vrft_core.params import Resources

REPORT = """
from dagster_pipes import open_dagster_pipes
with open_dagster_pipes() as pipes:
    pipes.report_asset_materialization(metadata={'lvis/AP': 0.41})
"""


@dataclass(frozen=True)
class Outcome:
    success: bool
    failure: str
    attempts: int
    said: list[str]  # the executor's lines in Dagster's log
    metadata: dict

    def says(self, text: str) -> bool:
        return any(text in line for line in self.said)


def materialize(
    root: Path, program: str, executor: str, resources: dict, *, inputs: str = "", retries: int = 0
) -> Outcome:
    """Run `program` in `root` as the command of an asset; `prepared` and `committed` there count what was called."""
    path = root / f"{hashlib.sha256(program.encode()).hexdigest()[:8]}.py"
    path.write_text(program)
    place = gpu_executor(root, executor)
    if executor != "local":
        place.place.every = 1.0

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=retries) if retries else None)
    def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return place.run(
            context=context,
            command=[sys.executable, path.name],
            resources=Resources.model_validate(resources),
            inputs=inputs,
            prepare=lambda: append(root / "prepared"),
            commit=lambda: append(root / "committed"),
        ).get_materialize_result()

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
    """`materialize` in a process of its own."""

    def __init__(self, root: Path, program: str, executor: str, resources: dict, **more) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        json.dump([str(root), program, executor, resources, more], self.process.stdin)
        self.process.stdin.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def outcome(self) -> Outcome:
        said = self.process.stdout.read()
        self.process.stdout.close()
        self.process.wait()
        return Outcome(**json.loads(said.splitlines()[-1]))


if __name__ == "__main__":
    where, code, name, needs, options = json.load(sys.stdin)
    print("\n" + json.dumps(asdict(materialize(Path(where), code, name, needs, **options))))
