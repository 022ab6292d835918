"""The same work started twice: the second waits for the first, and says for whom."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_policy import small_recipe, taught_policy
from small_project import CELL, edit_params, small_project

from vrft_core.cell import Cell, Layout
from vrft_core.training.record import ROLLOUTS

pytestmark = pytest.mark.slow
CELL_ = Cell("mini", "lvis", 1, 0)


def wait(for_what: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Layout:
    """A project that is ready to train."""
    root = small_project(tmp_path_factory.mktemp("twice") / "project")
    recipe = small_recipe().model_dump(mode="json")
    edit_params(root, lambda params: params["recipes"].update(mini=recipe))
    found = Layout(root)
    taught_policy(found.policy(CELL_), found.prompts(CELL_))
    return found


def stage(layout: Layout, number: int) -> tuple[subprocess.Popen, Path]:
    said = layout.root / f"said{number}"
    command = [sys.executable, "-m", "vrft_core.cli", "--root", str(layout.root), "stage", "rft", "--cell", CELL]
    with open(said, "w") as file:
        return subprocess.Popen(command, stderr=file, stdout=file, cwd=layout.root), said


def test_a_stage_whose_orchestrator_was_killed_is_waited_for(layout):
    """`sh` is killed, as an orchestrator would be; the stage that it started trains on."""
    root, run = layout.root, layout.runs(CELL_, "rft")
    command = f"{sys.executable} -m vrft_core.cli --root {root} stage rft --cell {CELL} & echo $! > {root}/orphan; wait"
    with open(root / "said0", "w") as file:
        shell = subprocess.Popen(["sh", "-c", command], stderr=file, stdout=file, cwd=root)
    wait(lambda: (run / ROLLOUTS).exists())
    orphan = int((root / "orphan").read_text())
    os.kill(orphan, signal.SIGSTOP)  # so that it is still at it when the next one comes
    shell.kill()
    shell.wait()

    second, said = stage(layout, 1)
    wait(lambda: "waiting for" in said.read_text())
    line = said.read_text().splitlines()[0]
    assert line.startswith(
        f"vrft: {CELL} rft: waiting for process {orphan} (vrft_core.cli --root {root} stage rft --cell {CELL})"
    )
    before = (run / ROLLOUTS).read_bytes()
    time.sleep(3)
    assert (run / ROLLOUTS).read_bytes() == before, "one at a time"

    os.kill(orphan, signal.SIGCONT)
    assert second.wait(300) == 0, said.read_text()
    assert f"{CELL} rft: done" in (root / "said0").read_text(), "the first has come to its end"
    steps = [json.loads(row)["step"] for row in (run / ROLLOUTS).read_text().splitlines()]
    assert steps == sorted(steps) and len(steps) == 4 * 8


def test_one_that_waits_for_a_killed_stage_goes_on_from_its_checkpoint(layout):
    first, _ = stage(layout, 2)
    run = layout.runs(CELL_, "rft")
    wait(lambda: (run / "checkpoint-2" / "complete.json").exists())
    os.kill(first.pid, signal.SIGSTOP)
    second, said = stage(layout, 3)
    wait(lambda: "waiting for" in said.read_text())
    first.kill()
    first.wait()
    assert second.wait(300) == 0, said.read_text()
    assert f"vrft: {CELL} rft: continues" in said.read_text()
