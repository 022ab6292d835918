"""`vrft run` that is told to end by SIGTERM, and `vrft status` beside a run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_project import CELL, run, small_project

from vrft_core.cell import Layout
from vrft_core.commands.telling import ahead
from vrft_core.locks import exclusive
from vrft_core.stages import STAGES, lock_file, outcome_file
from vrft_core.tasks import load_params

VRFT = (sys.executable, "-m", "vrft_core.cli")
# `vrft` where DVC is not installed
WITHOUT_DVC = "import sys; sys.modules['dvc'] = None; import importlib.util as u; find = u.find_spec\n"
WITHOUT_DVC += "u.find_spec = lambda name, *rest: None if name == 'dvc' else find(name, *rest)\n"
WITHOUT_DVC += "from vrft_core.cli import main; sys.exit(main(sys.argv[1:]))\n"

HOLD_FILES = (
    "import sys, time\nfrom dvc.repo import Repo\nfrom dvc.rwlock import rwlock\n"
    "with Repo(sys.argv[1]) as repo, rwlock(repo.tmp_dir, repo.fs, 'dvc repro rft', [], sys.argv[2:], False):\n"
    "    print('held', flush=True); time.sleep(600)\n"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return small_project(tmp_path_factory.mktemp("told") / "project")


def raw_lock(root: Path) -> Path:
    cell = load_params(root / "params.yaml").parse_cell(CELL)
    return lock_file(Layout(root), cell.at(STAGES["raw"]), "raw")


def started(root: Path, *command: str, until: str = "raw: waiting for process") -> tuple[subprocess.Popen, Path]:
    """`vrft run`, once it has said this, and the file it prints to."""
    said = root / "said"
    with open(said, "w") as file:
        process = subprocess.Popen([*command, "run", CELL], cwd=root, stdout=file, stderr=file, start_new_session=True)
    deadline = time.monotonic() + 300
    while until not in said.read_text():
        assert process.poll() is None and time.monotonic() < deadline, said.read_text()
        time.sleep(0.1)
    return process, said


def in_session(session: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        found += [int(path.parent.name)] if int(own) == session and state != "Z" else []
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
@pytest.mark.parametrize("command", [VRFT, (sys.executable, "-c", WITHOUT_DVC)], ids=["with DVC", "without"])
def test_sigterm_ends_the_run_and_its_stage_and_says_that_the_same_command_resumes(root, command):
    with exclusive(raw_lock(root), "it"):
        process, said = started(root, *command)
        try:
            if command is VRFT:
                beside = run(*VRFT, "status", CELL, cwd=root)
                assert "a run is in progress (process " in beside and "remove" not in beside
            process.terminate()
            assert process.wait(60) == 143, said.read_text()
            assert in_session(process.pid) == []
        finally:
            for one in in_session(process.pid):
                os.kill(one, signal.SIGKILL)
    lines = said.read_text().splitlines()
    assert lines[-1] == "vrft: interrupted; finished work is kept. Run the same command again to resume"
    assert lines[-2].startswith("raw@lvis-embedded: interrupted after ")
    assert not any("failed" in line or "Traceback" in line or "ERROR" in line for line in lines)
    cell = load_params(root / "params.yaml").parse_cell(CELL)
    assert not outcome_file(Layout(root), cell.at(STAGES["raw"]), "raw").exists()


@pytest.mark.slow
def test_a_run_that_waits_for_another_one_has_not_failed(root):
    """Another process works on what the second stage makes."""
    program = [sys.executable, "-c", HOLD_FILES, str(root), str(root / "data/few_shot" / CELL)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout and holder.stdout.readline() == b"held\n"
            process, said = started(root, *VRFT, until="DVC is busy: waiting for process")
            process.terminate()
            assert process.wait(60) == 143
        finally:
            holder.kill()
    done, waits, ended = said.read_text().splitlines()[-3:]
    assert ": done in " in done and f"process {holder.pid}" in waits
    assert "Run the same command again to resume" in ended


def test_a_stage_that_another_run_makes_now_is_not_called_made(tmp_path):
    (tmp_path / "params.yaml").write_bytes((Path(__file__).parents[1] / "params.yaml").read_bytes())
    params = load_params(tmp_path / "params.yaml")
    with exclusive(raw_lock(tmp_path), "it"):
        first, second, *_ = ahead(Layout(tmp_path), params, params.parse_cell(CELL))
    assert "10 stages, 0 already made, 1 being made by another run" in first
    assert second.startswith("To make: raw, ")
