"""One thin function a stage: reads its inputs, calls the rooms, writes its outputs, returns a few numbers.

Modules are imported when a stage is asked for, so that listing the stages costs nothing.
"""

import os
import time
from importlib import import_module
from pathlib import Path

from vrft_core.cell import Cell, Layout
from vrft_core.costs import cost_file, costs_noted, cpu_seconds
from vrft_core.damage import digest_of, refuse_damaged
from vrft_core.locks import exclusive, together
from vrft_core.outcomes import outcome, outcome_noted
from vrft_core.params import Params
from vrft_core.stage_names import OF_SOME, SCOPES, STAGES
from vrft_core.storage import LITTLE, refuse_unwritable, training_need, trouble_named

__all__ = ["OF_SOME", "SCOPES", "STAGES", "lock_file", "module_of", "outcome_file", "project_lock", "run_stage"]
# what a stage writes in, besides its run folder
_WRITES = {"raw": "data", "few_shot": "data", "prompts": "data", "policy": "models"}
_TRAININGS = ("sft", "rft")
# what a stage reads of others, by the stage that makes it; reports are made of much, and computed from nothing else
READS = {
    "few_shot": ["raw"],
    "prompts": ["raw", "few_shot"],
    "sft": ["prompts", "policy"],
    "rft": ["prompts", "policy"],
    "base_eval": ["raw", "policy"],
    "sft_eval": ["raw", "policy", "sft"],
    "rft_eval": ["raw", "policy", "rft"],
}
_WEIGHTS = ("policy", *_TRAININGS)
_MODULES = {"base_eval": "evaluate", "sft_eval": "evaluate", "rft_eval": "evaluate"}


def run_stage(name: str, layout: Layout, params: Params, cell: Cell) -> dict:
    """Run one stage for the scope of `cell` it belongs to; returns numbers worth showing.

    A stage keeps running when the process that started it is killed. The same stage, started again, waits for it: two
    would write into one run folder. It prints which process to end if that is not wanted. Raises InputError where the
    disk is full or may not be written to (before it begins, if that can be seen then), and where an input is damaged.
    """
    began, spent_before = time.monotonic(), cpu_seconds()
    module, cell = import_module(module_of(name)), cell.at(SCOPES[name])
    loading = time.monotonic() - began  # waiting for the locks is no cost, but this is
    if os.environ.get("RANK", "0") != "0":  # one of several processes of a training: the first holds the lock for all
        return getattr(module, name)(layout, params, cell)
    need = training_need(layout.policy(cell), bool(params.recipe(cell).adapter)) if name in _TRAININGS else LITTLE
    folders = ["runs", _WRITES.get(name, "reports"), *(["models"] if name in _TRAININGS else [])]
    refuse_unwritable([layout.root / folder for folder in folders], need)
    lock = exclusive(lock_file(layout, cell, name), f"{cell.key} {name}")
    project = together(project_lock(layout), f"{cell.key} {name}")
    ended = outcome_noted(outcome_file(layout, cell, name))
    cost = costs_noted(cost_file(layout, cell, name), spent_before, loading)
    with trouble_named(layout.root), project, lock, ended as note, cost:
        for maker in READS.get(name, ()):
            _refuse_damaged(layout, cell, maker)
        numbers = getattr(module, name)(layout, params, cell)
        if out := _out(layout, cell, name):
            note["digest"] = digest_of(out, name in _WEIGHTS)
        return numbers


def module_of(name: str) -> str:
    """The module that a stage is in."""
    return f"vrft_core.stages.{_MODULES.get(name, name)}"


def _refuse_damaged(layout: Layout, cell: Cell, maker: str) -> None:
    own = cell.at(STAGES[maker])
    made = outcome(outcome_file(layout, own, maker)).get("digest")
    out, command = _out(layout, own, maker), f"vrft stage {maker} --cell {cell.key}"
    assert out  # of those that others read
    refuse_damaged(layout.root, out, made, maker in _WEIGHTS, command)


def _out(layout: Layout, cell: Cell, name: str) -> Path | None:
    """The folder that a stage makes for others; None where it makes none."""
    match name:
        case "raw" | "few_shot" | "prompts" | "policy":
            return getattr(layout, name)(cell)
        case "sft" | "rft":
            return layout.model(cell, name)
    return None


def project_lock(layout: Layout) -> Path:
    """Held by all stages together, and by what removes files alone."""
    return layout.root / "runs/project.lock"


def lock_file(layout: Layout, cell: Cell, name: str) -> Path:
    """Held by the process that runs this stage. `cell`: of the stage's own scope, here and below."""
    return layout.runs(cell, name).with_suffix(".lock")


def outcome_file(layout: Layout, cell: Cell, name: str) -> Path:
    """Says how the stage last ended, see `outcomes`."""
    return layout.runs(cell, name).with_suffix(".outcome.json")
