"""`bench/gpu.py` at toy size, and what its pack for a bare machine holds. No number of it means anything on a CPU."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import special

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bench"))

import gpu_pack  # noqa: E402
from gpu_kit.table import markdown  # noqa: E402


def kit(out: Path, *arguments: str, status: int = 0) -> dict:
    """Run the kit in a process of its own; its JSON."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}  # it finds this project by itself
    command = [sys.executable, str(ROOT / "bench/gpu.py"), "--toy", "--out", str(out), *arguments]
    done = subprocess.run(command, env=environment, cwd=out.parent, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return json.loads((out / "gpu.json").read_text())


@pytest.mark.slow
def test_the_kit_measures_steps_parity_and_prediction_and_writes_one_table(tmp_path):
    parts = ("environment", "grpo Qwen3-VL-2B", "parity Qwen2.5-VL-3B", "prediction Qwen2-VL-2B")
    found = kit(tmp_path / "out", "--only", *parts)["parts"]
    assert [found[name]["state"] for name in parts] == ["done"] * 4

    steps = {row["variant"]: row for row in found["grpo Qwen3-VL-2B"]["rows"]}
    assert list(steps) == ["ours", "TRL, its default", "TRL, no checkpointing", "ours, passes not recorded"]
    assert all({"step", "generation", "backward"} <= row["seconds"].keys() for row in steps.values())
    assert all(row["plan"]["peak_gib"] > 0 and row["plan"]["seconds"] > 0 for row in steps.values())
    first = {name: row["loss"][0] for name, row in steps.items()}
    assert first["ours"] == pytest.approx(first["TRL, no checkpointing"], abs=1e-3), "the same step"

    (parity,) = found["parity Qwen2.5-VL-3B"]["rows"]
    assert parity["fp32_largest"] < 1e-5 < parity["rounding_largest"]
    (asked,) = found["prediction Qwen2-VL-2B"]["rows"]
    assert asked["equal"] == asked["compared"] == 2
    page = (tmp_path / "out/gpu.md").read_text()
    assert "toy size: the numbers mean nothing" in page and "| Qwen3-VL-2B | ours |" in page


@pytest.mark.slow
def test_a_part_that_fails_or_finds_no_time_is_recorded_and_the_rest_goes_on(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mini").write_text("in the way of the part's folder")
    found = kit(tmp_path / "out", "--only", "mini", "environment", status=1)["parts"]
    assert found["mini"]["state"] == "ended with 1" and "FileExistsError" in found["mini"]["stderr"]
    assert found["environment"]["state"] == "done"
    late = kit(tmp_path / "out", "--only", "environment", "--minutes", "0", status=1)["parts"]
    assert late["environment"]["state"] == "no time left"


def test_the_page_shows_failures_and_a_cpu_s_result_beside_the_cell_s():
    parts = {
        "grpo X": {"state": "done", "wall_s": 3.0, "rows": [
            {"part": "grpo", "model": "X", "variant": "ours", "failed": "OutOfMemoryError: 3 | 4"}]},
        "mini": {"state": "stopped after 150 s", "wall_s": 150.0, "rows": [
            {"part": "mini", "stage": "rft_eval", "wall_s": 9.5, "peak_gib": 0.5, "numbers": {"lvis/self/AP": 0.41},
             "cpu": {"lvis/self/AP": {"value": 0.402, "low": 0.351, "high": 0.451}}}]},
    }  # fmt: skip
    page = markdown({"toy": False, "parts": parts})
    assert "| X | ours | OutOfMemoryError: 3 / 4 |" in page
    assert "| rft_eval | 9.5 | 0.5 | lvis/self/AP | 0.41 | 0.402 [0.351, 0.451] |" in page
    assert "| mini | stopped after 150 s |" in page


def test_what_stands_in_for_scipy_computes_what_scipy_does():
    stand_in: dict = {}
    exec(gpu_pack.SPECIAL, stand_in)
    for freedom in (1.0, 2.5, 7.0, 60.0, 499.0):
        for share in (0.025, 0.3, 0.5, 0.975):
            expected = special.stdtrit(freedom, share)
            assert stand_in["stdtrit"](freedom, share) == pytest.approx(expected, rel=1e-6, abs=1e-9)
    values = np.array([0.5, 3.0, 1200.5])
    assert stand_in["gammaln"](values) == pytest.approx(special.gammaln(values))
    assert math.isnan(stand_in["stdtrit"](0.0, 0.5))


def test_everything_the_project_imports_on_a_bare_machine_is_carried_or_stands_in():
    """The twelve packages of the project itself are installed here, so that their versions are known."""
    assert len(gpu_pack.CARRIED) == 12
    assert not set(gpu_pack.CARRIED) & set(gpu_pack.SPARE)
    assert "mlflow" not in {*gpu_pack.CARRIED, *gpu_pack.SPARE}
