"""Stages as forks of one process: whatever happens to who waits, to the fork or to that process, nothing stays."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from small_project import CELL, ROOT

from vrft_core import cli, machine, warm
from vrft_core.cell import Cell, Layout
from vrft_core.locks import exclusive, is_held
from vrft_core.stages import lock_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or not hasattr(os, "pidfd_open"), reason="stages are forks on Linux"),
    pytest.mark.skipif(machine.has_gpu(), reason="no forks where there is a GPU"),
]


def wait(for_what: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    return [one.pid for one in psutil.Process(pid).children()]


def lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def heed_hangups() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup


class Stages:
    """Starts `vrft stage` in a project where each waits for a lock that the test holds."""

    def __init__(self, root: Path) -> None:
        self.root, self.variables, self.keeper, self.heavy = root, {}, 0, 0

    def start(self, **variables: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "vrft_core.cli", "--root", str(self.root), "stage", "few_shot", "--cell", CELL]
        environment = os.environ | self.variables | variables
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heed_hangups
        )
        assert process.stderr and "few_shot: waiting for process" in process.stderr.readline()
        return process

    def forked(self) -> tuple[subprocess.Popen, int]:
        """(the process that asked, its fork)"""
        process = self.start()
        (fork,) = children(self.keeper)
        return process, fork


@contextmanager
def project(root: Path) -> Iterator[Stages]:
    """Not a fixture: pytest tells each phase of a test by a variable, and variables have to be the same."""
    shutil.copy(ROOT / "params.yaml", root)
    before, found = children(os.getpid()), Stages(root)
    with exclusive(lock_file(Layout(root), Cell("mini", "lvis", 1, 0), "few_shot"), "it"), warm.kept() as variables:
        found.variables = variables
        new = set(children(os.getpid())) - set(before)
        found.heavy, found.keeper = (next(pid for pid in new if variables[one] in mapped(pid)) for one in warm.PLACES)
        yield found


@pytest.fixture(autouse=True)
def quiet(monkeypatch) -> None:
    for name, value in cli.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def test_each_ends_as_the_other_does(tmp_path):
    with project(tmp_path) as stages:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            process, fork = stages.forked()
            process.send_signal(number)
            assert process.wait(60) == (130 if number == signal.SIGINT else -number)
            assert not lives(fork)
            process.stderr.close()
        for number in (signal.SIGKILL, signal.SIGTERM):
            process, fork = stages.forked()
            os.kill(fork, number)
            assert process.wait(60) == -number
            process.stderr.close()
        process, fork = stages.forked()
        process.kill()
        wait(lambda: not lives(fork))
        process.wait()
        process.stderr.close()


def test_a_stage_that_is_stopped_stops_its_fork_and_both_go_on(tmp_path):
    with project(tmp_path) as stages:
        process, fork = stages.forked()
        process.send_signal(signal.SIGTSTP)
        for pid in (process.pid, fork):
            wait(lambda pid=pid: "T" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
        process.send_signal(signal.SIGCONT)
        for pid in (process.pid, fork):
            wait(lambda pid=pid: "T" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
        process.terminate()
        process.wait(60)
        process.stderr.close()


def test_when_the_process_that_forks_is_killed_its_forks_end_and_later_stages_run_by_themselves(tmp_path):
    with project(tmp_path) as stages:
        process, fork = stages.forked()
        os.kill(stages.keeper, signal.SIGKILL)
        assert process.wait(60) == 1
        assert "the process it was forked from was killed" in process.stderr.read()
        wait(lambda: not lives(fork))
        process.stderr.close()
        alone = stages.start()
        alone.terminate()
        assert alone.wait(60) == -signal.SIGTERM
        alone.stderr.close()


def test_it_declines_where_a_variable_is_another(tmp_path):
    with project(tmp_path) as stages:
        alone = stages.start(OMP_NUM_THREADS="7")
        assert children(stages.keeper) == []
        alone.kill()
        alone.wait()
        alone.stderr.close()


def test_a_stage_without_a_model_waits_for_no_import_of_one(tmp_path):
    with project(tmp_path) as stages:
        os.kill(stages.heavy, signal.SIGSTOP)  # as busy as can be
        try:
            process, fork = stages.forked()
            assert not any(name in Path(f"/proc/{fork}/maps").read_text() for name in ("libtorch", "mlflow"))
            process.kill()
            wait(lambda: not lives(fork))
            process.wait()
            process.stderr.close()
        finally:
            os.kill(stages.heavy, signal.SIGCONT)


def test_it_ends_with_who_kept_it_once_its_forks_have(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    lock = lock_file(Layout(tmp_path), Cell("mini", "lvis", 1, 0), "few_shot")
    program = (
        "import subprocess, sys; from vrft_core import warm\n"
        "with warm.kept() as variables:\n"
        "    print(variables[warm.LIGHT_PLACE], flush=True); sys.stdin.read()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    owner = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    place = owner.stdout.readline().strip()
    both = children(owner.pid)
    (keeper,) = [pid for pid in both if place in mapped(pid)]
    assert len(both) == 2 and all("vrft_core.cli.forking" in mapped(pid) for pid in both)
    running = Stages(tmp_path)
    running.variables, running.keeper = {"PYTHONPATH": str(ROOT), warm.LIGHT_PLACE: place}, keeper
    with exclusive(lock, "it"):
        process, fork = running.forked()
        owner.kill()
        owner.wait()
        time.sleep(0.5)
        assert lives(fork) and lives(process.pid), "a stage goes on"
    assert process.wait(60) == 2, "there are no raw data"
    wait(lambda: not any(map(lives, both)))
    assert not Path(place).parent.exists()
    assert not is_held(lock)
    for stream in (process.stderr, owner.stdin, owner.stdout):
        stream.close()


def test_where_no_socket_can_be_made_stages_run_by_themselves_and_nothing_is_left(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with warm.kept() as variables:
        assert variables == {}
    assert not list(folder.iterdir())
