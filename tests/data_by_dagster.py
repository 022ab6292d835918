"""The data stages of a cell by Dagster, in a process of its own: for tests in which something else runs beside it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from small_project import ROOT

PROGRAM = """
import sys
from pathlib import Path
import dagster as dg
from pipelines.definitions import build_definitions

job = build_definitions(Path(sys.argv[1])).resolve_job_def("lvis")
keys = [dg.AssetKey(f"lvis_{name}") for name in ("raw", "few_shot", "prompts")]
with dg.instance_for_test() as instance:
    job.execute_in_process(instance=instance, partition_key=sys.argv[2], asset_selection=keys)
"""


def environment() -> dict[str, str]:
    """This project's code, and the programs installed beside this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}


def start(root: Path, partition: str, said: IO[str]) -> subprocess.Popen:
    """`said`: where its output goes."""
    command = [sys.executable, "-c", PROGRAM, str(root), partition]
    return subprocess.Popen(command, cwd=root, env=environment(), stdout=said, stderr=said)
