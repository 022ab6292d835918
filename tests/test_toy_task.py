"""What a new task costs: one package in `tasks/` and its lines in params.yaml. A toy task goes through every stage."""

import filecmp
import json
import shutil
from copy import deepcopy
from pathlib import Path

import pytest
from small_project import ROOT, edit_params, run, small_project

from vrft_core import io
from vrft_core.stages import STAGES

pytestmark = pytest.mark.slow
TOY = Path(__file__).parent / "toy_task/counting"
PACKAGE = "vrft_core/tasks/counting"
CELL = "animals-mini-1shot-s0"
KEYS = {"recipe": "mini", "data": "animals-embedded", "setup": "animals-mini", "study": "animals-mini-1shot"}

# as eleven calls of `vrft` would do it, but for the start of Python and torch each time
IN_ORDER = "from vrft_core.cli import main; (lambda all: [exit(1) for one in all if main(one)])"

DAGSTER = f"""
from pathlib import Path

import dagster as dg

import vrft_core
from pipelines.checks.contracts import CONTRACTS
from pipelines.checks.validation import validate
from pipelines.definitions import defs, project_root
from vrft_core.cell import Layout
from vrft_core.evaluation.adversarial import rescore
from vrft_core.tasks import get_task, load_params

root = project_root()
assert Path(vrft_core.__file__).is_relative_to(root), "the code of another project"
loaded = defs()
dg.Definitions.validate_loadable(loaded)
print(*sorted(key.path[0] for key in loaded.resolve_asset_graph().get_all_asset_keys()))
params = load_params(root / "params.yaml")
for stage in CONTRACTS:
    frames, suites = CONTRACTS[stage](Layout(root), params, params.parse_cell("{CELL}").at({dict(STAGES)}[stage]))
    for name, verdict in validate(frames, suites).items():
        print(stage, name, verdict.rows, "passed" if verdict.passed else verdict.broken)
print("adversarial", rescore(get_task("counting"))["mismatches"])
"""


def with_animals(params: dict) -> None:
    """The toy task's benchmark, its settings in the recipe, its place in the grid and in pre-training."""
    row = {"benchmark": "animals", "recipe": "mini", "task": "counting", "data": "embedded", "shots": 1}
    setup = {name: value for name, value in row.items() if name != "shots"}
    grid, mini = params["grid"], params["recipes"]["mini"]
    params["benchmarks"]["animals"] = {
        "task": "counting",
        "embedded": deepcopy(params["benchmarks"]["lvis"]["embedded"]),
    }
    mini["tasks"]["counting"] = {
        "rewards": {"count": 1.0, "format": 1.0},
        "guards": {"no_number": {"above": 0.9, "steps": 3}},
    }
    mini["policy"]["pretraining"]["benchmarks"]["animals"] = 1.0  # who keeps this lists it in dvc.yaml: test_staleness
    grid["data"]["animals-embedded"] = {"benchmark": "animals", "data": "embedded"}
    grid["setups"]["animals-mini"] = setup
    grid["cells"][CELL] = row | {"seed": 0}
    grid["studies"]["animals-mini-1shot"] = row | {"seeds": [0]}


@pytest.fixture(scope="module")
def counting(tmp_path_factory) -> Path:
    """A copy of the project with the toy task, and all stages of its cell run by the copy's own code."""
    root = small_project(tmp_path_factory.mktemp("toy") / "project")
    shutil.copytree(TOY, root / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    edit_params(root, with_animals)
    commands = [
        ["--root", str(root), "stage", stage, "--cell", KEYS.get(scope, CELL)] for stage, scope in STAGES.items()
    ]
    run("python", "-c", f"{IN_ORDER}({commands})", cwd=root, PYTHONPATH=str(root))
    return root


def vrft(root: Path, *arguments: str, status: int = 0) -> str:
    command = ("python", "-m", "vrft_core.cli", "--root", str(root), *arguments)
    return run(*command, cwd=root, status=status, PYTHONPATH=str(root))


def test_a_toy_task_is_a_package_and_its_parameters(counting):
    """Of the copied files only params.yaml differs from the project's, and all that came along is the package."""
    files = run("git", "ls-files", "--others", "--exclude-standard", cwd=counting).splitlines()
    assert {"dvc.yaml", "vrft_core/cli/app.py", f"{PACKAGE}/answers.py"} <= set(files)
    changed = {name for name in files if not same_file(counting / name, ROOT / name)}
    package = {f"{PACKAGE}/{path.relative_to(TOY).as_posix()}" for path in files_of(TOY)}
    assert changed == {"params.yaml"} | package


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]


def same_file(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)


def test_every_stage_runs_and_the_report_shows_the_tasks_metric(counting):
    report = counting / "reports/animals-mini-1shot/s0/report"
    found = io.read_json(report / "metrics.json")
    assert found["task"] == "counting"
    assert found["verdict"]["metric"] == "count/exact"
    for model in ("base", "sft", "rft"):
        assert set(found["models"][model]) == {"count/exact", "count/near"}
        assert 0 <= found["models"][model]["count/exact"]["value"] <= 1
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "By number of animals" in page and "exact counts" in page
    assert "exact counts" in (counting / "reports/studies/animals-mini-1shot/report.html").read_text(encoding="utf-8")


def test_training_is_paid_by_the_tasks_rewards_and_chooses_by_its_metric(counting):
    record = io.read_json(counting / "reports/animals-mini-1shot/s0/rft_training.json")
    assert record["validation_metric"] == "count/exact"
    assert {"rewards/count/mean", "rewards/format/mean", "counts/none"} <= set(record["log"][0])


def test_each_image_is_asked_about_once(counting):
    rows = list(io.read_jsonl(counting / "reports/animals-mini/base/predictions.jsonl"))
    images = {image["id"] for image in io.read_json(counting / "data/raw/animals-embedded/annotations.json")["images"]
              if image["split"] == "eval"}  # fmt: skip
    assert sorted(row["image_id"] for row in rows) == sorted(images)


def test_dagster_loads_it_and_its_data_pass_its_checks(counting):
    said = run(
        "python", "-c", DAGSTER, cwd=counting, VRFT_ROOT=str(counting), PYTHONPATH=f"{counting}:{ROOT}"
    ).splitlines()
    [assets] = [line for line in said if " animals_raw " in line]
    checks = [line for line in said if line.startswith(("raw ", "few_shot ", "prompts ", "adversarial "))]
    assert {"animals_raw", "animals_rft_model", "animals_report", "animals_study", "lvis_raw"} <= set(assets.split())
    names = ["raw counts", "few_shot choices", "prompts examples", "prompts strays"]
    assert [name for name in names if not any(check.startswith(f"{name} ") for check in checks)] == []
    assert [check for check in checks if not check.endswith(" passed")] == ["adversarial []"]


def test_the_command_line_measures_its_logs(counting, tmp_path):
    log = tmp_path / "log.jsonl"
    said = {"solution": "<answer>3</answer>", "prompt": "How many?"}
    log.write_text(
        "".join(json.dumps(said | {"completion": f"<answer>{count}</answer>"}) + "\n" for count in (3, 3, 4, "none"))
    )
    found = json.loads(vrft(counting, "evaluate", "--rules", "counting", "--answers", str(log), "--json"))
    assert found["queries"] == 4 and found["metrics"]["count/exact"]["value"] == 0.5
    paid = [json.loads(line)["parts"] for line in vrft(counting, "score", "--task", "counting", str(log)).splitlines()]
    assert [one["count"] for one in paid] == [1, 1, 0, 0]
    refused = vrft(counting, "score", "--task", "counting", "--rewards", "published", str(log), status=2)
    assert refused.startswith("vrft: --rewards: ") and refused.count("\n") == 1
