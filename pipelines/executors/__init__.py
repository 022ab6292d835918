"""Where a stage's command runs. One interface; each kind of place is a Dagster Pipes client in its own module.

The command is the same everywhere, straight from dvc.yaml; its side needs neither Dagster nor DVC.
"""

import os
from pathlib import Path
from typing import Protocol

import dagster as dg

from pipelines.executors.local import LocalExecutor


class Executor(Protocol):
    def run(self, *, context: dg.AssetExecutionContext, command: list[str]) -> dg.PipesClientCompletedInvocation:
        """Return when the command ended well, with what it reported and what it cost.

        Raises dg.Failure with the end of its log when it did not; leaves nothing running when interrupted.
        """


def gpu_executor(root: Path) -> Executor:
    """The place for GPU stages, chosen by the environment variable VRFT_EXECUTOR (default: this machine)."""
    # One training at a time: Dagster's pools let two in when runs start at the same moment on SQLite.
    places = {"local": lambda: LocalExecutor(root, lock=root / ".dvc/tmp/vrft/gpu.lock")}
    name = os.environ.get("VRFT_EXECUTOR", "local")
    if name not in places:
        raise dg.DagsterInvalidDefinitionError(f"VRFT_EXECUTOR={name}: must be one of {', '.join(places)}")
    return places[name]()
