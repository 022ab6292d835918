"""What the machinery costs around the stages: starting, loading, finding that nothing is to be done, and running.

    python bench/overhead.py                       # in a new small project: about ten CPU minutes
    python bench/overhead.py --project DIR --cell lvis-mini-1shot-s0   # in one where the cell is up to date

Measured, each in a process of its own: `vrft --help`; loading Dagster's definitions with 300 cells in the grid, with
the graph resolved anew and then as kept from before; `dvc repro rft_eval@CELL` and Dagster's `lvis_rft_eval` with
everything upstream, where all is up to date; and in the new project a whole cell through Dagster, split into the
stages' processes and the orchestrator's own time with all checks, and another one by `vrft run`. Time is CPU time of
the process and its children, and wall time; the least of the repeats, after one that is not counted. The machine's load
stands in the last line: wall times of a busy machine say little.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CELL = "lvis-mini-1shot-s0"
MANY, TEN = 300, 10
LOAD = """
import sys
from pathlib import Path
import dagster as dg
from pipelines.definitions import build_definitions
dg.Definitions.validate_loadable(build_definitions(Path.cwd()))
assert "torch" not in sys.modules
"""
RUN = """
import json, resource, sys
from pipelines.materialize import main
status = main(sys.argv[1])
own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"own": own.ru_utime + own.ru_stime, "stages": others.ru_utime + others.ru_stime}))
sys.exit(status)
"""
CACHED = """
import json, sys
from pathlib import Path
import dagster as dg
from pipelines.definitions import build_definitions
from pipelines.dvc_assets import partition, prefix, stage_assets
from pipelines.dvc_project import DvcProject
from pipelines.executors.local import LocalExecutor
from vrft_core.tasks import load_params
root, key, last, checks = Path.cwd(), sys.argv[1], sys.argv[2], sys.argv[3] == "checks"
params, project, here = load_params(root / "params.yaml"), DvcProject(root=str(root)), LocalExecutor(root)
cell = params.parse_cell(key)
alone = dg.Definitions(
    assets=stage_assets(project, params), executor=dg.in_process_executor,
    resources={"dvc": project, "cpu_executor": here, "gpu_executor": here},
)
definitions = build_definitions(root) if checks else alone
wanted = dg.AssetSelection.assets(f"{prefix(cell.benchmark)}_{last}").upstream()
keys = wanted.resolve(definitions.resolve_asset_graph())
with dg.DagsterInstance.get() as instance:
    done = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        instance=instance, partition_key=partition(cell), asset_selection=sorted(keys),
    )
cached = [event.materialization.metadata["cached"].value for event in done.get_asset_materialization_events()]
print(json.dumps({"cached": sum(cached), "assets": len(cached)}))
"""


def environment(root: Path) -> dict[str, str]:
    """As in an ordinary installation: byte code is kept, nothing is sent."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join([str(Path(sys.executable).parent), found.get("PATH", os.defpath)])
    return found | {
        "PATH": path, "PYTHONPATH": os.pathsep.join([str(ROOT), found.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / f"vrft-overhead-{os.getuid()}"),
        "DVC_NO_ANALYTICS": "1", "DAGSTER_HOME": str(root / "dagster_home"), "VRFT_ROOT": str(root),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip


def run(root: Path, *command: str) -> tuple[float, float, str]:
    """(CPU seconds, wall seconds, last line printed). Raises CalledProcessError, with its output."""
    (root / "dagster_home").mkdir(exist_ok=True)
    before, began = os.times(), time.monotonic()
    done = subprocess.run(command, cwd=root, env=environment(root), text=True, capture_output=True, check=False)
    wall, after = time.monotonic() - began, os.times()
    if done.returncode:
        sys.exit(f"{' '.join(command)[:200]}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, wall, (done.stdout.strip().splitlines() or [""])[-1]


def least(root: Path, repeats: int, *command: str) -> tuple[float, float]:
    """Of the repeats after a first that is not counted: the least CPU seconds, the least wall seconds."""
    run(root, *command)
    found = [run(root, *command)[:2] for _ in range(repeats)]
    return min(cpu for cpu, _ in found), min(wall for _, wall in found)


def show(what: str, cpu: float, wall: float, limit: str) -> None:
    print(f"{what:<62} {cpu:7.2f} {wall:7.2f}   {limit}", flush=True)


def whole(root: Path, cell: str) -> tuple[float, float, float]:
    """A cell as `make demo` makes it: CPU seconds of its stages, of the process that runs them, and wall seconds."""
    _, wall, said = run(root, sys.executable, "-c", RUN, cell)
    found = json.loads(said)
    return found["stages"], found["own"], wall


def small(root: Path) -> Path:
    """A small project of its own."""
    sys.path.insert(0, str(ROOT / "tests"))
    from small_project import small_project

    return small_project(root)


def ten_cells(root: Path) -> None:
    """Nine more cells with the first one's files under their names; dvc.lock as DVC would write it, which takes DVC
    minutes: it reads and writes all of it for each stage."""
    run(root, sys.executable, "-m", "vrft_core.cli", "add", "lvis", "--seeds", *map(str, range(TEN)))
    lock = root / "dvc.lock"
    made = yaml.safe_load(lock.read_text())
    for seed in range(1, TEN):
        for folder in ("data/few_shot", "data/prompts", "models"):
            shutil.copytree(root / folder / CELL, root / folder / f"{CELL[:-1]}{seed}")
        shutil.copytree(root / "reports/lvis-mini-1shot/s0", root / f"reports/lvis-mini-1shot/s{seed}")
        for stage in ("few_shot", "prompts", "sft", "rft", "sft_eval", "rft_eval", "report"):
            entry = json.dumps({f"{stage}@{CELL}": made["stages"][f"{stage}@{CELL}"]})
            made["stages"] |= json.loads(entry.replace("1shot-s0", f"1shot-s{seed}").replace("/s0/", f"/s{seed}/"))
    lock.write_text(yaml.safe_dump(made, sort_keys=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, help="a project where CELL is up to date; nothing is trained then")
    parser.add_argument("--cell", default=CELL)
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    python, repeats, benchmark = sys.executable, given.repeats, given.cell.partition("-")[0]
    print(f"{'':<62} {'CPU s':>7} {'wall s':>7}")
    with tempfile.TemporaryDirectory(prefix="vrft-overhead-") as folder:
        large = small(Path(folder) / "large")
        show("vrft --help", *least(large, repeats, python, "-m", "vrft_core.cli", "--help"), "0.3")
        seeds = map(str, range(MANY // 5))
        run(large, python, "-m", "vrft_core.cli", "add", benchmark, "--shots", *"12345", "--seeds", *seeds)
        run(large, python, "-c", "import dagster, dvc.repo")
        show(f"definitions, {MANY} cells, first", *run(large, python, "-c", LOAD)[:2], "")
        show(f"definitions, {MANY} cells", *least(large, repeats, python, "-c", LOAD), "3")
        root = given.project
        if root is None:
            root = small(Path(folder) / "ten")
            stages, own, wall = whole(root, given.cell)
            show("a cell through Dagster: its stages' processes", stages, wall, "")
            show("a cell through Dagster: the orchestrator with its checks", own, wall, "5 % of a cell's compute")
            other = small(Path(folder) / "other")
            show("a cell by `vrft run`", *run(other, "vrft", "run", given.cell)[:2], "")
            ten_cells(root)
        cached = [python, "-c", CACHED, given.cell, "rft_eval", "alone"]
        show("lvis_rft_eval with all upstream, cached, Dagster", *least(root, repeats, *cached), "10")
        show("the same with its data checks", *least(root, repeats, *cached[:-1], "checks"), "")
        found = json.loads(run(root, *cached)[2])
        assert found["cached"] == found["assets"], f"not all was up to date: {found}"
        show("the same, dvc repro", *least(root, repeats, python, "-m", "dvc", "repro", f"rft_eval@{given.cell}"), "3")
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{os.cpu_count()} CPUs, load in the last 1, 5, 15 minutes: {load}")


if __name__ == "__main__":
    main()
