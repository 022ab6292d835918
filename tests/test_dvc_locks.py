"""Several doors at once: DVC's own locks are waited for, and one line says for whom."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import data_by_dagster
import pytest
import yaml
from small_project import CELL, run, small_project

from pipelines.dvc_project import DvcProject

pytestmark = pytest.mark.slow
# A process that has DVC's locks as `dvc repro` has them while a stage runs, or as it has them for a moment
HOLD_FILES = (
    "import sys, time\nfrom dvc.repo import Repo\nfrom dvc.rwlock import rwlock\n"
    "with Repo(sys.argv[1]) as repo, rwlock(repo.tmp_dir, repo.fs, 'dvc repro rft', [], sys.argv[2:], False):\n"
    "    print('held', flush=True); time.sleep(600)\n"
)
HOLD_ALL = "import sys, time\nfrom dvc.repo import Repo\nwith Repo(sys.argv[1]) as repo, repo.lock:\n"
HOLD_ALL += "    print('held', flush=True); time.sleep(600)\n"


@pytest.fixture
def holder():
    started = []

    def hold(program: str, *arguments: str) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A project with its raw data made and recorded."""
    project = small_project(tmp_path_factory.mktemp("locks") / "project")
    run("dvc", "repro", "-q", "raw@lvis-embedded", cwd=project)
    return project


def wait(for_what: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.mark.parametrize("program", [HOLD_FILES, HOLD_ALL], ids=["its files", "the repository"])
def test_dagsters_side_waits_for_another_process(program, root, holder, capfd):
    process = holder(program, str(root), str(root / "data/raw/lvis-embedded"))
    project, found = DvcProject(root=str(root)), []
    thread = threading.Thread(target=lambda: found.append(project.up_to_date("raw@lvis-embedded")))
    thread.start()
    said = ""
    deadline = time.monotonic() + 60
    while "DVC is busy" not in said and time.monotonic() < deadline:
        time.sleep(0.2)
        said += capfd.readouterr().err
    assert not found
    time.sleep(2)
    process.kill()
    process.wait()
    thread.join(60)
    assert found == [True]
    said += capfd.readouterr().err
    assert said.count("DVC is busy: waiting for process") == 1 and f"process {process.pid}" in said


@pytest.mark.parametrize("program", [HOLD_FILES, HOLD_ALL], ids=["its files", "the repository"])
def test_vrft_run_waits_for_another_process(program, root, holder):
    process = holder(program, str(root), str(root / "data/few_shot" / CELL))
    said = root / "said"
    with open(said, "w") as file:
        command = [sys.executable, "-m", "vrft_core.cli", "run", CELL]
        waiting = subprocess.Popen(command, cwd=root, stdout=file, stderr=file, start_new_session=True)
    try:
        wait(lambda: "vrft: DVC is busy: waiting for process" in said.read_text(), 400)
        before = said.read_text()
        assert f"process {process.pid}" in before and "ERROR" not in before
        process.kill()
        process.wait()
        wait(lambda: ": cached" in said.read_text()[len(before) :], 400)
    finally:
        os.killpg(waiting.pid, 9)
        waiting.wait()


@pytest.mark.parametrize("left", ["", '{"write": {"/a": {"pid"'])
def test_a_file_of_locks_that_a_killed_process_left_half_written_blocks_nobody(left, root, capfd):
    path = root / ".dvc/tmp/rwlock"
    path.write_text(left)
    assert DvcProject(root=str(root)).up_to_date("raw@lvis-embedded")
    assert "incomplete by a process that was killed; it is removed" in capfd.readouterr().err
    path.write_text(left)
    said = root / "said"
    with open(said, "w") as file:
        command = [sys.executable, "-m", "vrft_core.cli", "run", CELL]
        running = subprocess.Popen(command, cwd=root, stdout=file, stderr=file, start_new_session=True)
    try:
        wait(lambda: "raw@lvis-embedded: cached" in said.read_text(), 400)
    finally:
        os.killpg(running.pid, 9)
        running.wait()
    assert "left incomplete" in said.read_text() and "ERROR" not in said.read_text()


def test_dagster_and_dvc_at_the_same_time_both_come_to_their_end(tmp_path):
    """Two cells that share raw data, `make demo`'s way and DVC's, and Dagster twice for the same cell."""
    root = small_project(tmp_path / "project")
    files = [open(root / f"said{number}", "w") for number in range(3)]  # noqa: SIM115
    partitions = ("mini-1shot-s0", "mini-1shot-s0", "mini-1shot-s1")
    started = [data_by_dagster.start(root, key, file) for key, file in zip(partitions, files, strict=True)]
    statuses = [process.wait(600) for process in started]
    said = [(root / f"said{number}").read_text() for number in range(3)]
    assert statuses == [0, 0, 0], "\n".join(said)
    recorded = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    assert {"raw@lvis-embedded", f"prompts@{CELL}", "prompts@lvis-mini-1shot-s1"} <= set(recorded)
    ran = [line for text in said for line in text.splitlines() if line.startswith("[") and "vrft stage raw" in line]
    assert len(ran) == 1, "the second finds it done"
