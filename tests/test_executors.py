"""Running a command for an asset: what it reports arrives, what goes wrong is said, nothing is left running."""

import io
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path

import dagster as dg
import pytest

from pipelines.executors import gpu_executor, local
from pipelines.executors.local import LocalExecutor
from pipelines.executors.work import Work


def materialize(root: Path, program: str, retries: int = 1) -> dg.ExecuteInProcessResult:
    """Run a Python program as the command of an asset that may be retried."""
    (root / "program.py").write_text(program)

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=retries))
    def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        work = Work([sys.executable, "program.py"])
        return LocalExecutor(root).run(context=context, work=work).get_materialize_result()

    return dg.materialize([made], raise_on_error=False)


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = (event for event in result.all_events if event.is_step_failure)
    return event.step_failure_data.user_failure_data.description


def attempts(result: dg.ExecuteInProcessResult) -> int:
    return 1 + sum(event.event_type_value == "STEP_RESTARTED" for event in result.all_events)


def test_what_the_command_reports_and_what_it_cost_become_metadata(tmp_path):
    result = materialize(
        tmp_path,
        "from dagster_pipes import open_dagster_pipes\n"
        "with open_dagster_pipes() as pipes:\n"
        "    pipes.report_asset_materialization(metadata={'lvis/AP': 0.41, 'steps': 3})\n",
    )
    (event,) = result.get_asset_materialization_events()
    found = {name: value.value for name, value in event.materialization.metadata.items()}
    assert found["lvis/AP"] == 0.41 and found["steps"] == 3
    assert found["seconds"] > 0 and found["cpu_seconds"] > 0 and found["peak_memory_mb"] > 5


def test_a_users_mistake_is_one_line_and_is_not_retried(tmp_path):
    result = materialize(
        tmp_path, "import sys; print('noise\\nvrft: params.yaml: no such cell', file=sys.stderr); sys.exit(2)"
    )
    assert failure(result) == "params.yaml: no such cell"
    assert attempts(result) == 1


def test_a_failure_shows_the_last_lines_of_standard_error_and_may_be_retried(tmp_path):
    result = materialize(
        tmp_path, "import sys\nfor i in range(99): print('line', i, file=sys.stderr)\nraise ValueError('no such thing')"
    )
    said = failure(result)
    assert "ended with status 1" in said and "ValueError: no such thing" in said
    assert "line 98" in said and "line 80" not in said
    assert attempts(result) == 2


def test_a_killed_command_is_called_killed(tmp_path):
    result = materialize(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert "was killed by SIGKILL (out of memory?)" in failure(result)


def test_standard_error_is_passed_on_while_the_command_runs(tmp_path, capfd):
    materialize(tmp_path, "import sys; print('sft: 3/40, 2m left', file=sys.stderr)")
    assert "sft: 3/40, 2m left" in capfd.readouterr().err


def test_a_log_that_hangs_holds_no_command_up(tmp_path):
    lines = b"step\n" * 5000
    hanging, free = logging.getLogger("hanging"), threading.Event()
    hanging.addFilter(lambda record: free.wait(60))
    hanging.setLevel(logging.INFO)
    last: deque[str] = deque(maxlen=3)
    pump = threading.Thread(target=local._pump, args=(io.BytesIO(lines), last, hanging))
    pump.start()
    pump.join(20)
    try:
        assert not pump.is_alive() and list(last) == ["step"] * 3
    finally:
        free.set()


def test_programs_installed_beside_this_python_are_found_whatever_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert materialize(tmp_path, "import shutil, sys; sys.exit(shutil.which('vrft') is None)").success


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_cancelled_run_leaves_neither_the_command_nor_its_children_running(tmp_path):
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('pids.tmp', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "os.rename('pids.tmp', 'pids')\n"
        "time.sleep(60)\n"
    )
    pids = tmp_path / "pids"

    def cancel() -> None:
        while not pids.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)  # what Dagster's run worker gets when its run is cancelled

    threading.Thread(target=cancel, daemon=True).start()
    # With a retry policy Dagster takes an interruption for a reason to try again.
    assert not materialize(tmp_path, program, retries=0).success
    for pid in map(int, pids.read_text().split()):
        assert not alive(pid)


@pytest.mark.slow
def test_two_gpu_commands_never_run_at_the_same_time(tmp_path):
    """Whatever Dagster's pools do: the second waits for the first."""
    program = (
        "import os, time\n"
        "os.mkdir('busy')\n"  # fails when another is inside
        "time.sleep(0.5)\n"
        "os.rmdir('busy')\n"
    )
    results = []
    (tmp_path / "program.py").write_text(program)

    def one() -> None:
        @dg.asset
        def trained(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            work = Work([sys.executable, "program.py"])
            return gpu_executor(tmp_path).run(context=context, work=work).get_materialize_result()

        results.append(dg.materialize([trained], raise_on_error=False).success)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 3


def test_an_executor_that_does_not_exist_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("VRFT_EXECUTOR", "mainframe")
    with pytest.raises(
        dg.DagsterInvalidDefinitionError, match="VRFT_EXECUTOR=mainframe: must be one of local, slurm, kubernetes"
    ):
        gpu_executor(tmp_path)
