"""What a recipe that needs no GPU takes on CPUs, for `vrft plan`: as earlier runs here did, or as it was measured."""

from vrft_core import costs
from vrft_core.cell import Cell, Layout
from vrft_core.commands.status import OF_A_CELL
from vrft_core.commands.telling import FIRST
from vrft_core.commands.texts import seconds as spoken
from vrft_core.params import Params
from vrft_core.stages import STAGES


def on_cpus(layout: Layout, params: Params, cell: Cell) -> str:
    """A sentence or two; empty for a recipe with a model that is too large for CPUs.

    Earlier runs are those of this very cell, or else of another with the same recipe.
    """
    if params.recipe(cell).policy.pretraining is None:
        return ""
    spent = {name: _cpu_seconds(layout, params, cell, name) for name in OF_A_CELL}
    known = {name: value for name, value in spent.items() if value is not None}
    if not {"sft", "rft"} <= known.keys():
        return f"This recipe needs no GPU. {FIRST}"
    own = sum(value for name, value in known.items() if name != "policy")
    missing = [name for name in spent if name not in known]
    told = [f"{name.upper()} {spoken(known[name])}" for name in ("sft", "rft")]
    told.append(f"a cell {'at least ' if missing else ''}{spoken(own)}")
    if "policy" in known:
        told.append(f"the policy (made once) {spoken(known['policy'])}")
    return f"This recipe needs no GPU. CPU time of earlier runs here: {', '.join(told)}."


def _cpu_seconds(layout: Layout, params: Params, cell: Cell, name: str) -> float | None:
    """Of the stage's last result that was computed without a GPU."""
    others = [one for one in params.cells() if one.recipe == cell.recipe]
    for one in sorted(others, key=lambda one: one.key != cell.key):
        found = costs.latest(costs.cost_file(layout, one.at(STAGES[name]), name))
        if found and "gpu_seconds" not in found and "cpu_seconds" in found:
            return found["cpu_seconds"]
    return None
