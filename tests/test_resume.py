"""The stages `sft` and `rft` killed in the middle of anything end as if nothing had happened."""

import functools
import importlib
import json
import os
import random
import signal
import threading
from pathlib import Path

import pytest
from own_processes import ended, in_own_process
from small_policy import small_recipe, taught_policy
from small_project import CELL, edit_params, small_project

from vrft_core import cli
from vrft_core.cell import Cell, Layout
from vrft_core.training.checkpoints import complete_checkpoints
from vrft_core.training.record import ROLLOUTS

CLOCKS = ("wall_seconds", "cpu_seconds")
# phase → the class and method it happens in; a step is generated or computed while the trainer counts one less
PHASES = {
    "generation": ("vrft_core.training.grpo.ReusingGRPOTrainer", "_generate_single_turn", 1),
    "update": ("transformers.Trainer", "training_step", 1),
    "checkpoint": ("transformers.Trainer", "_save_checkpoint", 0),
}


def _stage(root: Path, method: str, kill: tuple[str, int, float] | None) -> None:
    """`vrft stage`, in a process of its own; `kill` = (phase, step, seconds after which a SIGKILL falls in it)."""
    if kill:
        phase, step, delay = kill
        place, name, ahead = PHASES[phase]
        _kill_in(place, name, step - ahead, delay)
    raise SystemExit(cli.main(["--root", str(root), "stage", method, "--cell", CELL]))


def _kill_in(place: str, name: str, global_step: int, delay: float) -> None:
    module, _, owner = place.rpartition(".")
    owner = getattr(importlib.import_module(module), owner)
    whole = getattr(owner, name)

    @functools.wraps(whole)
    def interrupted(self, *args, **kwargs):
        if self.state.global_step == global_step:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
            whole(self, *args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)  # the phase was over first: at its very end, then
        return whole(self, *args, **kwargs)

    setattr(owner, name, interrupted)


def stage(*arguments) -> int | None:
    """The exit code of `_stage` in a process of its own."""
    return ended(in_own_process(_stage, *arguments))[0]


@pytest.fixture(scope="module")
def projects(tmp_path_factory) -> tuple[Layout, Layout]:
    """Two equal projects, ready to train: one is left in peace."""
    made = []
    for name in ("whole", "broken"):
        root = small_project(tmp_path_factory.mktemp("drill") / name)
        recipe = small_recipe().model_dump(mode="json")
        edit_params(root, lambda params, recipe=recipe: params["recipes"].update(mini=recipe))
        layout, cell = Layout(root), Cell("mini", "lvis", 1, 0)
        taught_policy(layout.policy(cell), layout.prompts(cell))
        made.append(layout)
    return tuple(made)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "phases"),
    [
        ("rft", [("checkpoint", 2), ("generation", 2), ("update", 3), ("generation", 4), ("checkpoint", 4)]),
        ("sft", [("update", 1), ("checkpoint", 2), ("update", 4), ("checkpoint", 4)]),
    ],
)
def test_a_stage_killed_anywhere_again_and_again_leaves_the_bytes_of_one_left_in_peace(method, phases, projects):
    whole, broken = projects
    cell, lot = Cell("mini", "lvis", 1, 0), random.Random(f"drill/{method}")
    assert stage(whole.root, method, None) == 0

    for phase, step in phases:
        kill = (phase, step, lot.uniform(0, 0.1))
        assert stage(broken.root, method, kill) == -signal.SIGKILL, kill
        assert not broken.model(cell, method).exists(), "nothing half-written where DVC would look"
        sealed = [number for number, *_ in complete_checkpoints(broken.runs(cell, method))]
        assert sealed == ([2] if step > 2 else []), "the last good checkpoint is found"
    assert stage(broken.root, method, None) == 0

    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (whole.model(cell, method) / name).read_bytes() == (broken.model(cell, method) / name).read_bytes()
    assert _record(broken, cell, method) == _record(whole, cell, method)
    if method == "rft":
        rows = [(layout.runs(cell, method) / ROLLOUTS).read_bytes() for layout in projects]
        assert rows[0] == rows[1] and rows[0].count(b"\n") == 4 * 8
        assert len({json.loads(row)["advantage"] for row in rows[0].splitlines()}) > 1, "something was learned from"


def _record(layout: Layout, cell: Cell, method: str) -> dict:
    """The training record less what a clock says, and whose run in MLflow it is."""
    record = json.loads(layout.training(cell, method).read_text())
    record["log"] = [{name: value for name, value in row.items() if "time" not in name} for row in record["log"]]
    record["cost"] = {name: value for name, value in record["cost"].items() if name not in CLOCKS}
    for name in ("validation_cost", "finished", "run"):
        del record[name]
    return record
