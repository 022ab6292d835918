"""Stage `rft`: GRPO with verifiable rewards, from the same weights and images as `sft`."""

from vrft_core.cell import Cell, Layout
from vrft_core.params import Params
from vrft_core.stages.training import run_training
from vrft_core.training.rft import make_trainer


def rft(layout: Layout, params: Params, cell: Cell) -> dict:
    """Writes the adapter or the full weights, and the training record; the rollouts stay in the run folder."""
    return run_training(layout, params, cell, "rft", make_trainer)
