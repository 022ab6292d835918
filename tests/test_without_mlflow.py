"""The method needs no MLflow: stages that record runs end as ever where it cannot be imported, and one line says so."""

import json
import subprocess
import sys
import textwrap

import pytest
from small_project import CELL, small_project

BLOCKED = """
    import sys

    class Without:
        # A finder of modules that finds none of some packages, as where they are not installed.
        def __init__(self, finder):
            self.finder = finder

        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("mlflow", "dagster", "dagster_pipes", "dvc", "great_expectations"):
                return None
            return self.finder.find_spec(name, path, target)

        def __getattr__(self, name):
            return getattr(self.finder, name)

    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


@pytest.mark.slow
def test_a_cell_is_trained_and_evaluated_without_it(tmp_path):
    root = small_project(tmp_path / "project")
    code = textwrap.dedent(BLOCKED) + textwrap.dedent(f"""
        import json
        from pathlib import Path
        from vrft_core.cell import Layout
        from vrft_core.stages import run_stage
        from vrft_core.tasks import load_params

        root = Path({str(root)!r})
        params = load_params(root / "params.yaml")
        cell = params.parse_cell({CELL!r})
        stages = ("raw", "few_shot", "prompts", "policy", "sft", "sft_eval")
        print(json.dumps({{name: run_stage(name, Layout(root), params, cell) for name in stages}}))
    """)
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    numbers = json.loads(done.stdout.splitlines()[-1])
    assert numbers["sft_eval"]["queries"] > 0
    assert done.stderr.count("vrft: MLflow is not installed: nothing is recorded there") == 1
    assert (root / "models" / CELL / "sft").is_dir() and not (root / "mlflow.db").exists()
