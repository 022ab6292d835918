"""One thin function a stage: reads its inputs, calls the rooms, writes its outputs, returns a few numbers.

Modules are imported when a stage is asked for, so that listing the stages costs nothing.
"""

import os
from contextlib import nullcontext
from importlib import import_module

from vrft_core.cell import Cell, Layout
from vrft_core.locks import exclusive
from vrft_core.params import Params

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
_MODULES = {"base_eval": "evaluate", "sft_eval": "evaluate", "rft_eval": "evaluate"}


def run_stage(name: str, layout: Layout, params: Params, cell: Cell) -> dict:
    """Run one stage for the scope of `cell` it belongs to; returns numbers worth showing.

    A stage lives on where whoever started it is killed. The same stage started again waits for it, with a line that
    says whom to end if that is not wanted: two would write into one run folder.
    """
    module, cell = import_module(f"vrft_core.stages.{_MODULES.get(name, name)}"), cell.at(STAGES[name])
    others = os.environ.get("RANK", "0") != "0"  # processes of one training: the first holds the lock for all
    lock = nullcontext() if others else exclusive(layout.runs(cell, name).with_suffix(".lock"), f"{cell.key} {name}")
    with lock:
        return getattr(module, name)(layout, params, cell)
