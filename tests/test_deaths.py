"""Processes that are killed, or whose terminal closes: nothing stays taken, and who waits says for whom."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from asset_runs import Orchestrator, materialize
from small_project import CELL, ROOT, small_project

from pipelines.dead_runs import alive, end_dead_runs
from vrft_core.locks import exclusive, is_held

HOLD = "import sys, time; from pathlib import Path; from vrft_core.locks import exclusive\n"
HOLD += "with exclusive(Path(sys.argv[1]), 'it'): print('held', flush=True); time.sleep(600)\n"


def wait(for_what: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.fixture
def holder():
    """holder(path) → a process that holds the lock file until it is killed."""
    started = []

    def hold(path: Path) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, env=environment)
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_who_waits_for_a_lock_names_its_holder_once_and_goes_on_when_that_is_killed(tmp_path, holder, capfd):
    path = tmp_path / "a.lock"
    process = holder(path)
    assert is_held(path)
    entered = threading.Event()

    def enter() -> None:
        with exclusive(path, "the model"):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    assert not entered.wait(2)
    process.kill()
    assert entered.wait(10)
    thread.join()
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith(
        f"vrft: the model: waiting for process {process.pid} (-c {path}), which holds {path} since "
    )
    assert second == "vrft: the model: continues"
    assert not is_held(path)


@pytest.mark.slow
def test_a_lock_file_that_is_removed_lets_one_in_at_a_time(tmp_path):
    path, inside, most = tmp_path / "a.lock", [], []

    def enter() -> None:
        for _ in range(5):
            with exclusive(path, "it", remove=True):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.01)
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) == 20 and not path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="processes end with their parent on Linux")
@pytest.mark.slow
def test_a_command_ends_with_the_orchestrator_that_is_killed_and_holds_the_gpu_until_then(tmp_path, capfd):
    program = (
        "import os, signal, sys, time\n"
        "def sealed(*_):\n"
        "    time.sleep(15); open('sealed', 'w').close(); sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, sealed)\n"
        "open('pid.tmp', 'w').write(str(os.getpid())); os.rename('pid.tmp', 'pid')\n"
        "time.sleep(600)\n"
    )
    first = Orchestrator(tmp_path, program, "local", {})
    wait((tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text())
    first.kill()
    second = materialize(tmp_path, "import pathlib, sys; sys.exit(not pathlib.Path('sealed').exists())", "local", {})
    assert second.success, "it came in after the first had ended"
    assert not lives(pid)
    assert f": waiting for process {pid} (" in capfd.readouterr().err


def test_runs_whose_process_is_gone_are_marked_as_failed_and_others_are_not(tmp_path, holder, capfd):
    @dg.job
    def nothing():
        pass

    (tmp_path / ".dvc/tmp/vrft/runs").mkdir(parents=True)
    process = holder(tmp_path / ".dvc/tmp/vrft/runs/theirs.lock")
    with dg.instance_for_test() as instance, alive(tmp_path) as mine:
        states = {}
        for name, tags in {
            "mine": mine,
            "theirs": {"vrft/lock": "theirs.lock"},
            "dead": {"vrft/lock": "dead.lock"},
            "server": {".dagster/grpc_info": '{"host": "localhost", "socket": "/nowhere"}'},
            "other": {},
        }.items():
            run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED, tags=tags)
            states[name] = lambda id=run.run_id: instance.get_run_by_id(id).status.value

        def now() -> dict:
            return {name: state() for name, state in states.items() if state() != "STARTED"}

        end_dead_runs(instance, tmp_path)
        assert now() == {"dead": "FAILURE"}
        process.kill()
        process.wait()
        end_dead_runs(instance, tmp_path, servers=True)
        assert now() == {"dead": "FAILURE", "theirs": "FAILURE", "server": "FAILURE"}
    assert capfd.readouterr().err.count("was cut short; it is marked as failed") == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes end with their parent on Linux")
def test_a_demo_killed_in_a_gpu_stage_blocks_nobody_and_one_whose_terminal_closes_ends_in_order(tmp_path):
    root = small_project(tmp_path / "project")
    (root / "dagster_home").mkdir()
    shutil.copy(ROOT / "dagster_home/dagster.yaml", root / "dagster_home")
    environment = {**os.environ, "VRFT_ROOT": str(root), "PYTHONPATH": str(ROOT)}
    environment.pop("DAGSTER_HOME", None)

    def heed_hangups() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup

    def demo(number: int, until: str) -> tuple[subprocess.Popen, Path]:
        said = root / f"said{number}"
        with open(said, "w") as file:
            command = [sys.executable, "-m", "pipelines.materialize", CELL]
            process = subprocess.Popen(
                command, cwd=root, env=environment, stdout=file, stderr=file, preexec_fn=heed_hangups
            )
        wait(lambda: until in said.read_text() or process.poll() is not None, 300)
        assert process.poll() is None, said.read_text()
        return process, said

    def stages() -> list[Path]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if b"stage" in words and os.readlink(folder / "cwd") == str(root):
                    found.append(folder)
            except OSError:
                continue
        return found

    first, _ = demo(1, "lvis_policy: vrft stage policy")
    wait(stages)
    first.kill()
    first.wait()
    wait(lambda: not stages(), 20)
    second, said = demo(2, "lvis_base_eval: vrft stage base_eval")
    assert "was cut short; it is marked as failed" in said.read_text()
    wait(stages)
    second.send_signal(signal.SIGHUP)
    assert second.wait(60) == 1
    assert "interrupted; the last checkpoint is kept, run it again to resume" in said.read_text()
    assert not stages()
    with dg.DagsterInstance.from_config(str(root / "dagster_home")) as instance:
        statuses = [run.status.value for run in instance.get_runs()]
    assert len(statuses) == 2 and not {"STARTED", "STARTING"} & set(statuses), statuses
