"""Where a stage's command runs. One interface; each kind of place is a Dagster Pipes client in its own module.

The command is the same everywhere, straight from dvc.yaml; its side needs neither Dagster nor DVC.
"""

import os
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import ValidationError

from pipelines.executors.local import LocalExecutor
from pipelines.executors.work import Executor
from vrft_core.params import Resources

NAMES = ("local", "slurm", "kubernetes")


class Placement(dg.Config):
    """Where this run's step runs, for once; nothing here changes a result."""

    executor: Literal["", "local", "slurm", "kubernetes"] = ""  # "": as the environment says
    resources: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it) instead of those in params.yaml

    def of(self, resources: Resources) -> Resources:
        """Raises dg.Failure with the first wrong field."""
        try:
            return Resources.model_validate({**resources.model_dump(), **self.resources})
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            problem = first["msg"].removeprefix("Value error, ")
            text = f"config: resources.{field}: {problem}; see `resources` in params.yaml"
            raise dg.Failure(text, allow_retries=False) from None


def executor_name() -> str:
    """The place for GPU stages, chosen by the environment variable VRFT_EXECUTOR (default: this machine)."""
    name = os.environ.get("VRFT_EXECUTOR", "local")
    if name not in NAMES:
        raise dg.DagsterInvalidDefinitionError(f"VRFT_EXECUTOR={name}: must be one of {', '.join(NAMES)}")
    return name


def gpu_executor(root: Path, name: str | None = None) -> Executor:
    """The executor called `name`, or the one the environment names."""
    match name or executor_name():
        case "slurm":
            from pipelines.executors.slurm import slurm_executor

            return slurm_executor(root)
        case "kubernetes":
            from pipelines.executors.kubernetes import kubernetes_executor

            return kubernetes_executor(root)
    # One training at a time on a GPU. Not by a pool of Dagster's: it admits two that start at the same moment on
    # SQLite, and never releases what a killed run holds. The kernel's lock does both right.
    return LocalExecutor(root, lock=root / ".dvc/tmp/vrft/gpu.lock")
