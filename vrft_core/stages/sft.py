"""Stage `sft`: the supervised baseline, trained on the same images and questions as `rft`."""

from vrft_core.cell import Cell, Layout
from vrft_core.params import Params
from vrft_core.stages.training import run_training
from vrft_core.training.sft import make_trainer


def sft(layout: Layout, params: Params, cell: Cell) -> dict:
    """Writes the adapter or the full weights, and the training record."""
    return run_training(layout, params, cell, "sft", make_trainer)
