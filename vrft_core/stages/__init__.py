"""One thin function a stage: reads its inputs, calls the rooms, writes its outputs, returns a few numbers.

Modules are imported when a stage is asked for, so that listing the stages costs nothing.
"""

from importlib import import_module

from vrft_core.cell import Cell, Layout
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
    """Run one stage for the scope of `cell` it belongs to; returns numbers worth showing."""
    module = import_module(f"vrft_core.stages.{_MODULES.get(name, name)}")
    return getattr(module, name)(layout, params, cell.at(STAGES[name]))
