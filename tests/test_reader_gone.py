"""Who started a stage is killed, and nobody reads what the stage prints: it goes on, and ends well."""

import os
import subprocess
import sys

import pytest
from small_project import CELL, ROOT, edit_params, small_project

from vrft_core import io
from vrft_core.cell import Layout
from vrft_core.locks import exclusive
from vrft_core.stages import lock_file, outcome_file
from vrft_core.tasks import load_params

SAYS = """
import os, sys
from vrft_core.cli.output import outlives_its_reader
outlives_its_reader()
print("Grüße", flush=True)
sys.stdin.read()
print("more")
print("an error", file=sys.stderr)
sys.stdout.flush()
os.write(1, b"by itself")
"""


def _few_images(params: dict) -> None:
    params["benchmarks"]["lvis"]["embedded"]["images"] = {"train": 170, "val": 2, "eval": 2}


def started(*command: str, **variables: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *command], env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, encoding="utf-8"
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_is_said_without_a_reader_is_dropped(unbuffered):
    process = started("-c", SAYS, PYTHONUNBUFFERED=unbuffered)
    assert process.stdin and process.stdout
    assert process.stdout.readline() == "Grüße\n"
    process.stdout.close()
    process.stdin.close()
    assert process.wait(60) == 0


@pytest.mark.slow
def test_a_stage_whose_reader_is_gone_ends_well(tmp_path):
    root = small_project(tmp_path / "project")
    edit_params(root, _few_images)
    layout, data = Layout(root), load_params(root / "params.yaml").parse_cell(CELL).at("data")
    with exclusive(lock_file(layout, data, "raw"), "it"):
        process = started("-m", "vrft_core.cli", "--root", str(root), "stage", "raw", "--cell", CELL)
        assert process.stdin and process.stdout and "raw: waiting for process" in process.stdout.readline()
        process.stdout.close()
        process.stdin.close()
    assert process.wait(120) == 0
    assert "seconds" in io.read_json(outcome_file(layout, data, "raw"))
