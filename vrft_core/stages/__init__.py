"""One thin function a stage: reads its inputs, calls the rooms, writes its outputs, returns a few numbers.

Modules are imported when a stage is asked for, so that listing the stages costs nothing.
"""

import os
from importlib import import_module
from pathlib import Path

from vrft_core.cell import Cell, Layout
from vrft_core.locks import exclusive
from vrft_core.outcomes import outcome_noted
from vrft_core.params import Params
from vrft_core.storage import LITTLE, refuse_unwritable, training_need, trouble_named

# stage → the scope its outputs are shared in
STAGES = {
    "raw": "data",
    "few_shot": "cell",
    "prompts": "cell",
    "policy": "recipe",
    "sft": "cell",
    "rft": "cell",
    "base_eval": "setup",
    "sft_eval": "cell",
    "rft_eval": "cell",
    "report": "cell",
    "study": "study",
}
OF_SOME = {"comparison": "study"}  # the same of stages that not every study has: `Params.compared`
# what a stage writes in, besides its run folder
_WRITES = {"raw": "data", "few_shot": "data", "prompts": "data", "policy": "models"}
_TRAININGS = ("sft", "rft")
_MODULES = {"base_eval": "evaluate", "sft_eval": "evaluate", "rft_eval": "evaluate"}


def run_stage(name: str, layout: Layout, params: Params, cell: Cell) -> dict:
    """Run one stage for the scope of `cell` it belongs to; returns numbers worth showing.

    A stage lives on where whoever started it is killed. The same stage started again waits for it, with a line that
    says whom to end if that is not wanted: two would write into one run folder. Raises InputError where it finds no
    room or may not write, before it begins where that can be seen then.
    """
    module, cell = import_module(f"vrft_core.stages.{_MODULES.get(name, name)}"), cell.at((STAGES | OF_SOME)[name])
    if os.environ.get("RANK", "0") != "0":  # one of several processes of a training: the first holds the lock for all
        return getattr(module, name)(layout, params, cell)
    need = training_need(layout.policy(cell), bool(params.recipe(cell).adapter)) if name in _TRAININGS else LITTLE
    folders = ["runs", _WRITES.get(name, "reports"), *(["models"] if name in _TRAININGS else [])]
    refuse_unwritable([layout.root / folder for folder in folders], need)
    lock = exclusive(lock_file(layout, cell, name), f"{cell.key} {name}")
    with trouble_named(layout.root), lock, outcome_noted(outcome_file(layout, cell, name)):
        return getattr(module, name)(layout, params, cell)


def lock_file(layout: Layout, cell: Cell, name: str) -> Path:
    """Held by the process that runs this stage. `cell`: of the stage's own scope, here and below."""
    return layout.runs(cell, name).with_suffix(".lock")


def outcome_file(layout: Layout, cell: Cell, name: str) -> Path:
    """Says how the stage last ended, see `outcomes`."""
    return layout.runs(cell, name).with_suffix(".outcome.json")
