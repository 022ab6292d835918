"""The job `promote`: `vrft promote CELL` as a Dagster run, which fails if a gate does. The gates are the command's."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg

from vrft_core.params import Params


class Promotion(dg.Config):
    cell: str  # such as lvis-mini-1shot-s0


def promotion_job(root: Path, params: Params) -> dg.JobDefinition:
    @dg.op(description="Registers the model, and makes it champion if every gate is open.")
    def promote_model(context: dg.OpExecutionContext, config: Promotion) -> None:
        cell = params.parse_cell(config.cell)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "vrft_core.cli", "--root", str(root), "promote", cell.key],
            env=os.environ | {"DAGSTER_RUN_ID": context.run_id},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout.strip() or done.stderr.strip()
        context.log.info(said)
        if done.returncode:
            raise dg.Failure(said, allow_retries=False)

    @dg.job(
        name="promote",
        description="Make a cell's RFT model the champion of its benchmark and recipe in MLflow's registry.",
        executor_def=dg.in_process_executor,
    )
    def promote() -> None:
        promote_model()

    return promote
