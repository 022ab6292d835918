"""`python -m pipelines.materialize lvis-mini-1shot-s0`: a cell from raw data to its report, through Dagster.

What is up to date is not run again. The run appears in Dagster's pages like one started there.
"""

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import dagster as dg

from pipelines import definitions
from pipelines.dead_runs import alive, end_dead_runs
from pipelines.definitions import project_root
from pipelines.dvc_assets import partition
from pipelines.executors import executor_name
from pipelines.executors.room import GPU_STAGES, most_at_once
from vrft_core import cli, warm
from vrft_core.cell import Cell, Layout
from vrft_core.commands.telling import ahead, result
from vrft_core.errors import InputError
from vrft_core.storage import project_folders, refuse_unwritable
from vrft_core.tasks import load_params

# The stages' own lines say what goes on; Dagster's go to its pages.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_cell(root: Path, cell: Cell) -> list[str]:
    """Run a cell's job; returns what went wrong, one text a failed step or check."""
    os.environ.setdefault("DAGSTER_HOME", str(root / "dagster_home"))
    job = dg.build_reconstructable_job(
        definitions.__name__, "cell_job", None, {"root": str(root), "benchmark": cell.benchmark}
    )
    # a job of a cluster is to run in its own allocation
    kept = warm.kept() if executor_name() == "local" else nullcontext({})
    with dg.DagsterInstance.get() as instance, alive(root) as tags, kept as variables:
        os.environ.update(variables)
        end_dead_runs(instance, root)
        of_cell = {"dagster/partition": partition(cell)}
        result = dg.execute_job(job, instance, run_config=QUIET, tags=tags | of_cell)
    if result.success:
        return []
    reasons = [_reason(event) for event in result.all_events if event.is_step_failure]
    return reasons or [f"{cell.key}: Dagster's run {result.run_id[:8]} did not end well; its pages say why"]


def _reason(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data
    if failure.user_failure_data:
        return f"{event.step_key}: {failure.user_failure_data.description}"
    if not failure.error:
        return f"{event.step_key}: failed"
    if failure.error.cls_name == "DagsterExecutionInterruptedError":
        return f"{event.step_key}: interrupted; the last checkpoint is kept, run it again to resume"
    return f"{event.step_key}: {failure.error.cause or failure.error}"


def _interrupt(number: int, frame: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def main(key: str) -> int:
    root = project_root()
    cli.set_environment()  # as stages have it: what they are forked from must not differ
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, _interrupt)  # a terminal that closes is like Ctrl-C
    try:
        params = load_params(root / "params.yaml")
        cell = params.parse_cell(key).at("cell")
        refuse_unwritable([*project_folders(root), root / "dagster_home"])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    at_once = most_at_once(params) if executor_name() == "local" else len(GPU_STAGES)
    print("\n".join(ahead(Layout(root), params, cell, at_once)), file=sys.stderr, flush=True)
    if reasons := run_cell(root, cell):
        print("\n" + "\n".join(reasons), file=sys.stderr)
        return 1
    print("\n" + "\n".join(result(Layout(root), cell)))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m pipelines.materialize CELL")
    sys.exit(main(sys.argv[1]))
